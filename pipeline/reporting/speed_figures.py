"""The figures of the section on speed: times, ratios by workload, where the time goes, and how it scales."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

from pipeline import labels
from pipeline.records import ENGINE, FLOAT32, INT8, TORCH, Measurement, NetworkBenchmark, Timing
from pipeline.reporting import svg
from pipeline.reporting.figures import VALUE, WIDTH, Panel, name_rows
from pipeline.reporting.results import Results
from pipeline.reporting.speed_claim import times

KIND_COLOURS = {"binary": svg.BINARY, "float": svg.FLOAT, "other": svg.NEUTRAL}
LINE_COLOURS = {"openvino_int8": svg.FLOAT, "openvino_float32": svg.FLOAT_SOFT, "onnxruntime_int8": svg.NEUTRAL}
FARTHEST_CEILING = 2.5  # times the longest bar
LABEL_GAP = 0.075  # between the labels of two lines, as a share of the panel's height


def ceiling(benchmark: NetworkBenchmark) -> float | None:
    """Return the limit by Amdahl's law of the speed over the fastest float32 runtime, with PyTorch's float layers."""
    over, limit = benchmark.speed(TORCH), benchmark.amdahl.ceiling
    return None if over is None or limit is None else over * limit


def time_panels(results: Results) -> list[Panel]:
    """Draw each network's median times with their range, a bar for every backend; missing ones by name."""
    return [_time_panel(benchmark) for benchmark in results.benchmarks.values()]


def ratio_panels(results: Results) -> list[Panel]:
    """Draw the speed of the engine and its strongest peer over the fastest float32 runtime, for each workload.

    One panel has the single layers, and each network one with its blocks, itself, and its ceiling by Amdahl's law.
    """
    layers: Mapping[str, Measurement] = results.layers.pieces
    panels = [_ratio_panel("Single layers", "ratio-layers", layers, None)]
    for (model, scale), benchmark in results.benchmarks.items():
        workloads: dict[str, Measurement] = {"body": benchmark.body, "network": benchmark}
        name = f"ratio-{model}-x{scale}"
        panels.append(_ratio_panel(labels.network(model, scale), name, workloads, ceiling(benchmark)))
    return panels


def kind_panels(results: Results) -> list[Panel]:
    """Draw each network's time by kind of layer, in PyTorch and in the engine."""
    panels = []
    for (model, scale), benchmark in results.benchmarks.items():
        amdahl = benchmark.amdahl
        bars = {TORCH: {"binary": amdahl.binary_ms, "float": amdahl.total_ms - amdahl.binary_ms}}
        bars |= benchmark.engine_layers
        longest = max(sum(parts.values()) for parts in bars.values())
        figure, axes = svg.panel(WIDTH, 76 + 24 * len(bars))
        for y, parts in enumerate(bars.values()):
            start = 0.0
            for kind, colour in KIND_COLOURS.items():
                axes.barh(y, parts.get(kind, 0.0), left=start, height=0.62, color=colour)
                start += parts.get(kind, 0.0)
            axes.text(start + longest / 50, y, labels.milliseconds(start), **VALUE)
        name_rows(axes, list(range(len(bars))), [labels.short_backend(name) for name in bars])
        _bottom(axes, "milliseconds for one image", longest * 1.3)
        text = "; ".join(
            f"{labels.backend(name)}: "
            + ", ".join(f"{labels.milliseconds(value)} {kind}" for kind, value in parts.items())
            for name, parts in bars.items()
        )
        title = labels.network(model, scale)
        drawing = svg.inline(figure, f"kinds-{model}-x{scale}", f"{title}, time by kind of layer. {text}.")
        panels.append(Panel(title, drawing))
    return panels


def scaling_panels(results: Results) -> list[Panel]:
    """Draw how many times as fast as the fastest float32 runtime the others are, over the size of the image."""
    panels = []
    for (model, scale), benchmark in results.benchmarks.items():
        lines = {
            name: points
            for name in dict.fromkeys(
                name for timed in benchmark.sizes for name in timed.backends if name not in FLOAT32
            )
            if (points := _ratios_by_side(benchmark.sizes, name))
        }
        if not lines:
            continue
        figure, axes = svg.panel(WIDTH, 230)
        highest = 1.08 * max(1.0, *(ratio for points in lines.values() for _, ratio in points))
        axes.axhline(1, color=svg.MUTED, linewidth=1)
        for name, points in lines.items():
            sides, ratios = zip(*points, strict=True)
            axes.plot(sides, ratios, color=_line_colour(name), linewidth=1.9, marker="o", markersize=4)
        sides_shown = [timed.lr_size[0] for timed in benchmark.sizes]
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_locator(FixedLocator(sides_shown))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticklabels([str(side) for side in sides_shown])
        axes.set_ylim(0, highest)
        axes.set_xlabel("side of the square LR image, pixels")
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.grid(axis="y")
        _label_ends(axes, lines, highest)
        text = "; ".join(
            f"{labels.backend(name)}: " + ", ".join(f"{times(ratio)} at {side}" for side, ratio in points)
            for name, points in lines.items()
        )
        title = labels.network(model, scale)
        description = (
            f"{title}, speed over the fastest of PyTorch channels_last, ONNX Runtime and OpenVINO in float32, by image "
            f"size. {text}."
        )
        panels.append(Panel(title, svg.inline(figure, f"sizes-{model}-x{scale}", description)))
    return panels


