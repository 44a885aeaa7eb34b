"""WCAG 2.2 AA: text contrasts by 4.5 with what it stands on, marks and lines of plots by 3, in both colour schemes."""

import re

import pytest

from tests.conftest import ROOT

TEXT = ("ink", "muted", "good", "fair", "bad")
MARKS = ("float", "binary")
GROUNDS = ("page", "raised")


def schemes() -> dict[str, dict[str, str]]:
    """The variables of style.css by colour scheme."""
    css = (ROOT / "reports/templates/style.css").read_text()
    blocks = re.findall(r":root \{(.*?)\}", css, re.DOTALL)
    light, dark = (dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block)) for block in blocks[:2])
    return {"light": light, "dark": dark}


def luminance(colour: str) -> float:
    channels = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_the_measure_itself():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("ground", GROUNDS)
def test_colours_contrast_with_what_they_stand_on(scheme, ground):
    colours = schemes()[scheme]
    low = {name: round(contrast(colours[name], colours[ground]), 2) for name in TEXT}
    assert {name: value for name, value in low.items() if value < 4.5} == {}
    low = {name: round(contrast(colours[name], colours[ground]), 2) for name in MARKS}
    assert {name: value for name, value in low.items() if value < 3} == {}
