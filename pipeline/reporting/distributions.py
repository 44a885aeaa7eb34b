"""Figures of the gap of every image, float minus binary, which a mean hides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

import numpy as np

from pipeline import labels
from pipeline.evaluation.gaps import image_gaps
from pipeline.reporting import svg
from pipeline.reporting.figures import WIDTH, Panel, name_rows
from pipeline.reporting.results import Results, Zoo
from pipeline.runs import Run
from pipeline.zoo.catalogue import pairs

MOST_DOTS = 200  # of one row: of more images, so many are drawn, evenly spaced in the order of their gaps

Gaps = Mapping[str, Sequence[float]]  # name of a row to the gaps of its images, dB of PSNR-Y


def run_distributions(results: Results) -> list[Panel]:
    """Draw the gaps of this run's networks, a panel a model, a row a test set and scale."""
    panels: dict[str, dict[str, Sequence[float]]] = {}
    for model, scale in results.pairs:
        for name in results.test_sets:
            real, binary = (results.evaluations[name, Run(model, scale, weights)] for weights in ("float", "binary"))
            rows = panels.setdefault(labels.model(model), {})
            rows[f"{name} ×{scale}"] = list(image_gaps(real.scores["torch"], binary.scores["torch"]).values())
    return _panels(panels, "gaps-of-this-run")


def zoo_distributions(zoo: Zoo) -> list[Panel]:
    """Draw the gaps of the published pairs on their test sets, a panel a network, a row a test set."""
    panels: dict[str, dict[str, Sequence[float]]] = {}
    for real, binary in pairs(zoo.models):
        scores = {
            name: [zoo.scores[model.name, name]["torch"] for model in (real, binary)]
            for name in zoo.published[binary.name]
        }
        panels[labels.network(real.model, real.scale, real.variant)] = {
            name: list(image_gaps(*pair).values()) for name, pair in scores.items()
        }
    return _panels(panels, "gaps-of-published")


def _panels(panels: Mapping[str, Gaps], name: str) -> list[Panel]:
    every = [gap for rows in panels.values() for gaps in rows.values() for gap in gaps]
    low, high = min([0.0, *every]), max([0.0, *every])
    margin = 0.06 * (high - low or 1.0)
    drawn = []
    for number, (title, rows) in enumerate(panels.items()):
        figure, axes = svg.panel(WIDTH, 58 + 34 * len(rows))
        axes.axvline(0, color=svg.MUTED, linewidth=1)
        random = np.random.default_rng(0)  # dots of equal gaps lie beside each other, in the same way in every report
        for y, gaps in enumerate(rows.values()):
            dots = gaps if len(gaps) <= MOST_DOTS else np.quantile(gaps, np.linspace(0, 1, MOST_DOTS), method="nearest")
            scatter = y + random.uniform(-0.24, 0.24, len(dots)) if len(dots) > 4 else [y] * len(dots)
            axes.plot(dots, scatter, "o", color=svg.BINARY, markersize=4.5 if len(dots) < 30 else 3, zorder=2)
            middle = median(gaps)
            axes.plot([middle, middle], [y - 0.36, y + 0.36], color=svg.INK, linewidth=2, zorder=3)
        name_rows(axes, range(len(rows)), [row if len(row) <= 17 else f"{row[:16]}…" for row in rows])
        axes.set_xlim(low - margin, high + margin)
        axes.set_xlabel("float minus binary, dB PSNR-Y")
        axes.grid(axis="x")
        text = "; ".join(
            f"{row}: median {labels.decibels(median(gaps), True)}, from {labels.decibels(min(gaps), True)} to "
            f"{labels.decibels(max(gaps), True)} over {len(gaps)} images"
            for row, gaps in rows.items()
        )
        drawn.append(Panel(title, svg.inline(figure, f"{name}-{number}", f"{title}, gap of every image. {text}.")))
    return drawn
