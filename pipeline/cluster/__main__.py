"""`python -m pipeline.cluster`: the pipeline on a Dask cluster."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from pipeline.errors import InputError, one_line_errors
from pipeline.params import load_params
from pipeline.program import invoke
from pipeline.training.interruption import interruptible

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None, help=__doc__)


@app.callback()
def _program() -> None:
    """Keep `repro` a word of its own: Typer takes a lone command for the whole program."""


@app.command()
def repro(
    stages: Annotated[list[str] | None, typer.Argument(help="Stages, with what they depend on. Default: all.")] = None,
    scheduler: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Of a Dask scheduler that runs.")] = None,
    local: Annotated[int | None, typer.Option(min=1, metavar="N", help="Start N workers on this machine.")] = None,
    slurm: Annotated[Path | None, typer.Option(metavar="FILE", help="Start workers as SLURM jobs.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the script of a SLURM job.")] = False,
) -> int:
    """Run what has changed in the pipeline, as `dvc repro` does, on a cluster whose machines share this folder."""
    try:
        from pipeline.cluster import clusters
    except ImportError as error:
        raise InputError(f"{error.name}: is not installed; run: pip install '.[cluster]'") from error
    if dry_run:
        if slurm is None:
            raise InputError("--dry-run: shows the script of a SLURM job; give --slurm FILE")
        cluster, jobs = clusters.slurm_cluster(slurm)
        with cluster:
            print(f"# {jobs} of these:\n{cluster.job_script()}")
        return 0

    from pipeline.cluster.graph import opened
    from pipeline.cluster.repro import Coordinator

    params = load_params()
    with opened(stages or ()) as graph, clusters.client(scheduler, local, slurm) as client:
        print(f"dashboard: {client.dashboard_link}", flush=True)
        with interruptible() as interruption, tqdm(total=len(graph.names), unit="stage", disable=None) as bar:
            coordinator = Coordinator(graph, client, params.cluster.gpus_per_training, bar.write)
            outcome = coordinator.run(interruption, lambda outcome: bar.update(outcome.finished - bar.n))
    print(f"{len(outcome.ran)} stages ran, {len(outcome.unchanged)} had not changed")
    for name, reason in outcome.failed.items():
        print(f"error: {name}: {reason}", file=sys.stderr)
    if outcome.skipped:
        print(f"error: left out, since they depend on these: {', '.join(outcome.skipped)}", file=sys.stderr)
    if outcome.interrupted:
        return 130
    return 1 if outcome.failed else 0


def main() -> None:
    with one_line_errors():
        code = invoke(app, "python -m pipeline.cluster")
    sys.exit(code)


if __name__ == "__main__":
    main()
