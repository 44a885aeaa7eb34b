"""The page's tables in a real browser: they sort, they are saved as CSV, and nothing overflows."""

import csv
import io

import pytest

from pipeline.reporting.render import write_report
from pipeline.reporting.results import read_results
from tests.conftest import ROOT
from tests.reporting.synthetic_run import make_params, write_run

STRANGE = 'a "b", <script>alert(1)</script>'


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    root = tmp_path_factory.mktemp("report")
    params = make_params(["srresnet", "edsr", "vdsr"], [2, 4], ["Set5"], "bsd")
    write_run(root, params)
    for path in (root / "results/evaluate/Set5").glob("*.csv"):
        path.write_text(path.read_text().replace(",cup,", ',"' + STRANGE.replace('"', '""') + '",'))
    results = read_results(root, params)
    return write_report(results, params, "a: <b>", {"commit": None}, ROOT / "reports/templates", root / "reports")


def column(table, number):
    return table.locator(f"tbody tr > :nth-child({number})").all_inner_texts()


def open_all(page):
    page.eval_on_selector_all("details", "all => all.forEach((details) => { details.open = true; })")


def saved(page, table):
    """What the button below a table saves."""
    open_all(page)
    button = page.get_by_role("button", name=f"Save as CSV: {table}", exact=True)
    with page.expect_download() as download:
        button.click()
    assert download.value.suggested_filename == f"{table}.csv"
    return list(csv.reader(io.StringIO(download.value.path().read_text())))


def test_a_click_sorts_by_numbers_whatever_their_unit_and_a_third_one_restores(opened, report):
    page = opened(report).page
    table = page.locator('table[data-name="size"]')
    before = column(table, 3)
    head = table.get_by_role("button", name="file, bytes")
    values = sorted(int(text.replace(",", "")) for text in before)
    head.click()
    assert [int(text.replace(",", "")) for text in column(table, 3)] == values
    assert head.locator("..").get_attribute("aria-sort") == "ascending"
    head.press("Enter")
    assert [int(text.replace(",", "")) for text in column(table, 3)] == values[::-1]
    assert head.locator("..").get_attribute("aria-sort") == "descending"
    head.click()
    assert column(table, 3) == before
    assert head.locator("..").get_attribute("aria-sort") is None


def test_milliseconds_and_seconds_sort_together_and_what_is_missing_comes_last(opened, report):
    page = opened(report).page
    page.evaluate("""() => {
        const cells = document.querySelectorAll('table[data-name="times-SRResNet ×2"] tbody tr > :nth-child(3)');
        ["9.90 ms", "12.3 s", "–", "457 ms", "−1"].forEach((text, i) => { cells[i].textContent = text; });
    }""")
    table = page.locator('table[data-name="times-SRResNet ×2"]')
    rest = set(column(table, 3)) - {"9.90 ms", "12.3 s", "–", "457 ms", "−1"}
    table.get_by_role("button", name="median").click()
    shown = [text for text in column(table, 3) if text not in rest]
    assert shown == ["−1", "9.90 ms", "457 ms", "12.3 s", "–"]
    table.get_by_role("button", name="median").click()
    shown = [text for text in column(table, 3) if text not in rest]
    assert shown == ["12.3 s", "457 ms", "9.90 ms", "−1", "–"]


def test_names_that_were_left_out_are_seen_once_rows_leave_their_group(opened, report):
    page = opened(report).page
    table = page.locator('table[data-name="accuracy-Set5-x2"]')
    again = table.locator(".again th").first
    colour = "element => getComputedStyle(element).color"
    assert again.evaluate(colour) == "rgba(0, 0, 0, 0)"
    table.get_by_role("button", name="PSNR-Y").click()
    assert again.evaluate(colour) != "rgba(0, 0, 0, 0)"
    values = [text for text in column(table, 4) if text.replace(".", "").isdigit()]
    assert values == sorted(values)


def test_a_table_is_saved_as_it_is_shown_with_notes_in_columns_of_their_own(opened, report):
    page = opened(report).page
    head, *rows = saved(page, "published-x4")
    assert head[:6] == ["network", "weights", "run by", "iterations", "Set5", "Set5, note"]
    binary = next(row for row in rows if row[1:3] == ["binary", "PyTorch"])
    assert binary[4:6] == ["30.32", "-0.18"]
    source = next(row for row in rows if "the paper" in row[0])
    assert source[1:6] == ["", "", "", "30.34", "Y or RGB"]
    assert {len(row) for row in rows} == {len(head)}


def test_values_of_files_are_escaped_in_the_page_and_in_what_is_saved(opened, report):
    seen = opened(report)
    rows = saved(seen.page, "images-Set5-x2")
    assert STRANGE in [row[0] for row in rows]
    assert seen.complaints == []
    assert seen.page.locator("pre", has_text="a: <b>").count() == 1


def test_every_table_can_be_saved_under_a_name_of_its_own(opened, report):
    page = opened(report).page
    names = page.eval_on_selector_all("main table", "tables => tables.map((table) => table.dataset.name)")
    assert len(names) == len(set(names)) == page.locator(".save").count()
    assert None not in names


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 768, 1280])
def test_nothing_is_wider_than_the_screen_and_nothing_is_complained_of(opened, report, width, scheme):
    seen = opened(report, width, scheme)
    page = seen.page
    open_all(page)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    cut = page.evaluate("""() => [...document.querySelectorAll("main *")]
        .filter((e) => !e.closest(".scroll, pre, svg, .comparison") && e.getBoundingClientRect().right > innerWidth + 1)
        .map((e) => e.outerHTML.slice(0, 80))""")
    assert cut == []
    assert seen.complaints == [] and seen.strangers == []


def test_every_figure_and_picture_has_a_text_alternative(opened, report):
    page = opened(report).page
    bare = page.evaluate("""() => [...document.querySelectorAll("main img, main svg")]
        .filter((e) => !(e.getAttribute("alt") ?? e.getAttribute("aria-label")) && !e.closest('[aria-hidden="true"]'))
        .map((e) => e.outerHTML.slice(0, 80))""")
    assert bare == []


def test_print_leaves_out_what_only_a_screen_can_use(opened, report):
    page = opened(report).page
    page.emulate_media(media="print")
    assert not page.locator(".contents").is_visible()
    assert not page.locator(".save").first.is_visible()
