"""The picture comparisons in a real browser: divider, sources, zoom, error maps, and what is loaded when."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from pipeline.reporting.render import write_report
from pipeline.reporting.results import read_results
from tests.conftest import ROOT
from tests.reporting.synthetic_run import make_params, write_run

RED, BLUE = (200, 30, 30), (30, 30, 200)
HOSTILE = '"><img src="x" onerror="console.error(1)"><script>console.error(2)</script>'


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A report in which the first image is red as the float network makes it, and blue as the binary one does."""
    root = tmp_path_factory.mktemp("report")
    params = make_params(["srresnet", "edsr"], [2], ["embedded-test"])
    write_run(root, params)
    folder = root / "results/images/embedded-test/zoo/x4/largest"
    for kind, colour in (("float", RED), ("binary", BLUE)):
        path = folder / f"srresnet-{kind}.png"
        Image.new("RGB", Image.open(path).size, colour).save(path)
    records = json.loads((folder.parent / "pictures.json").read_text())
    records[1]["image"] = HOSTILE
    (folder.parent / "pictures.json").write_text(json.dumps(records))
    results = read_results(root, params)
    return write_report(results, params, "", {"commit": None}, ROOT / "reports/templates", root / "reports")


class Viewer:
    """The first comparison of a page, seen."""

    def __init__(self, opened):
        self.page = opened.page
        self.whole = self.page.locator(".comparison").first
        self.stage, self.divider = self.whole.locator(".stage"), self.whole.locator(".divider")
        self.errors = self.whole.get_by_role("button", name="Error map")
        self.show()

    def show(self):
        """Bring it into view and wait for its two pictures."""
        self.stage.scroll_into_view_if_needed()
        for image in self.stage.locator("img").all():
            image.evaluate("image => image.decode()")

    def zoom(self, times):
        self.whole.get_by_role("button", name=f"{times}×").click()

    def choose(self, side, name):
        self.whole.get_by_role("combobox", name=side).select_option(label=name)
        self.show()

    def scores(self, side):
        return self.whole.locator(f".side[data-side={side}] dd").all_inner_texts()

    @property
    def at(self):
        return float(self.divider.get_attribute("aria-valuenow"))

    @property
    def sources(self):
        return [image.get_attribute("src") for image in self.stage.locator("img").all()]

    @property
    def transforms(self):
        return [image.evaluate("image => image.style.transform") for image in self.stage.locator("img").all()]

    def drag(self, start, end):
        """Drag from one place of the stage to another, in shares of its sides."""
        self.stage.hover()  # which waits until the page has scrolled
        box = self.stage.bounding_box()
        places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in (start, end)]
        self.page.mouse.move(*places[0])
        self.page.mouse.down()
        self.page.mouse.move(*places[1], steps=4)
        self.page.mouse.up()

    def pixel(self, x, y=0.2):
        """The colour at a place of the stage, in shares of its sides."""
        shot = np.asarray(Image.open(io.BytesIO(self.stage.screenshot())).convert("RGB"))
        return tuple(int(value) for value in shot[int(y * shot.shape[0]), int(x * shot.shape[1])])


@pytest.fixture
def viewer(opened, report):
    return Viewer(opened(report))


