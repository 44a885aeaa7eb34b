"""The report's section on the training settings: the search for them, and its curves of Muon and Adam."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline import labels
from pipeline.reporting import svg
from pipeline.reporting.figures import CURVE_WIDTH, Panel
from pipeline.reporting.results import SearchTrial

OPTIMIZERS = {"muon": (svg.BINARY, "Muon"), "adam": (svg.FLOAT, "Adam")}


@dataclass(frozen=True)
class TrialRow:
    """What was changed, and what the float and the binary network reached with it, as text."""

    changed: str
    iterations: str
    levels: dict[str, str]
    core_minutes: str
    best: set[str]  # of the weights for which nothing was better


def trial_rows(trials: Sequence[SearchTrial]) -> list[TrialRow]:
    """Return a row for each set of changes, the best for the float network first."""
    groups: dict[str, dict[str, SearchTrial]] = {}
    for trial in trials:
        groups.setdefault(describe(trial.changes), {})[trial.weights] = trial
    top = {weights: max((t.psnr_y for t in trials if t.weights == weights), default=0) for weights in OUTPUTS}
    rows = []
    for changed, held in groups.items():
        cost = sum(trial.cpu_seconds for trial in held.values()) / len(held) / 60
        rows.append(
            (
                max(trial.psnr_y for trial in held.values()),
                TrialRow(
                    changed,
                    labels.listing(sorted({f"{trial.iterations:,}" for trial in held.values()})),
                    {w: labels.number(held[w].psnr_y, 2) if w in held else "–" for w in OUTPUTS},
                    labels.number(cost, 1),
                    {w for w in held if held[w].psnr_y == top[w]},
                ),
            )
        )
    return [row for _, row in sorted(rows, key=lambda pair: -pair[0])]


OUTPUTS = ("float", "binary")


def describe(changes: Mapping[str, Any]) -> str:
    """Say the changes, as `optimizer muon, learning rate 0.001`."""
    parts = []
    for key, value in changes.items():
        said = " ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, Mapping) else str(value)
        parts.append(f"{key.replace('_', ' ')} {said}")
    return ", ".join(parts) or "nothing"


def optimizer_panels(trials: Sequence[SearchTrial]) -> list[Panel]:
    """Draw the validation PSNR-Y of each optimizer at the best of its learning rates, float and binary."""
    panels = []
    for weights in OUTPUTS:
        figure, axes = svg.curve_panel(CURVE_WIDTH, 225, "validation PSNR-Y, dB")
        said = []
        for optimizer, (colour, name) in OPTIMIZERS.items():
            mine = [t for t in trials if t.weights == weights and set(t.changes) == {"optimizer", "learning_rate"}]
            mine = [t for t in mine if t.changes["optimizer"] == optimizer]
            if not mine:
                continue
            best = max(mine, key=lambda t: t.psnr_y)
            points = [(row["iteration"], row["psnr_y"]) for row in best.history]
            axes.plot(*zip(*points, strict=True), color=colour, linewidth=1.9, marker="o", markersize=4)
            rate = best.changes["learning_rate"]
            said.append(f"{name} at {rate:g} ends at {labels.decibels(best.psnr_y)}, the best of {len(mine)} rates")
        if len(said) < len(OPTIMIZERS):
            return []
        title = f"{labels.network(best.model, best.scale)}, {weights}"
        panels.append(Panel(title, svg.inline(figure, f"optimizers-{weights}", f"{title}. {'; '.join(said)}.")))
    return panels
