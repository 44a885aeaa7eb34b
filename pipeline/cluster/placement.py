"""Where a stage may run: what it asks for, and what the cluster's workers have left."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

Need = Literal["core", "training", "machine"]
NEEDS: tuple[Need, ...] = get_args(Need)


@dataclass(frozen=True)
class Worker:
    """A worker of the cluster.

    Attributes
    ----------
    address : str
    host : str
        Its machine; several workers may share one.
    cores : int
    gpus : float
        As the worker was started with ``--resources GPU=1``; 0 without.
    takes_tasks : bool
        Whether it starts what it is given; one that is paused, since it is near its limit of memory, does not.
    """

    address: str
    host: str
    cores: int
    gpus: float = 0.0
    takes_tasks: bool = True


ROUNDING = 1e-6  # of shares of a GPU, such as a third


def in_turn(stages: Iterable[str], need: Callable[[str], Need], ahead: Mapping[str, float]) -> list[str]:
    """Order stages that could start.

    First those with the longest chain of stages that wait for them (`pipeline.cluster.schedule.longest_chains`); those
    that measure time last, since they need a whole machine.
    """
    return sorted(stages, key=lambda stage: (need(stage) == "machine", -ahead.get(stage, 0.0)))


class Placement:
    """Places stages on workers, so that none gets more than it has.

    A stage that needs a *core* takes one. A *training* takes its share of a GPU and a core; on a worker without a GPU,
    all cores of it. A stage that measures time needs a *machine*: nothing else runs on any worker of that host.

    Parameters
    ----------
    gpus : float
        GPUs that a training takes: 1, less for small networks that share one.
    """

    def __init__(self, gpus: float = 1.0) -> None:
        self._gpus = gpus
        self._workers: dict[str, Worker] = {}
        self._placed: dict[str, tuple[Need, Worker]] = {}

    def update(self, workers: Iterable[Worker]) -> list[str]:
        """Take note of the workers that are there now; return the stages that were placed on one that is not."""
        self._workers = {worker.address: worker for worker in workers}
        return [stage for stage, (_, worker) in self._placed.items() if worker.address not in self._workers]

    def fits(self, need: Need) -> bool:
        """Return whether a stage could run if nothing else did."""
        return any(self._enough(need, worker, worker.cores, worker.gpus) for worker in self._workers.values())

    @property
    def empty(self) -> bool:
        """Whether there are no workers."""
        return not self._workers

    def place(self, stage: str, need: Need) -> Worker | None:
        """Take what a stage needs from a worker, the one with the most free cores; None if none has it now."""
        busy = {worker.host for _, worker in self._placed.values()}
        measuring = {worker.host for other, worker in self._placed.values() if other == "machine"}
        for worker in sorted(self._workers.values(), key=self._free_cores, reverse=True):
            if worker.host in (busy if need == "machine" else measuring):
                continue
            if self._enough(need, worker, self._free_cores(worker), self._free_gpus(worker)):
                self._placed[stage] = (need, worker)
                return worker
        return None

    def release(self, stage: str) -> Worker:
        """Give back what a stage took, and return the worker."""
        return self._placed.pop(stage)[1]

    def _enough(self, need: Need, worker: Worker, cores: int, gpus: float) -> bool:
        if need == "training":
            return (cores >= 1 and gpus >= self._gpus - ROUNDING) if worker.gpus else cores == worker.cores
        return cores >= 1

    def _on(self, worker: Worker) -> list[Need]:
        return [need for need, other in self._placed.values() if other.address == worker.address]

    def _free_cores(self, worker: Worker) -> int:
        taken = sum(worker.cores if need == "training" and not worker.gpus else 1 for need in self._on(worker))
        return worker.cores - taken

    def _free_gpus(self, worker: Worker) -> float:
        return worker.gpus - self._gpus * self._on(worker).count("training")
