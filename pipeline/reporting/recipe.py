"""The report's section on the training settings: the search for them, and its curves of Muon and Adam."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline import labels
from pipeline.records import SearchTrial
from pipeline.reporting import svg
from pipeline.reporting.columns import level
from pipeline.reporting.figures import CURVE_WIDTH, Panel
from pipeline.reporting.results import WEIGHTS
from pipeline.tables import Column, Table, table

PILOT = ("edsr", 4)  # the network on which the optimizers are compared
OPTIMIZERS = {"muon": (svg.BINARY, "Muon"), "adam": (svg.FLOAT, "Adam")}


def trial_table(trials: Sequence[SearchTrial]) -> Table:
    """Return a row for each network and set of changes, the best of a length first; its best values are in bold."""
    groups: dict[tuple[str, int, str], dict[str, SearchTrial]] = {}
    best: dict[tuple[str, int, str], float] = {}
    for trial in trials:
        network, length = labels.network(trial.model, trial.scale), trial.iterations
        groups.setdefault((network, length, describe(trial.changes)), {})[trial.weights] = trial
        best[network, length, trial.weights] = max(trial.psnr_y, best.get((network, length, trial.weights), 0.0))
    networks = list(dict.fromkeys(network for network, *_ in groups))
    rows = []
    ranks = {
        key: (networks.index(key[0]), key[1], -max(trial.psnr_y for trial in group.values()))
        for key, group in groups.items()
    }
    for network, length, changed in sorted(groups, key=ranks.__getitem__):
        group = groups[network, length, changed]
        row: dict[str, Any] = {
            "network": network,
            "changed": changed,
            "iterations": f"{length:,}",
            "core_minutes": sum(trial.cpu_seconds for trial in group.values()) / len(group) / 60,
        }
        for weights, trial in group.items():
            row |= {
                weights: trial.psnr_y,
                f"{weights}.kind": "strong" if trial.psnr_y == best[network, length, weights] else "",
            }
        rows.append(row)
    columns = {
        "network": Column("network"),
        "changed": Column("what was changed"),
        "iterations": Column("iterations", css="n"),
        "float": level("float"),
        "binary": level("binary"),
        "core_minutes": level("core-minutes each", 1),
    }
    return table("search", "The search for the training settings", columns, rows)


def describe(changes: Mapping[str, Any]) -> str:
    """Return the changes in words, as `optimizer Muon, learning rate 0.001`."""
    parts = []
    for key, value in changes.items():
        if key == "optimizer":
            _, text = OPTIMIZERS[value]
        else:
            text = " ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, Mapping) else str(value)
        parts.append(f"{key.replace('_', ' ')} {text}")
    return ", ".join(parts) or "nothing"


def optimizer_panels(trials: Sequence[SearchTrial]) -> list[Panel]:
    """Draw the validation PSNR-Y of each optimizer at the best of its learning rates, float and binary."""
    panels = []
    for weights in WEIGHTS:
        figure, axes = svg.curve_panel(CURVE_WIDTH, 225, "validation PSNR-Y, dB")
        sentences = []
        for optimizer, (colour, name) in OPTIMIZERS.items():
            tried = [t for t in trials if (t.model, t.scale, t.weights) == (*PILOT, weights)]
            tried = [t for t in tried if set(t.changes) == {"optimizer", "learning_rate"}]
            tried = [t for t in tried if t.changes["optimizer"] == optimizer]
            if not tried:
                continue
            best = max(tried, key=lambda t: t.psnr_y)
            points = [(row["iteration"], row["psnr_y"]) for row in best.history]
            axes.plot(*zip(*points, strict=True), color=colour, linewidth=1.9, marker="o", markersize=4)
            rate = best.changes["learning_rate"]
            sentences.append(
                f"{name} at {rate:g} ends at {labels.decibels(best.psnr_y)}, the best of {len(tried)} rates"
            )
        if len(sentences) < len(OPTIMIZERS):
            return []
        title = f"{labels.network(best.model, best.scale)}, {weights}"
        panels.append(Panel(title, svg.inline(figure, f"optimizers-{weights}", f"{title}. {'; '.join(sentences)}.")))
    return panels
