"""Accuracy against time and against size: the published networks and backends that no other betters in both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle

from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from pipeline import labels
from pipeline.records import EXACT_MODES, INT8, TORCH
from pipeline.reporting import svg
from pipeline.reporting.columns import COUNT, NETWORK, RUN_BY, WEIGHTS_COLUMN, level, weights_cell
from pipeline.reporting.figures import Panel
from pipeline.reporting.results import Zoo
from pipeline.runs import MODELS
from pipeline.tables import Column, Table, table
from pipeline.zoo.catalogue import pairs

WIDTH, HEIGHT = 400, 290
MARKERS = dict(zip(MODELS, cycle("os^Dv"), strict=False))  # of matplotlib
SYMBOLS = {"o": "●", "s": "■", "^": "▲", "D": "◆", "v": "▼"}


@dataclass(frozen=True)
class Point:
    """One published network, run one way: dB of PSNR-Y, milliseconds for one image here, bytes on disk."""

    model: str
    scale: int
    weights: str
    by: str
    psnr_y: float
    ms: float
    bytes: int


Cost = Callable[[Point], float]


def time_of(point: Point) -> float:
    """Return the time of a point, milliseconds."""
    return point.ms


def size_of(point: Point) -> float:
    """Return the size of a point, kB."""
    return point.bytes / 1e3


def pareto_points(zoo: Zoo) -> list[Point]:
    """Return a point for every published pair and way of running it that this run timed.

    PSNR-Y is the mean over the published test sets; times are those of this run's first test set.
    """
    timed = next(iter(zoo.here.values())).times
    points = []
    for real, binary in pairs(zoo.models):
        times = timed.get(binary.name)
        if times is None:
            continue
        for backend, timing in times.backends.items():
            float_backend = backend in (TORCH, INT8)
            model = real if float_backend else binary
            sets = zoo.published[model.name].values()
            scored = "torch" if backend == TORCH else backend
            if backend in EXACT_MODES and not all(backend in means for means in sets):
                scored = "torch"  # not scored on the largest set, nor those of variants: they are within 0.002 dB
            if not all(scored in means for means in sets):
                continue
            mean = sum(means[scored].psnr_y for means in sets) / len(sets)
            points.append(Point(model.model, model.scale, model.weights, backend, mean, timing.median_ms, model.bytes))
    return points


def test_sets(zoo: Zoo) -> list[str]:
    """Return the sets that the points' PSNR-Y is a mean over."""
    return list(dict.fromkeys(name for _, model in pairs(zoo.models) for name in zoo.published[model.name]))


def marks(points: Sequence[Point]) -> list[str]:
    """Return the legend of the markers, as `● SRResNet`."""
    return [f"{SYMBOLS[MARKERS[model]]} {labels.model(model)}" for model in dict.fromkeys(p.model for p in points)]


def front(points: Sequence[Point], cost: Cost) -> list[Point]:
    """Return the points that no other of them betters: as accurate and as cheap, and better in one; cheapest first."""

    def betters(other: Point, point: Point) -> bool:
        as_good = other.psnr_y >= point.psnr_y and cost(other) <= cost(point)
        return as_good and (other.psnr_y > point.psnr_y or cost(other) < cost(point))

    return sorted((point for point in points if not any(betters(other, point) for other in points)), key=cost)


def pareto_table(points: Sequence[Point]) -> Table:
    """Return the points, and which are on the fronts of their scale."""
    rows = []
    for point in points:
        rivals = [other for other in points if other.scale == point.scale]
        fronts = ["time"] if len(rivals) > 1 and point in front(rivals, time_of) else []
        fronts += ["size"] if len(rivals) > 1 and point in front(_on_disk(rivals), size_of) else []
        row = {"network": labels.network(point.model, point.scale), **vars(point), **weights_cell(point.weights)}
        rows.append(row | {"fronts": labels.listing(fronts) if fronts else ""})
    columns = {
        "network": NETWORK,
        "weights": WEIGHTS_COLUMN,
        "by": RUN_BY,
        "psnr_y": level("PSNR-Y", 3, css="n strong"),
        "ms": Column("time", labels.milliseconds, "n"),
        "bytes": Column("bytes", COUNT, "n"),
        "fronts": Column("on the front of"),
    }
    return table("pareto", "Accuracy against time and size", columns, rows)


def pareto_panels(points: Sequence[Point]) -> list[Panel]:
    """Draw, for each scale with points to compare, PSNR-Y over time and over size, the front as a line."""
    panels = []
    for scale in sorted({point.scale for point in points}):
        of_scale = [point for point in points if point.scale == scale]
        if len(of_scale) == 1:
            continue
        panels.append(_panel(of_scale, f"×{scale}, over time", "time", "milliseconds for one image", "ms", time_of))
        panels.append(_panel(_on_disk(of_scale), f"×{scale}, over size", "size", "kB on disk", "kB", size_of))
    return panels


def _on_disk(points: Sequence[Point]) -> list[Point]:
    """Return the points that are run from the file whose bytes they have: OpenVINO's int8 network has its own."""
    return [point for point in points if point.by != INT8]


def _colour(point: Point) -> str:
    """Return the colour of a network, in full where it computes with integers."""
    if point.weights == "float":
        return svg.FLOAT if point.by == INT8 else svg.FLOAT_SOFT
    return svg.BINARY_SOFT if point.by in EXACT_MODES else svg.BINARY


def _panel(points: Sequence[Point], title: str, kind: str, axis: str, unit: str, cost: Cost) -> Panel:
    figure, axes = svg.panel(WIDTH, HEIGHT)
    edge = front(points, cost)
    axes.step([cost(p) for p in edge], [p.psnr_y for p in edge], where="post", color=svg.MUTED, linewidth=1.5, zorder=1)
    for point in points:
        colour = _colour(point)
        border = svg.INK if point in edge else svg.PAGE
        marker = MARKERS[point.model]
        axes.plot(cost(point), point.psnr_y, marker, color=colour, markersize=9, markeredgecolor=border, zorder=3)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(10, subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.margins(0.1)
    axes.set_xlabel(axis)
    axes.set_ylabel("PSNR-Y, dB")
    axes.grid()
    description = "; ".join(
        f"{labels.network(p.model, p.scale)} {p.weights}, {labels.backend(p.by)}: {labels.decibels(p.psnr_y)}, "
        f"{cost(p):,.0f} {unit}{', on the front' if p in edge else ''}"
        for p in points
    )
    return Panel(title, svg.inline(figure, f"pareto-{points[0].scale}-{kind}", f"PSNR-Y {title}. {description}."))
