"""The page as a whole: its sections, its numbers, what it loads, and how a browser shows it."""

import base64
import errno
import os
import re
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image

from pipeline.commands import readme
from pipeline.reporting.render import _code, write_report
from pipeline.reporting.results import read_results
from tests.conftest import ROOT
from tests.reporting.synthetic_run import make_params, write_run

SECTIONS = [
    "verdicts", "published", "recipe", "accuracy", "size", "speed", "training", "pictures", "checklist", "provenance",
]  # fmt: skip
SMALLEST = make_params(["vdsr"], [2], ["embedded-test"])
VOID = {"meta", "link", "img", "br"}
ENVIRONMENT = {"python": "3.11.7", "commit": "0123abcd", "dirty": False, "packages": {"torch": "2.13.0", "dvc": None}}


class Page(HTMLParser):
    """Collects ids, what the page loads or links to, text, and elements left open."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.loads, self.links, self.tags, self.open, self.text = [], [], [], [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.tags.append(tag)
        self.ids += [found["id"]] if "id" in found else []
        self.links += [found["href"]] if tag == "a" else []
        names = ("src", "srcset", "data", "poster", "xlink:href", *(["href"] if tag != "a" else []))
        self.loads += [found[name] for name in names if name in found]
        self.open += [tag] if tag not in VOID else []

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def render(root, params, **numbers):
    write_run(root, params, **numbers)
    results = read_results(root, params)
    text = (root / "params.yaml").read_text()
    return write_report(results, params, text, ENVIRONMENT, ROOT / "reports/templates", root / "reports")


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    params = make_params(["srresnet", "edsr", "vdsr"], [2], ["embedded-test"])
    return render(tmp_path_factory.mktemp("quick"), params)


@pytest.fixture(scope="module")
def standard(tmp_path_factory):
    params = make_params(["srresnet", "vdsr"], [2, 4], ["Set5", "Urban100"], "bsd")
    return render(tmp_path_factory.mktemp("standard"), params, gap=0.4, saved=0.5, speedup=0.7)


def test_every_section_is_there_and_in_the_contents(quick):
    page = Page(quick.read_text())
    assert [name for name in page.ids if name in SECTIONS] == SECTIONS
    assert page.links[1 : 1 + len(SECTIONS)] == [f"#{name}" for name in SECTIONS]
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))


def test_nothing_is_loaded_but_the_assets(quick):
    text = quick.read_text()
    page = Page(text)
    local = [name for name in page.loads if not name.startswith(("#", "data:,"))]
    # two images each of the published pair and of this run's three: an overview, bicubic, HR, and three of each model
    assert len(local) == 2 * (3 + 3) + 2 * (3 + 9)
    local += re.findall(r'data-error="([^"]+)"', text)
    assert all(re.fullmatch(r"assets/[\w.-]+\.webp", name) for name in local)
    assert {name.removeprefix("assets/") for name in local} == {p.name for p in (quick.parent / "assets").iterdir()}
    assert not re.search(r"https?:|@import|url\((?!#)", text)


def test_values_of_the_files_are_shown(standard):
    text = Page(standard.read_text()).text
    for value in (
        "+1.20",
        "+0.80",
        "0.40",
        "5,600,000",
        "50.0 %",
        "1012 ms",
        "0.70×",
        "Example CPU at 3 GHz",
        "1f" * 32,
    ):
        assert value in text, value
    assert "slower than the fastest float32 runtime in all 20 comparisons" in text


def test_missing_backends_and_the_table_of_all_times_are_there(quick):
    page = Page(quick.read_text())
    assert "OpenVINO, float32: openvino is not installed: pip install 'binsr[peers]' (everywhere)" in page.text
    link = next(link for link in page.links if link.startswith("data:text/csv;base64,"))
    rows = base64.b64decode(link.partition(",")[2]).decode().splitlines()
    assert rows[0] == "model,median_ms" and [row.split(",")[0] for row in rows[1:]] == ["", "srresnet", "edsr", "vdsr"]


def test_the_machines_limit_is_shown_where_it_was_measured(quick, tmp_path):
    assert "Its limits" not in quick.read_text()
    params = make_params(["vdsr"], [2], ["embedded-test"])
    write_run(tmp_path, params, images=False)
    results = read_results(tmp_path, params)
    results = replace(results, layers=replace(results.layers, machine_limit={"table_int8_gmacs_per_s": 1000.0}))
    page = write_report(results, params, "", ENVIRONMENT, ROOT / "reports/templates", tmp_path / "reports")
    text = Page(page.read_text()).text
    assert "tables in registers, int8, 10⁹ multiply-adds/s" in text
    int8 = results.layers.pieces["layer"].backends["engine_int8"]
    rate = 8 * 64 * 64 * 9 * 128 * 128 / int8.median_ms / 1e6  # eight layers of 64 channels on 128×128 pixels
    assert f"{rate:,.0f}" in text and f"{rate / 10:.1f} %" in text


def test_published_values_stand_beside_the_standard_sets_only(standard, quick):
    text = Page(standard.read_text()).text
    assert "VDSR: Kim, Lee, Lee, CVPR 2016" in text and "30.76" in text and "24.48 Y or RGB" in text
    assert 'class="published"' in standard.read_text()
    of_this_run = quick.read_text().split('<section id="accuracy">')[1]
    assert 'class="published"' not in of_this_run


def test_published_networks_are_told_from_those_of_the_run(quick):
    text = " ".join(Page(quick.read_text()).text.split())
    assert "30.50" in text and "30.32 −0.18" in text  # float, and binary with its distance
    assert "6,000 iterations with batches of 8 crops" in text and text.count("6,000 short run") == 2
    assert "1 of 3 reached Set5 30.32 (paper: 30.34), Set14 27.22 (paper: 27.16), Urban100 24.22 (paper: 24.48)" in text
    assert "0 of 3 reached Set5 28.72 (paper: 30.34)" in text
    assert "412 ms" in text and "125 ms" in text and "3.3×" in text


def test_verdicts_and_their_reach_are_stated(quick, standard):
    verdicts = [re.findall(r'data-verdict="(\w+)"', page.read_text()) for page in (quick, standard)]
    assert verdicts == [["partly", "replicated", "partly", "partly"], ["partly", "partly", "not", "not"]]
    text = Page(quick.read_text()).text
    assert "no judgement on the paper" in text
    assert text.count("This verdict applies to this run only.") == 3


def test_commands_in_sentences_are_marked_and_all_else_is_escaped(quick):
    assert str(_code("runs of `make ratios` <b>")) == "runs of <code>make ratios</code> &lt;b&gt;"
    assert "`" not in Page(quick.read_text().split("<script")[0]).text


def test_figures_have_text_alternatives_and_the_colours_of_the_page(quick):
    plots = re.findall(r"<svg.*?</svg>", quick.read_text(), re.DOTALL)
    assert len(plots) == (1 + 1 + 2 + 2 + 2) + (3 + 3) + 3 + (3 + 4 + 3 + 3) + 6  # published, …, training
    assert all('role="img" aria-label="' in plot for plot in plots)
    assert not any("#010a0" in plot or "#000000" in plot for plot in plots)
    assert "float +1.20 dB, binary +1.09 dB" in plots[8]  # the first of the run's own, after those of the published


def test_hostile_values_are_escaped(tmp_path):
    hostile = '<script>alert("1")</script>'
    params = make_params(["vdsr"], [2], ["embedded-test"]).model_copy(update={"profile": hostile})
    page = Page(render(tmp_path, params, training_set=hostile, images=False).read_text())
    assert page.tags.count("script") == 1  # the page's own
    assert page.text.count(hostile) >= 3  # the badge, the training record, params.yaml


@pytest.fixture(scope="module")
def smallest(tmp_path_factory):
    """A folder with the report of one network, without images."""
    folder = tmp_path_factory.mktemp("smallest")
    render(folder, SMALLEST, images=False, gap=0.1)
    return folder


def test_a_second_report_replaces_the_first(smallest, tmp_path):
    page = shutil.copytree(smallest, tmp_path, dirs_exist_ok=True) / "reports/index.html"
    first = page.read_bytes()
    (page.parent / "assets/old.png").write_bytes(b"")
    (page.parent / ".fresh").mkdir()  # of a report that was killed
    assert render(tmp_path, SMALLEST, images=False, gap=0.1).read_bytes() == first
    assert sorted(path.name for path in page.parent.iterdir()) == ["assets", "claims.json", "index.html"]
    assert not (page.parent / "assets/old.png").exists()


def test_a_report_that_cannot_be_completed_leaves_the_one_before(smallest, tmp_path, monkeypatch):
    page = shutil.copytree(smallest, tmp_path, dirs_exist_ok=True) / "reports/index.html"
    before = {path: path.read_bytes() for path in page.parent.rglob("*") if path.is_file()}

    def full(path, value):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr("pipeline.reporting.render.write_json", full)
    with pytest.raises(OSError, match="No space left"):
        render(tmp_path, SMALLEST, images=False, gap=0.5)
    assert {path: path.read_bytes() for path in page.parent.rglob("*") if path.is_file()} == before


def test_the_stage_names_the_first_missing_file(tmp_path):
    write_run(tmp_path, SMALLEST, images=False)
    (tmp_path / "results/train/vdsr-x2-binary.json").unlink()
    python = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "stages.report"]
    done = subprocess.run(command, cwd=tmp_path, env=python, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "error: results/train/vdsr-x2-binary.json: missing; run `dvc repro`\n"


CHROMIUM = readme.chromium()
browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH")
QUIET = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--hide-scrollbars", "--enable-logging=stderr",
]  # fmt: skip


def chromium(profile, page, *options):
    command = [CHROMIUM, *QUIET, f"--user-data-dir={profile}", *options, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, check=True)


@browser
def test_chromium_renders_without_a_complaint(quick, tmp_path):
    done = chromium(tmp_path, quick, "--dump-dom")
    assert "CONSOLE" not in done.stderr
    complaining = tmp_path / "complaining.html"
    complaining.write_text("<script>console.error('it would be seen')</script>")
    assert "CONSOLE" in chromium(tmp_path, complaining, "--dump-dom").stderr
    assert [name for name in Page(done.stdout).ids if name in SECTIONS] == SECTIONS


@browser
@pytest.mark.parametrize(
    ("width", "scheme", "light"), [(1400, 1, True), (1400, 0, False), (390, 1, True)], ids=["light", "dark", "phone"]
)
def test_chromium_shows_both_schemes_and_a_phone(quick, tmp_path, width, scheme, light):
    picture = tmp_path / "page.png"
    chromium(
        tmp_path / "profile", quick, f"--screenshot={picture}", f"--window-size={width},9000",
        f"--blink-settings=preferredColorScheme={scheme}",
    )  # fmt: skip
    pixels = np.asarray(Image.open(picture).convert("L"))
    assert pixels.shape == (9000, width)
    assert (np.median(pixels) > 200) if light else (np.median(pixels) < 60)
    assert np.ptp(pixels[:600]) > 150  # text is there, in contrast
    assert np.ptp(pixels[:, -8:]) < 90  # nothing but rules and shades runs into the right edge


def test_a_thousand_images_a_set_stay_a_page_that_a_browser_shows(tmp_path, opened):
    params = make_params(["srresnet", "edsr", "vdsr"], [2, 3, 4], ["Set5", "Set14", "B100", "Urban100"], "bsd")
    page = render(tmp_path, params, images=False, more_images=997)
    text = page.read_text()
    assert "The 200 images of Set14, ×3, with the largest gap; all 1,000 are in results/evaluate/Set14" in text
    assert len(text) < 4e6
    assert opened(page).complaints == []


def test_only_the_pages_own_script_runs_and_nothing_is_fetched(quick, tmp_path, opened):
    """Escaping is the first defence, and the page's Content-Security-Policy the second."""
    shutil.copytree(quick.parent, tmp_path / "reports")
    page = tmp_path / "reports/index.html"
    asked = []

    class Recording(SimpleHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(404)

    with ThreadingHTTPServer(("127.0.0.1", 0), Recording) as outside:
        threading.Thread(target=outside.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{outside.server_port}"
        strange = f"""<script>document.title = 'script'</script>
            <img src="{address}/a.png" onerror="document.title = 'handler'"><svg onload="document.title = 'svg'"></svg>
            <iframe src="{address}/"></iframe><script src="{address}/a.js"></script><base href="{address}/">"""
        page.write_text(page.read_text().replace("</main>", f"{strange}</main>"))
        seen = opened(page)
        seen.page.wait_for_timeout(500)
        outside.shutdown()
    assert asked == []
    assert "what was measured" in seen.page.title()
    assert sum("Content Security Policy" in complaint for complaint in seen.complaints) >= 5, seen.complaints
    assert seen.page.locator(".comparison.live").count() > 0  # its own script
