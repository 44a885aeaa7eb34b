"""The report's figures: one small panel a model, so that a phone shows them one below the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from pipeline import labels
from pipeline.records import Footprint
from pipeline.reporting import svg
from pipeline.reporting.results import WEIGHTS, Point, Results, Zoo
from pipeline.reporting.sizes import reduction
from pipeline.runs import Run

WIDTH, CURVE_WIDTH = 320, 380  # CSS pixels at which the text has its own size
VALUE: dict[str, Any] = {"va": "center", "color": svg.INK, "fontsize": 11}
LAYER_COLOURS = {"binary": svg.BINARY, "float": svg.FLOAT, "other": svg.NEUTRAL}
WEIGHT_COLOURS = {"float": svg.FLOAT, "binary": svg.BINARY}


@dataclass(frozen=True)
class Panel:
    """One drawing and its heading."""

    title: str
    drawing: Markup


def accuracy_panels(results: Results) -> list[Panel]:
    """Draw each model's gain over bicubic, float and binary, a row for every test set and scale."""
    rows = [(name, scale) for name in results.test_sets for scale in results.scales]
    gains = {
        (model, weights, name, scale): results.evaluations[name, Run(model, scale, weights)].means["torch"].psnr_y
        - results.bicubic[name, scale].means["bicubic"].psnr_y
        for model in results.models
        for weights in WEIGHTS
        for name, scale in rows
    }
    low, high = min(0.0, *gains.values()), max(0.0, *gains.values())
    margin = 0.08 * (high - low or 1.0)
    panels = []
    for model in results.models:
        figure, axes = svg.panel(WIDTH, 58 + 26 * len(rows))
        axes.axvline(0, color=svg.MUTED, linewidth=1)
        for y, (name, scale) in enumerate(rows):
            pair = [gains[model, weights, name, scale] for weights in WEIGHTS]
            axes.plot(pair, [y, y], color=svg.RULE, linewidth=3, zorder=2)
            for gain, weights in zip(pair, WEIGHTS, strict=True):
                axes.plot([gain], [y], "o", color=WEIGHT_COLOURS[weights], markersize=7, zorder=3)
        name_rows(axes, range(len(rows)), [f"{_short(name)} ×{scale}" for name, scale in rows])
        axes.set_xlim(low - margin, high + margin)
        axes.set_xlabel("gain over bicubic, dB PSNR-Y")
        axes.grid(axis="x")
        text = "; ".join(
            f"{name} ×{scale}: float {labels.decibels(gains[model, 'float', name, scale], True)}, "
            f"binary {labels.decibels(gains[model, 'binary', name, scale], True)}"
            for name, scale in rows
        )
        title = labels.model(model)
        panels.append(Panel(title, svg.inline(figure, f"accuracy-{model}", f"{title}, gain over bicubic. {text}.")))
    return panels


def size_panels(files: Mapping[Run, Footprint]) -> list[Panel]:
    """Draw each model's file sizes, float above binary, split by kind of layer."""
    largest = max(export.bytes for export in files.values())
    panels = []
    for model in dict.fromkeys(run.model for run in files):
        bars = [run for run in files if run.model == model]
        heights = _grouped([run.scale for run in bars])
        figure, axes = svg.panel(WIDTH, 78 + 26 * heights[-1])
        for y, run in zip(heights, bars, strict=True):
            export, start = files[run], 0
            parts = [(export.layers.get(kind, 0), colour) for kind, colour in LAYER_COLOURS.items()]
            for width, colour in [*parts, (export.bytes - sum(size for size, _ in parts), svg.NEUTRAL)]:
                axes.barh(y, width / 1e6, left=start / 1e6, height=0.62, color=colour)
                start += width
            saved = reduction(files, model, run.scale)
            change = f"  {labels.number(-100 * saved, 1)} %" if run.weights == "binary" else ""
            axes.text(start / 1e6 + largest / 6e7, y, labels.byte_size(export.bytes) + change, **VALUE)
        name_rows(axes, heights, [f"×{run.scale} {run.weights}" for run in bars])
        axes.set_xlim(0, largest / 1e6 * 1.35)
        axes.set_xlabel("MB on disk")
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.grid(axis="x")
        text = "; ".join(f"×{run.scale} {run.weights} {labels.byte_size(files[run].bytes)}" for run in bars)
        title = labels.model(model)
        panels.append(Panel(title, svg.inline(figure, f"size-{model}", f"{title}, size on disk. {text}.")))
    return panels


def training_panels(results: Results) -> list[tuple[str, list[Panel]]]:
    """Draw loss and validation PSNR-Y over iterations, float and binary together, for every model and scale."""
    return _curves(results.histories, results.pairs, "training")


def zoo_training_panels(zoo: Zoo) -> list[tuple[str, list[Panel]]]:
    """Draw the training curves of the published networks, without variants."""
    main = [model for model in zoo.models if not model.variant]
    histories = {Run(m.model, m.scale, m.weights): zoo.histories[m.name] for m in main}
    return _curves(histories, list(dict.fromkeys((m.model, m.scale) for m in main)), "published-training")


def _curves(
    histories: Mapping[Run, Sequence[Point]], pairs: Sequence[tuple[str, int]], prefix: str
) -> list[tuple[str, list[Panel]]]:
    figures = []
    for model, scale in pairs:
        runs = [run for weights in WEIGHTS if (run := Run(model, scale, weights)) in histories]
        panels = []
        for key, title in (("loss", "training loss"), ("psnr_y", "validation PSNR-Y, dB")):
            figure, axes = svg.curve_panel(CURVE_WIDTH, 225)
            ends = []
            for run in runs:
                values = [getattr(point, key) for point in histories[run]]
                iterations = [point.iteration for point in histories[run]]
                colour = WEIGHT_COLOURS[run.weights]
                marker = "o" if len(values) < 12 else ""
                axes.plot(iterations, values, color=colour, linewidth=1.9, marker=marker, markersize=4)
                ends += [f"{run.weights} ends at {values[-1]:.4g}"] if values else []
            axes.margins(x=0.03)
            name = f"{prefix}-{model}-x{scale}-{key.replace('_', '-')}"
            description = f"{labels.model(model)} ×{scale}, {title} over iterations: {', '.join(ends)}."
            panels.append(Panel(title, svg.inline(figure, name, description)))
        figures.append((labels.network(model, scale), panels))
    return figures


def _grouped(keys: list[int]) -> list[float]:
    """Return heights one apart, with some more room wherever the key changes."""
    heights = [0.0]
    for before, key in pairwise(keys):
        heights.append(heights[-1] + (1 if key == before else 1.5))
    return heights


def name_rows(axes: Axes, heights: Sequence[float], names: list[str]) -> None:
    """Name the rows of a panel at its left, the first on top."""
    axes.set_yticks(heights, names)
    axes.set_ylim(heights[-1] + 0.6, -0.6)
    axes.tick_params(axis="y", labelcolor=svg.INK)
    axes.spines["left"].set_visible(False)


def _short(name: str) -> str:
    return name if len(name) <= 14 else name[:13] + "…"
