"""The model cards and the README of the zoo, rendered from its index and results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pipeline import labels
from pipeline.default_mode import MOST_LOSS_DB
from pipeline.files import write_text
from pipeline.networks import NETWORKS
from pipeline.packed import read
from pipeline.reading import read_json
from pipeline.tables import Column, Table, table
from pipeline.zoo.catalogue import PublishedNetwork, PublishedScores

level = {digits: partial(labels.number, digits=digits) for digits in (1, 2, 4)}


def write_cards(
    zoo: Path,
    networks: Sequence[PublishedNetwork],
    results: Mapping[str, PublishedScores],
    gaps: Sequence[Mapping[str, Any]],
) -> None:
    """Write a card for every network, and the zoo's README; `gaps` come from `pipeline.zoo.gaps.gap_rows`."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # Markdown, with values of our own
        keep_trailing_newline=True,
    )
    for network in networks:
        text = environment.get_template("card.md.j2").render(_card(zoo, network, results, gaps))
        write_text(zoo / f"{network.name}.md", text)
    text = environment.get_template("readme.md.j2").render(
        overview=_overview(networks, results).markdown(),
        short=any(network.short for network in networks),
        started=any(network.start for network in networks),
        variants={network.variant for network in networks},
        machines=[_machine(path) for path in sorted((zoo / "throughput").glob("*.json"))],
    )
    write_text(zoo / "README.md", text)


def _card(
    zoo: Path,
    network: PublishedNetwork,
    results: Mapping[str, PublishedScores],
    gaps: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    training, plan, start = network.training, network.training["plan"], network.start
    packed = read(zoo / network.file)
    own = [gap for gap in gaps if gap["binary"] == network.name]
    return {
        "model": network,
        "network": labels.model(network.model),
        "training": training,
        "plan": plan,
        "settings": plan.get("settings", {}),
        "paper_iterations": NETWORKS[network.model].iterations,
        "scores": _scores(network, results).markdown(),
        "float": own[0]["float"] if own else None,
        "gaps": _gaps(own).markdown(),
        "start": "fresh weights" if start is None else f"{start['name']} (SHA-256 `{start['sha256'][:16]}…`)",
        "dtype": packed.float_type,
        "mode": packed.metadata.get("mode"),
        "most_loss": MOST_LOSS_DB,
        "hours": "" if "cpu_seconds" not in training else labels.number(training["cpu_seconds"] / 3600, 2),
        "minutes": "" if "seconds" not in training else labels.number(training["seconds"] / 60, 1),
    }


def _scores(network: PublishedNetwork, results: Mapping[str, PublishedScores]) -> Table:
    columns = {
        "set": Column("set"),
        "backend": Column("backend", labels.backend),
        "psnr_y": Column("PSNR-Y", level[2], "n"),
        "psnr_rgb": Column("PSNR-RGB", level[2], "n"),
        "ssim_y": Column("SSIM", level[4], "n"),
        "gain": Column("PSNR-Y gain over bicubic", partial(labels.number, digits=2, signed=True), "n"),
    }
    rows = []
    for test_set, backends in results[network.name].sets.items():
        bicubic = results[f"bicubic-x{network.scale}"].sets[test_set]["bicubic"].psnr_y
        for backend, quality in backends.items():
            row = {"set": test_set, "backend": backend, **vars(quality), "gain": quality.psnr_y - bicubic}
            rows.append(row)
    return table("scores", "Scores", columns, rows)


def _gaps(gaps: Sequence[Mapping[str, Any]]) -> Table:
    columns = {
        "set": Column("set"),
        "images": Column("images", css="n"),
        "gap": Column("gap, dB", level[2], "n"),
        "interval": Column("95 % interval"),
    }
    ends = [[labels.number(gap[end], 2) for end in ("low", "high") if gap[end] is not None] for gap in gaps]
    rows = [{**gap, "interval": " to ".join(pair)} for gap, pair in zip(gaps, ends, strict=True)]
    return table("gaps", "Gaps", columns, rows)


def _overview(networks: Sequence[PublishedNetwork], results: Mapping[str, PublishedScores]) -> Table:
    """Return the PSNR-Y of every network, run by PyTorch, below bicubic upscaling at its scale."""
    sets = list(dict.fromkeys(name for scores in results.values() for name in scores.sets))
    rows = []
    for scale in sorted({network.scale for network in networks}):
        bicubic = results[f"bicubic-x{scale}"].sets
        levels = {name: bicubic[name]["bicubic"].psnr_y for name in sets if name in bicubic}
        rows.append({"network": f"bicubic ×{scale}", **levels})
        for network in (network for network in networks if network.scale == scale):
            scores = results[network.name].sets
            row: dict[str, Any] = {
                "network": network.name,
                "network.link": f"{network.name}.md",
                "bytes": network.bytes,
            }
            row |= {
                "network.note": "*" if network.short else "",
                "iterations": ("+ " if network.start else "") + network.trained,
            }
            rows.append(row | {name: scores[name]["torch"].psnr_y for name in sets if name in scores})
    columns = {"network": Column("network"), "bytes": Column("bytes", "{:,}".format, "n")}
    columns |= {"iterations": Column("iterations", css="n"), **{name: Column(name, level[2], "n") for name in sets}}
    return table("overview", "Overview", columns, rows)


def _machine(path: Path) -> dict[str, Any]:
    """Return the table for a file that `pipeline.commands.training_speed` wrote."""
    measured = read_json(path, dict[str, Any], "measure it again by `python -m pipeline.training_speed`")
    columns = {
        "model": Column("network", labels.model),
        "name": Column("change"),
        "crops": Column("crops, LR pixels"),
        "median_ms": Column("time per iteration", labels.milliseconds, "n"),
        "images_per_second": Column("images/s", level[1], "n"),
        "gflops": Column("GFLOP/s", "{:.0f}".format, "n"),
        "share_of_matrix_rate": Column("share", lambda share: f"{100 * share:.0f} %", "n"),
        "speedup": Column("speed-up", level[2], "n"),
    }
    rows = [
        {"model": model, **row, "crops": f"{row['batch']} of {row['patch']}×{row['patch']}"}
        for model, variants in measured["models"].items()
        for row in variants
    ]
    rates = table("throughput", "Training speed", columns, rows).markdown()
    return {"file": path.name, "device": measured["device"], "scale": measured["scale"], "rates": rates}
