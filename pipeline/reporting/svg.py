"""Matplotlib figures as inline SVG in the page's own colours and typeface, light or dark."""

from __future__ import annotations

import io
import re
from html import escape
from typing import Any

import matplotlib
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

# Matplotlib writes these marker colours; each becomes a CSS variable of the page.
INK, MUTED, RULE = "#010a01", "#010a02", "#010a03"
FLOAT, FLOAT_SOFT, BINARY, BINARY_SOFT, NEUTRAL = "#010a04", "#010a05", "#010a06", "#010a07", "#010a08"
PAGE = "#010a09"
_VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    RULE: "--rule",
    FLOAT: "--float",
    FLOAT_SOFT: "--float-soft",
    BINARY: "--binary",
    BINARY_SOFT: "--binary-soft",
    NEUTRAL: "--neutral",
    PAGE: "--page",
}
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "report",
    "font.size": 12,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": RULE,
    "axes.facecolor": "none",
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    "grid.color": RULE,
    "grid.linewidth": 0.8,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
}


def panel(width: float, height: float) -> tuple[Figure, Axes]:
    """Return an empty figure of `width` × `height` CSS pixels and its axes."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(width / 72, height / 72), layout="constrained")
        figure.patch.set_alpha(0)
        axes = figure.subplots()
        axes.tick_params(length=0, which="both")
        return figure, axes


def curve_panel(width: float, height: float, label: str = "") -> tuple[Figure, Axes]:
    """Return an empty figure and its axes for something over the iterations of a training."""
    figure, axes = panel(width, height)
    axes.set_xlabel("iteration")
    axes.set_ylabel(label)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.grid(axis="y")
    return figure, axes


def inline(figure: Figure, name: str, description: str) -> Markup:
    """Return `figure` as an SVG element, with `description` as its text alternative; `name` keeps its ids apart."""
    buffer = io.StringIO()
    with matplotlib.rc_context(_STYLE):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r'\s(?:xmlns(?::\w+)?|version)="[^"]*"', "", text)
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", text)
    text = re.sub(r"font: ((?:\w+ )*[\d.]+px) [^;\"]*", r"font: \1 var(--sans)", text)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    label = f'<svg class="plot" role="img" aria-label="{escape(description)}"'
    text = text.replace("<svg", label, 1)
    text = re.sub(r'(<svg[^>]*?) width="([\d.]+)pt" height="[\d.]+pt"', r"\1", text, count=1)
    return Markup(text.strip())
