"""`python -m pipeline.cluster`: the pipeline, the zoo's queue and the check of its scores on a Dask cluster.

Its machines share this folder. Name the cluster by one of --scheduler, --local and --slurm.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from tqdm import tqdm

from pipeline.errors import InputError, one_line_errors
from pipeline.params import load_params
from pipeline.program import invoke
from pipeline.training.interruption import interruptible

if TYPE_CHECKING:
    from distributed import Client

    from pipeline.cluster.coordinator import Graph

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None, help=__doc__)

Scheduler = Annotated[str | None, typer.Option(metavar="ADDRESS", help="Address of a running Dask scheduler.")]
Local = Annotated[int | None, typer.Option(min=1, metavar="N", help="Start N workers on this machine.")]
Slurm = Annotated[Path | None, typer.Option(metavar="FILE", help="Start workers as SLURM jobs.")]
Zoo = Annotated[Path, typer.Option(help="The zoo's folder.")]


@app.command()
def repro(
    stages: Annotated[list[str] | None, typer.Argument(help="Stages, with what they depend on. Default: all.")] = None,
    scheduler: Scheduler = None,
    local: Local = None,
    slurm: Slurm = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the script of a SLURM job.")] = False,
) -> int:
    """Run what has changed in the pipeline, as `dvc repro` does."""
    if dry_run:
        if slurm is None:
            raise InputError("--dry-run: shows the script of a SLURM job; give --slurm FILE")
        with _installed():
            from pipeline.cluster.clusters import slurm_cluster
        cluster, jobs = slurm_cluster(slurm)
        with cluster:
            print(f"# {jobs} of these:\n{cluster.job_script()}")
        return 0
    with _connected(scheduler, local, slurm) as client:
        from pipeline.cluster.estimate import estimate, measured_stages
        from pipeline.cluster.schedule import longest_chains
        from pipeline.cluster.stages import opened

        params = load_params()
        with opened(stages or ()) as graph:
            measured = measured_stages(graph, params)
            ahead = longest_chains(graph, estimate(graph, params, measured, 0.0)) if measured else {}
            return _coordinate(graph, client, params.cluster.gpus_per_training, "stage", ahead)


@app.command()
def train(
    params: Annotated[Path, typer.Option(help="A whole params file, as python -m pipeline.profiles writes it.")] = Path(
        "zoo", "cpu.yaml"
    ),
    queue: Annotated[Path, typer.Option(help="What to train.")] = Path("conf", "queue.yaml"),
    zoo: Zoo = Path("zoo"),
    minutes: Annotated[float | None, typer.Option(min=0.001, help="Stop cleanly after this time.")] = None,
    scheduler: Scheduler = None,
    local: Local = None,
    slurm: Slurm = None,
) -> int:
    """Train the networks of the zoo's queue, each once the one that it starts from is there."""
    from pipeline.cluster.trainings import TrainingGraph
    from pipeline.data.ready import ready

    graph, settings = TrainingGraph(params, queue, zoo), load_params(params)
    for name in (settings.data.train, settings.data.validation):  # once, before the trainings look for them
        ready(name, settings.data.mirror)
    with _connected(scheduler, local, slurm) as client:
        return _coordinate(graph, client, settings.cluster.gpus_per_training, "training", {}, minutes)


@app.command()
def verify(
    sets: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="As for pipeline.zoo.verify; repeat it for several.")
    ] = None,
    models: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="As for pipeline.zoo.verify; repeat it for several.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="As for pipeline.zoo.verify.")] = False,
    zoo: Zoo = Path("zoo"),
    scheduler: Scheduler = None,
    local: Local = None,
    slurm: Slurm = None,
) -> int:
    """Re-evaluate the published networks, and compare with the published scores."""
    with _connected(scheduler, local, slurm) as client:
        from pipeline.cluster.scoring import modes_on, on_cluster
        from pipeline.zoo.verify import verify as verify_zoo

        on_workers = partial(on_cluster, client), partial(modes_on, client)
        return verify_zoo(zoo, sets, models, everything, *on_workers)


@app.command()
def plan(
    profiles: Annotated[
        list[str] | None, typer.Option("--profile", metavar="NAME", help="Default: bsd, paper.")
    ] = None,
    workers: Annotated[
        list[int] | None,
        typer.Option(min=1, metavar="N", help="Machines with a worker each. Default: 1, 2, 4, 8, 16, 64."),
    ] = None,
    shared: Annotated[
        bool, typer.Option("--shared", help="Simulate workers that share this machine, as with repro --local.")
    ] = False,
    table: Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Write the table too.")] = None,
) -> None:
    """Simulate how long the whole pipeline takes on several machines.

    The stages take as long as those of the last run here, in proportion to their work, and trainings as long as those
    of the published networks took on the processors that trained them; downloads are taken to need no time. Nothing is
    run.
    """
    with _installed():
        from pipeline.cluster.plan import plan_profiles
    plan_profiles(profiles or ["bsd", "paper"], workers or [1, 2, 4, 8, 16, 64], shared, table)


def _coordinate(
    graph: Graph, client: Client, gpus: float, unit: str, ahead: Mapping[str, float], minutes: float | None = None
) -> int:
    """Run a graph with a progress bar, report what became of it, and return the exit code."""
    from pipeline.cluster.coordinator import Coordinator

    timed_out = threading.Event()
    with interruptible() as interruption, tqdm(total=len(graph.names), unit=unit, disable=None) as bar:
        if minutes is not None:

            def end() -> None:
                timed_out.set()
                interruption.asked = True

            timer = threading.Timer(60 * minutes, end)
            timer.daemon = True
            timer.start()
        outcome = Coordinator(graph, client, gpus, bar.write, ahead).run(
            interruption, lambda o: bar.update(o.finished - bar.n)
        )
    print(f"{unit}s run: {len(outcome.ran)}; already up to date: {len(outcome.unchanged)}")
    if outcome.stopped:
        print(f"stopped: {', '.join(outcome.stopped)}; run the same command again to resume")
    for name, reason in outcome.failed.items():
        print(f"error: {name}: {reason}", file=sys.stderr)
    if outcome.skipped:
        print(f"error: left out, since they depend on these: {', '.join(outcome.skipped)}", file=sys.stderr)
    if outcome.failed:
        return 1
    return 130 if outcome.interrupted and not timed_out.is_set() else 0


@contextmanager
def _installed() -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise InputError(f"{error.name}: is not installed; run: pip install '.[cluster]'") from error


@contextmanager
def _connected(scheduler: str | None, local: int | None, slurm: Path | None) -> Iterator[Client]:
    with _installed():
        from pipeline.cluster import clusters
    with clusters.client(scheduler, local, slurm) as client:
        print(f"dashboard: {client.dashboard_link}", flush=True)
        yield client


def main() -> None:
    with one_line_errors():
        code = invoke(app, "python -m pipeline.cluster")
    sys.exit(code)


if __name__ == "__main__":
    main()
