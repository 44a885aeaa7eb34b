"""`binsr upscale --scheduler`: images spread over the workers of a Dask cluster."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

from pipeline.cli.addresses import Place
from pipeline.cli.jobs import Job
from pipeline.cli.output import note
from pipeline.cli.upscale import UpscaleOptions, load_engine, upscale_file
from pipeline.errors import InputError
from pipeline.provenance import available_cores

try:
    from distributed import Future, Worker, WorkerPlugin, as_completed, get_worker

    from pipeline.cluster import clusters
except ImportError as error:
    raise InputError(f"--scheduler: {error}; run: pip install distributed") from error

AHEAD = 4  # images under way per core: enough to keep it busy, few enough for the scheduler's memory


class LoadedEngine(WorkerPlugin):
    """Loads a network once on each worker, those that come later too.

    Parameters
    ----------
    network : bytes
        The packed file.
    options : UpscaleOptions
    """

    def __init__(self, network: bytes, options: UpscaleOptions) -> None:
        self.name = f"binsr-{uuid4()}"
        self._network, self._options = network, options

    def setup(self, worker: Worker) -> None:
        threads = min(self._options.threads or worker.state.nthreads, available_cores())
        with TemporaryDirectory(prefix="binsr-") as folder:
            path = Path(folder, "network.safetensors")
            path.write_bytes(self._network)
            self.engine = load_engine(path, self._options, threads)


def upscaled(
    scheduler: str, jobs: Sequence[Job], network: Path, options: UpscaleOptions
) -> Generator[dict[str, Any], None, None]:
    """Run jobs on a cluster and yield the record of each (see `upscale_file`) as it ends.

    An image whose worker dies goes to another.

    Raises
    ------
    InputError
        If the scheduler cannot be reached, or is lost.
    """
    plugin = LoadedEngine(network.read_bytes(), options)
    with clusters.client(scheduler, None, None) as client:
        if not client.nthreads():
            note("waiting for workers")
        try:
            client.register_plugin(plugin)
        except ImportError as error:
            raise InputError(f"--scheduler: a worker has no binsr ({error}); install it there") from error
        waiting, running = iter(jobs), as_completed()
        under_way: dict[Future, Job] = {}

        def start() -> None:
            """Start as many jobs as keep the workers that are there now busy."""
            most = AHEAD * max(1, sum(client.nthreads().values()))
            for job in islice(waiting, max(0, most - len(under_way))):
                there = Job(_anywhere(job.input), _anywhere(job.output))
                future = client.submit(_run, there, options.overwrite, plugin.name, pure=False)
                under_way[future] = there
                running.add(future)

        try:
            start()
            for future in running:
                yield _record(future, under_way.pop(future))
                start()
        finally:
            with suppress(Exception):  # such as a scheduler that is lost
                client.unregister_worker_plugin(plugin.name)


def _anywhere(place: Place) -> Place:
    """Return a path that does not depend on the current folder."""
    return place.absolute() if isinstance(place, Path) else place


def _run(job: Job, overwrite: bool, plugin: str) -> dict[str, Any]:
    loaded = get_worker().plugins[plugin]
    assert isinstance(loaded, LoadedEngine)
    return upscale_file(job, loaded.engine, overwrite)


def _record(future: Future, job: Job) -> dict[str, Any]:
    try:
        return future.result()  # which a worker that has died since took with it: then this waits for another's
    except Exception as error:
        if future.status != "error":  # the image is not to blame
            raise
        reason = " ".join(str(error).split())  # as of a worker that dies again and again of one image
        about = {"input": str(job.input), "output": str(job.output)}
        return about | {"error": f"{job.input}: {reason}", "status": "failed"}
