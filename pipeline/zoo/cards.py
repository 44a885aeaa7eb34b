"""The model cards and the README of the zoo, rendered from its index and results."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pipeline import labels
from pipeline.files import write_text
from pipeline.networks import NETWORKS
from pipeline.packed import read
from pipeline.zoo.catalogue import Model

NONE = "–"


def write_cards(
    zoo: Path, models: Sequence[Model], results: Mapping[str, Any], gaps: Sequence[Mapping[str, Any]]
) -> None:
    """Write a card for every network, and the zoo's README; `gaps` come from `pipeline.zoo.gaps.gap_table`."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # Markdown, with values of our own
        keep_trailing_newline=True,
    )
    for model in models:
        text = environment.get_template("card.md.j2").render(_card(zoo, model, results, gaps))
        write_text(zoo / f"{model.name}.md", text)
    sets = list(dict.fromkeys(name for method in results.values() for name in method["sets"]))
    text = environment.get_template("readme.md.j2").render(
        sets=sets,
        rows=_overview(models, results, sets),
        short=any(model.short for model in models),
        started=any(model.start for model in models),
        machines=[_machine(path) for path in sorted((zoo / "throughput").glob("*.json"))],
    )
    write_text(zoo / "README.md", text)


def _card(zoo: Path, model: Model, results: Mapping[str, Any], gaps: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    training, plan = model.training, model.training["plan"]
    rows = []
    for test_set, backends in results[model.name]["sets"].items():
        bicubic = results[f"bicubic-x{model.scale}"]["sets"][test_set]["bicubic"]
        for backend, scores in backends.items():
            rows.append(
                {
                    "set": test_set,
                    "backend": labels.backend(backend),
                    "psnr_y": labels.number(scores["psnr_y"], 2),
                    "psnr_rgb": labels.number(scores["psnr_rgb"], 2),
                    "ssim_y": labels.number(scores["ssim_y"], 4),
                    "gain": labels.number(scores["psnr_y"] - bicubic["psnr_y"], 2, signed=True),
                }
            )
    start = model.start
    return {
        "model": model,
        "network": labels.model(model.model),
        "training": training,
        "plan": plan,
        "settings": plan.get("settings", {}),
        "paper_iterations": NETWORKS[model.model].iterations,
        "rows": rows,
        "gaps": [gap for gap in gaps if gap["binary"] == model.name],
        "number": labels.number,
        "start": "fresh weights" if start is None else f"{start['name']} (SHA-256 `{start['sha256'][:16]}…`)",
        "dtype": read(zoo / model.file).float_type,
        "hours": "" if "cpu_seconds" not in training else labels.number(training["cpu_seconds"] / 3600, 2),
        "minutes": "" if "seconds" not in training else labels.number(training["seconds"] / 60, 1),
    }


def _overview(models: Sequence[Model], results: Mapping[str, Any], sets: Sequence[str]) -> list[dict[str, Any]]:
    rows = []
    for scale in sorted({model.scale for model in models}):
        bicubic = results[f"bicubic-x{scale}"]["sets"]
        rows.append(_overview_row(f"bicubic ×{scale}", bicubic, "bicubic", sets, link=False))
        for model in models:
            if model.scale == scale:
                row = _overview_row(model.name, results[model.name]["sets"], "torch", sets, link=True)
                trained = "imported" if model.iterations is None else f"{model.iterations:,}"
                row |= {"bytes": f"{model.bytes:,}", "iterations": ("+ " if model.start else "") + trained}
                rows.append(row | {"mark": " *" if model.short else ""})
    return rows


def _overview_row(name: str, means: Mapping[str, Any], backend: str, sets: Sequence[str], link: bool) -> dict[str, Any]:
    scores = [labels.number(means[s][backend]["psnr_y"], 2) if s in means else NONE for s in sets]
    return {"name": name, "scores": scores, "link": link, "bytes": NONE, "iterations": NONE, "mark": ""}


def _machine(path: Path) -> dict[str, Any]:
    """Give the table for a file that `pipeline.commands.training_speed` wrote."""
    measured = json.loads(path.read_text(encoding="utf-8"))
    rows = [
        {
            "model": labels.model(model),
            "name": row["name"],
            "crops": f"{row['batch']} of {row['patch']}×{row['patch']}",
            "time": labels.milliseconds(row["median_ms"]),
            "images": labels.number(row["images_per_second"], 1),
            "gflops": labels.number(row["gflops"], 0),
            "share": f"{100 * row['share_of_matrix_rate']:.0f} %",
            "speedup": f"{row['speedup']:.2f}",
        }
        for model, variants in measured["models"].items()
        for row in variants
    ]
    return {"file": path.name, "device": measured["device"], "scale": measured["scale"], "rows": rows}