def _time_panel(benchmark: NetworkBenchmark) -> Panel:
    bars = [*benchmark.backends, *benchmark.missing]
    longest = max((timing.max_ms for timing in benchmark.backends.values()), default=1.0)
    figure, axes = svg.panel(WIDTH, 64 + 23 * len(bars))
    texts = []
    for y, name in enumerate(bars):
        timing = benchmark.backends.get(name)
        if timing is None:
            axes.text(longest / 50, y, "missing", **VALUE | {"color": svg.MUTED})
        else:
            axes.barh(y, timing.median_ms, height=0.62, color=_bar_colour(name))
            axes.plot([timing.min_ms, timing.max_ms], [y, y], color=svg.INK, linewidth=1.2)
            axes.text(timing.max_ms + longest / 50, y, labels.milliseconds(timing.median_ms), **VALUE)
        texts.append(f"{labels.backend(name)} {_time_text(timing)}")
    name_rows(axes, list(range(len(bars))), [labels.short_backend(name) for name in bars])
    _bottom(axes, "milliseconds for one image", longest * 1.32)
    title = labels.network(benchmark.model, benchmark.scale)
    name = f"speed-{benchmark.model}-x{benchmark.scale}"
    return Panel(title, svg.inline(figure, name, f"{title}, median times. {'; '.join(texts)}."))


def _time_text(timing: Timing | None) -> str:
    return "missing" if timing is None else labels.milliseconds(timing.median_ms)


def _ratio_panel(title: str, name: str, workloads: Mapping[str, Measurement], ceiling: float | None) -> Panel:
    speeds = {
        workload: {backend: ratio for backend in (INT8, *timed.engines) if (ratio := timed.speed(backend)) is not None}
        for workload, timed in workloads.items()
    }
    highest = max([1.0, *(ratio for ratios in speeds.values() for ratio in ratios.values())])
    # A distant ceiling would leave no room for the bars.
    shown = ceiling is not None and ceiling <= FARTHEST_CEILING * highest
    most = max(highest, ceiling or 0.0) if shown else highest
    rows = sum(1.3 + len(ratios) for ratios in speeds.values()) + (ceiling is not None and not shown)
    figure, axes = svg.panel(WIDTH, 60 + 24 * rows)
    names: dict[float, str] = {}
    texts = []
    y = 0.0
    for workload, ratios in speeds.items():
        axes.text(0, y, labels.PIECES[workload], **VALUE | {"color": svg.MUTED})
        for backend, ratio in ratios.items():
            y += 1
            names[y] = labels.short_backend(backend)
            axes.barh(y, ratio, height=0.62, color=_bar_colour(backend))
            axes.text(ratio + most / 60, y, times(ratio), **VALUE)
            texts.append(f"{labels.PIECES[workload]}, {labels.backend(backend)}: {times(ratio)}")
        ends = [y - len(ratios) + 0.5, y + 0.5]
        axes.plot([1, 1], ends, color=svg.MUTED, linewidth=1)
        if workload == "network" and ceiling is not None:
            if shown:
                axes.plot([ceiling] * 2, ends, color=svg.INK, linewidth=1.6, linestyle=":")
            else:
                y += 1
                axes.text(0, y, f"ceiling far to the right: {times(ceiling)}", **VALUE | {"color": svg.MUTED})
            texts.append(f"ceiling of the whole network: {times(ceiling)}")
        y += 1.3
    name_rows(axes, list(names), list(names.values()))
    axes.set_ylim(y - 0.7, -0.6)
    _bottom(axes, "speed, fastest float32 runtime = 1", most * 1.2)
    description = f"{title}, speed over the fastest float32 runtime. {'; '.join(texts)}."
    return Panel(title, svg.inline(figure, name, description))


def _ratios_by_side(sizes: list[Measurement], name: str) -> list[tuple[int, float]]:
    return [(timed.lr_size[0], ratio) for timed in sizes if (ratio := timed.speed(name)) is not None]


def _label_ends(axes: Axes, lines: Mapping[str, list[tuple[int, float]]], highest: float) -> None:
    """Name each line at its right end, the names moved apart where they would cover each other."""
    right = max(side for points in lines.values() for side, _ in points)
    below = -LABEL_GAP * highest
    for name in sorted(lines, key=lambda name: lines[name][-1][1]):
        below = max(below + LABEL_GAP * highest, lines[name][-1][1])
        style: dict[str, Any] = VALUE | {"fontsize": 10, "clip_on": False}
        axes.text(right * 1.12, below, labels.short_backend(name), **style)


def _bottom(axes: Axes, label: str, most: float) -> None:
    axes.set_xlim(0, most)
    axes.set_xlabel(label)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.grid(axis="x")


def _bar_colour(name: str) -> str:
    exact = name.endswith(("float32", "bfloat16")) or not name.startswith((ENGINE, "onnx", "openvino"))
    if name.startswith(ENGINE):
        return svg.BINARY_SOFT if exact else svg.BINARY
    return svg.FLOAT_SOFT if exact else svg.FLOAT


def _line_colour(name: str) -> str:
    return LINE_COLOURS.get(name, _bar_colour(name))