@pytest.mark.parametrize("width", [1280, 1100, 1000, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_complains_of_nothing_asks_no_stranger_and_fits(opened, report, width, scheme):
    seen = opened(report, width, scheme)
    viewer = Viewer(seen)
    viewer.errors.click()
    viewer.zoom(4)
    viewer.choose("Right", "HR")
    assert (seen.complaints, seen.strangers) == ([], [])
    assert seen.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    room = viewer.whole.bounding_box()
    for control in viewer.whole.locator("button, select").all():
        box = control.bounding_box()
        assert box["height"] >= 40 and box["x"] + box["width"] <= room["x"] + room["width"] + 1
    cut = viewer.whole.locator("dd, dt, button, select, h4").evaluate_all(
        "all => all.filter((e) => e.scrollWidth > e.clientWidth + 1).map((e) => e.textContent)"
    )
    assert cut == []
    background = seen.page.evaluate("getComputedStyle(document.body).backgroundColor")
    brightness = np.mean([int(part) for part in background.removeprefix("rgb(").removesuffix(")").split(",")])
    assert brightness > 200 if scheme == "light" else brightness < 60


def test_left_of_the_divider_is_the_left_source_and_right_of_it_the_right(viewer):
    assert viewer.at == 50
    assert (viewer.pixel(0.4), viewer.pixel(0.6)) == (RED, BLUE)
    viewer.drag((0.5, 0.5), (0.25, 0.5))
    assert viewer.at == 25
    assert (viewer.pixel(0.2), viewer.pixel(0.3)) == (RED, BLUE)
    viewer.drag((0.9, 0.3), (0.8, 0.3))  # from anywhere
    assert viewer.at == 80
    assert (viewer.pixel(0.7), viewer.pixel(0.9)) == (RED, BLUE)
    box = viewer.stage.bounding_box()
    viewer.stage.click(position={"x": 0.1 * box["width"], "y": 20})
    assert viewer.at == 10
    assert "SRResNet float to the left, SRResNet binary to the right" in viewer.divider.get_attribute("aria-valuetext")


def test_the_keyboard_moves_the_divider(viewer):
    viewer.divider.focus()
    moves = {"ArrowRight": 52, "ArrowLeft": 50, "Shift+ArrowLeft": 40, "Shift+ArrowRight": 50, "Home": 0, "End": 100}
    for key, at in moves.items():
        viewer.page.keyboard.press(key)
        assert viewer.at == at, key
        clip = viewer.stage.locator(".pane.right").evaluate("pane => getComputedStyle(pane).clipPath")
        assert clip.endswith(f" {at}%)") or (at == 0 and clip == "inset(0px 0px 0px 0%)"), clip
    assert viewer.pixel(0.9) == RED
    assert viewer.page.locator("#pictures .keys").is_visible()


def test_a_finger_moves_the_divider(browser, report):
    context = browser.new_context(viewport={"width": 390, "height": 800}, has_touch=True)
    page = context.new_page()
    page.goto(report.as_uri())
    stage = page.locator(".comparison .stage").first
    stage.tap(position={"x": 0.3 * stage.bounding_box()["width"], "y": 100})
    divider = page.locator(".divider").first
    assert divider.get_attribute("aria-valuenow") == "30"
    box, touch = stage.bounding_box(), context.new_cdp_session(page)
    for kind, shares in (("touchStart", [0.3]), ("touchMove", [0.4]), ("touchMove", [0.7]), ("touchEnd", [])):
        points = [{"x": box["x"] + share * box["width"], "y": box["y"] + 100} for share in shares]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    assert divider.get_attribute("aria-valuenow") == "70"
    context.close()


def test_sources_switch_with_their_scores_and_load_only_then(opened, report):
    seen = opened(report)
    viewer = Viewer(seen)
    before = viewer.scores("left")
    assert viewer.sources == ["assets/01-srresnet-float.webp", "assets/01-srresnet-binary.webp"]
    assert "assets/01-bicubic.webp" not in seen.loaded
    viewer.choose("Left", "bicubic")
    assert viewer.sources[0] == "assets/01-bicubic.webp" and "assets/01-bicubic.webp" in seen.loaded
    tile = viewer.whole.locator(".tile[data-key=bicubic]")
    expected = [tile.get_attribute(f"data-{name}") for name in ("psnr-y", "psnr-rgb", "ssim")]
    assert viewer.scores("left") == expected != before
    assert viewer.stage.locator(".left span").inner_text() == "bicubic"
    assert viewer.stage.locator(".left img").get_attribute("alt").startswith("Crop of cat, bicubic: PSNR-Y ")
    viewer.choose("Right", "HR")
    assert viewer.scores("right") == ["—", "—", "—"]
    shown = viewer.pixel(0.9)
    with Image.open(report.parent / "assets/01-hr.webp") as hr:
        assert shown == hr.convert("RGB").getpixel((int(0.9 * hr.width), int(0.2 * hr.height)))


def test_all_sources_can_be_chosen(viewer):
    options = viewer.whole.get_by_role("combobox", name="Left").locator("option").all_inner_texts()
    assert options == ["bicubic", "SRResNet float", "SRResNet binary", "SRResNet engine int8", "HR"]


def test_zoom_magnifies_both_sides_and_pans(viewer):
    viewer.choose("Left", "HR")
    viewer.choose("Right", "HR")
    viewer.drag((0.5, 0.5), (0, 0.5))
    plain = viewer.pixel(0.5 + 0.2 / 4, 0.5 + 0.2 / 4)
    viewer.zoom(4)
    assert viewer.pixel(0.5 + 0.2, 0.5 + 0.2) == plain
    pressed = viewer.whole.locator("[data-zoom][aria-pressed=true]").all_inner_texts()
    assert pressed == ["4×"]
    viewer.drag((0.5, 0.8), (0.5, 0.4))  # pans; the divider stays
    assert viewer.at == 0
    assert viewer.pixel(0.5 + 0.2, 0.5 + 0.2 - 0.4) == plain
    assert len(set(viewer.transforms)) == 1 and "scale(4)" in viewer.transforms[0]
    for _ in range(9):
        viewer.drag((0.1, 0.1), (0.9, 0.9))
    assert viewer.transforms == ["translate(0%, 0%) scale(4)"] * 2  # not beyond the edge


def test_zoom_and_pan_by_keyboard(viewer):
    viewer.divider.focus()
    scales = []
    for key in ("+", "+", "+", "+", "-", "0"):
        viewer.page.keyboard.press(key)
        scales.append(viewer.transforms[0].rpartition(" ")[2])
    assert scales == [f"scale({times})" for times in (2, 4, 8, 8, 4, 1)]
    viewer.page.keyboard.press("+")
    viewer.stage.focus()
    viewer.page.keyboard.press("ArrowRight")
    viewer.page.keyboard.press("ArrowDown")
    assert viewer.transforms == ["translate(-60%, -60%) scale(2)"] * 2
    assert viewer.at == 50


def test_the_error_map_toggles_with_its_legend(viewer):
    legend = viewer.whole.locator(".range")
    assert not legend.is_visible()
    viewer.choose("Left", "HR")
    viewer.errors.click()
    viewer.show()
    assert viewer.errors.get_attribute("aria-pressed") == "true"
    assert viewer.sources == ["assets/01-hr-error.webp", "assets/01-srresnet-binary-error.webp"]
    assert viewer.pixel(0.3) == (0, 0, 4)  # HR has no error: the first colour of the map
    assert legend.is_visible()
    assert f"{viewer.whole.get_attribute('data-error-range')} or more" in legend.inner_text()
    viewer.errors.click()
    viewer.show()
    assert viewer.sources[1] == "assets/01-srresnet-binary.webp" and not legend.is_visible()
    assert viewer.pixel(0.7) == BLUE


def test_nothing_is_loaded_before_it_is_near(opened, report):
    seen = opened(report)
    seen.page.wait_for_load_state("networkidle")
    assert [path for path in seen.loaded if path.startswith("assets/")] == []
    Viewer(seen)
    assert "assets/01-srresnet-float.webp" in seen.loaded


def test_without_scripts_the_strips_are_there(opened, report):
    seen = opened(report, scripts=False)
    tiles = seen.page.locator(".comparison").first.locator(".tile")
    assert [tile.inner_text().split("\n")[0] for tile in tiles.all()] == [
        "bicubic", "SRResNet float", "SRResNet binary", "SRResNet engine int8", "HR"
    ]  # fmt: skip
    assert all(tile.is_visible() for tile in tiles.all())
    assert not seen.page.locator(".stage, #pictures .keys").first.is_visible()
    assert seen.complaints == []


def test_names_of_images_are_text(opened, report):
    seen = opened(report)
    second = seen.page.locator(".comparison").nth(1)
    assert second.locator("h4").inner_text().startswith(HOSTILE)
    assert second.locator(".stage").get_attribute("aria-label").startswith(HOSTILE)
    second.locator(".stage").scroll_into_view_if_needed()
    assert seen.page.locator("img[src=x], main script").count() == 0
    assert (seen.complaints, seen.strangers) == ([], [])


def test_print_shows_the_strips(viewer):
    viewer.page.emulate_media(media="print")
    tiles = viewer.whole.locator(".tile")
    assert all(tile.is_visible() for tile in tiles.all())
    assert not viewer.stage.is_visible() and not viewer.errors.is_visible()
