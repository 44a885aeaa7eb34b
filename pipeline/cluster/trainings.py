"""The trainings of the zoo's queue as a graph: one starts from a float network, which is trained or imported before."""

from __future__ import annotations

import shlex
from pathlib import Path

from pipeline.cluster.placement import Need
from pipeline.errors import InputError
from pipeline.params import load_params
from pipeline.zoo.queue import Queue, load_queue


class TrainingGraph:
    """The trainings of a queue.

    Parameters
    ----------
    params, queue, zoo : Path
        As `python -m pipeline.zoo.train` takes them.

    Raises
    ------
    InputError
        If one of them cannot be read, or a training cannot be made with these params.
    """

    def __init__(self, params: Path, queue: Path, zoo: Path) -> None:
        self._arguments = ["--params", params, "--queue", queue, "--zoo", zoo]
        self._queue = Queue(load_queue(queue), load_params(params), zoo)
        self._queue.check()
        self._entries = {entry.name: entry for entry in self._queue.entries}
        self.root = str(Path.cwd())

    @property
    def names(self) -> list[str]:
        """The names of the trainings, each after the one that it starts from."""
        return sorted(self._entries, key=lambda name: len(self.dependencies(name)))

    def dependencies(self, name: str) -> list[str]:
        """Return the training that makes the network from which this one starts, if the queue has it."""
        start = self._entries[name].starts_from
        return [other.name for other in self._queue.entries if start in other.runs]

    def need(self, name: str) -> Need:
        """Return what a training asks for."""
        return "core" if self._entries[name].source else "training"

    def command(self, name: str, cores: int) -> str:
        """Return the command of one training, with a thread for each core of its worker."""
        words = ["python", "-m", "pipeline.zoo.train", *self._arguments, "--only", name, "--threads", cores]
        return shlex.join(map(str, words))

    def environment(self, name: str) -> dict[str, str]:
        """Return no variables beside the worker's own."""
        return {}

    def changed(self, name: str) -> bool:
        """Return whether its networks are not trained as planned."""
        return not self._queue.is_finished(self._entries[name])

    def restored(self, name: str) -> bool:
        """Return False: an earlier run leaves a checkpoint, from which the command itself goes on."""
        return False

    def record(self, name: str) -> None:
        """Check that its networks are there.

        Raises
        ------
        InputError
            If not.
        """
        if self.changed(name):
            raise InputError(f"{name}: ended without its networks")
