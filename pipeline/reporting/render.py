"""The report as one HTML page with its pictures beside it; it loads nothing from the internet."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from pipeline import labels
from pipeline.errors import writing
from pipeline.files import write_json, write_text
from pipeline.networks import NETWORKS
from pipeline.params import Params
from pipeline.reporting import (
    accuracy_tables,
    checklist,
    distributions,
    figures,
    gap_curves,
    pareto,
    provenance_tables,
    published_tables,
    ratio_tables,
    recipe,
    sizes,
    speed_figures,
    speed_tables,
)
from pipeline.reporting.accuracy_claim import accuracy_claim
from pipeline.reporting.comparisons import Pictures, gradient, make_pictures
from pipeline.reporting.published_claim import zoo_claim
from pipeline.reporting.results import Results
from pipeline.reporting.speed_claim import speed_claim
from pipeline.reporting.verdicts import Claim


def write_report(
    results: Results, params: Params, params_text: str, environment: Mapping[str, Any], templates: Path, folder: Path
) -> Path:
    """Write `index.html`, `assets/` and `claims.json` into `folder`, in place of earlier ones.

    Parameters
    ----------
    results : Results
        The results of the run.
    params : Params
        Its parameters.
    params_text : str
        The whole text of the parameter file, to be shown.
    environment : mapping
        Software, machine and commit, as `pipeline.provenance.environment` returns them.
    templates : Path
        The folder of the templates and the style sheet.
    folder : Path
        The folder of the report.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    InputError
        If a picture the report shows is missing or malformed, or the operating system does not write the files.
    """
    fresh = folder / ".fresh"
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        with writing(fresh):
            (fresh / "assets").mkdir(parents=True)
        judged = verdicts(results, params)
        pictures = make_pictures(results, fresh / "assets")
        write_text(fresh / "index.html", _page(results, params, params_text, environment, templates, pictures, judged))
        write_json(
            fresh / "claims.json", {claim.key: {"value": claim.value, "verdict": claim.verdict} for claim in judged}
        )
        shutil.rmtree(folder / "assets", ignore_errors=True)
        for name in ("assets", "index.html", "claims.json"):  # together, and last: this needs no room on the disk
            os.replace(fresh / name, folder / name)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return folder / "index.html"


def verdicts(results: Results, params: Params) -> list[Claim]:
    """Judge the paper's claims: its accuracy by the published networks, then all by this run."""
    limits = params.report.claims
    return [
        zoo_claim(results.zoo, limits.accuracy_gap_db, params.report.protocol),
        accuracy_claim(results, limits.accuracy_gap_db),
        sizes.size_claim(results, limits.size_reduction),
        speed_claim(results, limits.speedup, limits.speedup_loss_db),
    ]


def _page(
    results: Results,
    params: Params,
    params_text: str,
    environment: Mapping[str, Any],
    templates: Path,
    pictures: Pictures,
    judged: list[Claim],
) -> str:
    limits = params.report.claims.accuracy_gap_db
    points = pareto.pareto_points(results.zoo)
    return _environment(templates).get_template("index.html.j2").render(
        results=results,
        params=params,
        params_text=params_text,
        environment=environment,
        css=_joined(templates, "*.css"),
        scripts=_joined(templates, "*.js"),
        claims=judged,
        score_tables=published_tables.score_tables(results.zoo, limits),
        gap_table=published_tables.gap_table(results.zoo, limits),
        gap_curves=gap_curves.gap_curves(results.zoo),
        trial_table=recipe.trial_table(results.zoo.search),
        optimizer_panels=recipe.optimizer_panels(results.zoo.search),
        cost=checklist.cost(results.zoo.models),
        ablation_tables=published_tables.ablation_tables(results.zoo),
        quality_table=published_tables.quality_table(results.zoo),
        published_training=published_tables.training_table(results.zoo),
        zoo_distributions=distributions.zoo_distributions(results.zoo),
        zoo_training=figures.zoo_training_panels(results.zoo),
        pareto_panels=pareto.pareto_panels(points),
        pareto_table=pareto.pareto_table(points),
        pareto_marks=pareto.marks(points),
        pareto_sets=pareto.test_sets(results.zoo),
        run_tables=published_tables.run_tables(results.zoo),
        accuracy_panels=figures.accuracy_panels(results),
        distributions=distributions.run_distributions(results),
        accuracy_tables=accuracy_tables.accuracy_tables(results, limits),
        size_panels=figures.size_panels(results.footprint),
        footprint_table=sizes.size_table("size", "Size on disk", results.footprint),
        size_table=sizes.size_table("size-of-this-run", "Size on disk of the trained networks", results.exports),
        size_findings=sizes.size_findings(results.footprint, params.report.claims.size_reduction.replicated),
        time_panels=speed_figures.time_panels(results),
        ratio_panels=speed_figures.ratio_panels(results),
        kind_panels=speed_figures.kind_panels(results),
        scaling_panels=speed_figures.scaling_panels(results),
        ratio_table=ratio_tables.ratio_table(results.ratios),
        limit_table=speed_tables.limit_table(results),
        ceiling_table=speed_tables.ceiling_table(results),
        on_luma=[labels.model(model) for model in results.models if NETWORKS[model].on_luma],
        missing_backends=speed_tables.missing_backends(results),
        resource_table=speed_tables.resource_table(results),
        comparisons=speed_tables.comparisons(results),
        speed_tables=speed_tables.speed_tables(results),
        benchmark_csv=base64.b64encode(results.benchmark_csv.encode()).decode(),
        stage_table=provenance_tables.stage_table(results.seconds),
        training_table=provenance_tables.training_table(results.trainings),
        hash_table=provenance_tables.hash_table(results.prepared),
        training_panels=figures.training_panels(results),
        pictures=pictures,
        error_gradient=gradient(),
    )  # fmt: skip


def _joined(templates: Path, pattern: str) -> Markup:
    return Markup("\n".join(path.read_text(encoding="utf-8") for path in sorted(templates.glob(pattern))))


def _hash_source(script: str) -> str:
    """Return what allows an inline script in a Content-Security-Policy: only this text runs in the page."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"


def _code(text: str) -> Markup:
    """Return text in which words between backticks, as in the README, are marked as code."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def _environment(templates: Path) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(templates),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["labels"] = labels
    environment.filters["model_name"] = labels.model
    environment.filters["code"] = _code
    environment.filters["hash_source"] = _hash_source
    environment.filters["merged"] = lambda first, second: {**first, **second}
    return environment
