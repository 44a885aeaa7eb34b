"""Figures of what binarization costs as training goes on, on the validation images."""

from __future__ import annotations

from statistics import fmean

from pipeline import labels
from pipeline.reporting import svg
from pipeline.reporting.figures import CURVE_WIDTH, Panel
from pipeline.reporting.results import Zoo
from pipeline.zoo.catalogue import PublishedNetwork, compared_pairs

STYLES = {"-": "solid", "--": "dashed", ":": "dotted", "-.": "dash-dotted", (0, (9, 3)): "in long dashes"}


def gap_curves(zoo: Zoo) -> list[Panel]:
    """Draw float minus binary over the iterations that both have made, a panel a network, a line a pair.

    One network trained for several scales has one panel: its validation is the mean over them.
    """
    lines: dict[str, dict[str, tuple[list[int], list[float]]]] = {}
    for real, binary in compared_pairs(zoo.models):
        scales = labels.listing([f"×{scale}" for scale in binary.training["scales"]])
        drawn = lines.setdefault(f"{labels.model(binary.model)} {scales}", {})
        drawn.setdefault(labels.variant(binary.variant) or "whole length", _gaps(zoo, real, binary))
    panels = []
    for number, (title, drawn) in enumerate(lines.items()):
        figure, axes = svg.curve_panel(CURVE_WIDTH, 225, "float minus binary, dB")
        axes.axhline(0, color=svg.MUTED, linewidth=1)
        for order, (iterations, gaps) in enumerate(drawn.values()):
            style = list(STYLES)[order % len(STYLES)]
            axes.plot(iterations, gaps, linestyle=style, color=svg.BINARY, linewidth=1.9, marker="o", markersize=3)
        description = "; ".join(
            f"{name}: {labels.decibels(gaps[0])} after {iterations[0]:,} iterations, {labels.decibels(gaps[-1])} after "
            f"{iterations[-1]:,}"
            for name, (iterations, gaps) in drawn.items()
        )
        kinds = list(STYLES.values())
        legend = ", ".join(f"{name} {kinds[order % len(kinds)]}" for order, name in enumerate(drawn))
        heading = f"{title}: {legend}" if len(drawn) > 1 else title + (", imported" if "imported" in drawn else "")
        panels.append(Panel(heading, svg.inline(figure, f"gap-curve-{number}", f"{title}, gap. {description}.")))
    return panels


def _gaps(zoo: Zoo, real: PublishedNetwork, binary: PublishedNetwork) -> tuple[list[int], list[float]]:
    below = {point.iteration: point.psnr_y for point in zoo.histories[binary.name]}
    above = (
        dict.fromkeys(below, _final(zoo, binary))
        if real.imported
        else {point.iteration: point.psnr_y for point in zoo.histories[real.name]}
    )
    both = [iteration for iteration in below if iteration in above]
    return both, [above[iteration] - below[iteration] for iteration in both]


def _final(zoo: Zoo, binary: PublishedNetwork) -> float:
    """Return the mean PSNR-Y of the imported float networks at the scales that the binary one was trained for."""
    imported = [model for model in zoo.models if model.imported and model.model == binary.model]
    return fmean(model.training["psnr_y"] for model in imported if model.scale in binary.training["scales"])
