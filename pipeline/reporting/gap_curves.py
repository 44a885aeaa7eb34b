"""Figures of what binarization costs as training goes on, on the validation images."""

from __future__ import annotations

from pipeline import labels
from pipeline.reporting import svg
from pipeline.reporting.figures import CURVE_WIDTH, Panel
from pipeline.reporting.results import Zoo
from pipeline.zoo.catalogue import PublishedNetwork, compared_pairs


def gap_curves(zoo: Zoo) -> list[Panel]:
    """Draw float minus binary over the iterations that both have made, a panel a network, a line a pair.

    An imported float network has no iterations: its binary one is compared with its final PSNR-Y.
    """
    lines: dict[str, dict[str, tuple[list[int], list[float]]]] = {}
    for real, binary in compared_pairs(zoo.models):
        title = labels.network(binary.model, binary.scale)
        lines.setdefault(title, {})[labels.variant(binary.variant) or "whole length"] = _gaps(zoo, real, binary)
    panels = []
    for number, (title, drawn) in enumerate(lines.items()):
        figure, axes = svg.curve_panel(CURVE_WIDTH, 225, "float minus binary, dB")
        axes.axhline(0, color=svg.MUTED, linewidth=1)
        for order, (iterations, gaps) in enumerate(drawn.values()):
            style = ("-", "--", ":", "-.")[order % 4]
            axes.plot(iterations, gaps, style, color=svg.BINARY, linewidth=1.9, marker="o", markersize=3)
        description = "; ".join(
            f"{name}: {labels.decibels(gaps[0])} after {iterations[0]:,} iterations, {labels.decibels(gaps[-1])} after "
            f"{iterations[-1]:,}"
            for name, (iterations, gaps) in drawn.items()
        )
        kinds = ("solid", "dashed", "dotted", "dash-dotted")
        legend = ", ".join(f"{name} {kinds[order % 4]}" for order, name in enumerate(drawn))
        heading = f"{title}: {legend}" if len(drawn) > 1 else title + (", imported" if "imported" in drawn else "")
        panels.append(Panel(heading, svg.inline(figure, f"gap-curve-{number}", f"{title}, gap. {description}.")))
    return panels


def _gaps(zoo: Zoo, real: PublishedNetwork, binary: PublishedNetwork) -> tuple[list[int], list[float]]:
    below = {point.iteration: point.psnr_y for point in zoo.histories[binary.name]}
    if real.imported:
        above = dict.fromkeys(below, real.training["psnr_y"])
    else:
        above = {point.iteration: point.psnr_y for point in zoo.histories[real.name]}
    both = [iteration for iteration in below if iteration in above]
    return both, [above[iteration] - below[iteration] for iteration in both]
