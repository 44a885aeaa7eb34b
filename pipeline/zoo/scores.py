"""Scoring the published networks on test sets, each on a processor core of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from filelock import FileLock

from pipeline.benchmark.exports import QUANTIZED
from pipeline.data.folders import atomic_folder
from pipeline.data.prepared import PreparedSet
from pipeline.data.resize import imresize
from pipeline.data.samples import lr_crops
from pipeline.engine.modes import MODES, modes_here
from pipeline.errors import InputError
from pipeline.evaluation.backends import upscalers
from pipeline.evaluation.protocol import evaluate, means
from pipeline.packing import load
from pipeline.provenance import available_cores
from pipeline.records import EXACT_MODES, INT8, Quality, Score
from pipeline.runs import prepared_folder
from pipeline.zoo.catalogue import FOR_USE, ZOO, PublishedNetwork
from pipeline.zoo.processes import one_thread_each
from pipeline.zoo.quantized import openvino_int8, quantize

BACKENDS = ("torch", *MODES, INT8)
CALIBRATION_CROP = 48  # side of the crops that set OpenVINO's ranges, LR pixels: as for the engine's
LARGEST_SET = "Urban100"  # with four fifths of the pixels of the four sets


def published_backends(network: PublishedNetwork, test_set: str) -> list[str]:
    """Return the backends in which a network is published on a test set.

    The engine runs a float network in float32 alone, and OpenVINO quantized to int8. A variant that serves to
    compare trainings is run by PyTorch alone. `EXACT_MODES` are left out on
    `LARGEST_SET`, where they would take most of the time: on every other set they are within 0.002 dB of PyTorch.
    """
    if network.variant not in FOR_USE:
        return ["torch"]
    names = ["torch", *MODES] if network.weights == "binary" else ["torch", "engine_float32", INT8]
    return [name for name in names if test_set != LARGEST_SET or name not in EXACT_MODES]


def backends_here(network: PublishedNetwork, test_set: str) -> list[str]:
    """Return those of `published_backends` that this processor can run, and OpenVINO if it is installed."""
    here = {"torch", *modes_here()}
    if find_spec("openvino") and find_spec("nncf"):
        here.add(INT8)
    return [name for name in published_backends(network, test_set) if name in here]


@dataclass(frozen=True)
class Task:
    """One method on one test set.

    Attributes
    ----------
    test_set : str
    scale : int
    network : PublishedNetwork or None
        None is bicubic upscaling.
    backends : tuple of str
        Some of `BACKENDS`; a network is scored by those in which it is published and that this processor can run.
    zoo : Path
    """

    test_set: str
    scale: int
    network: PublishedNetwork | None = None
    backends: tuple[str, ...] = BACKENDS
    zoo: Path = ZOO

    @property
    def method(self) -> str:
        """The name of the network, or ``bicubic-x<scale>``."""
        return f"bicubic-x{self.scale}" if self.network is None else self.network.name

    @property
    def sets(self) -> list[str]:
        """The image sets that must be prepared."""
        if self.network is None or INT8 not in self.backends:
            return [self.test_set]
        if INT8 not in published_backends(self.network, self.test_set):
            return [self.test_set]
        return [self.test_set, self.network.training["training_set"]]

    def scores(self) -> dict[str, list[Score]]:
        """Score every image by every backend."""
        images = PreparedSet.open(prepared_folder(self.test_set))
        if self.network is None:
            return {"bicubic": evaluate(lambda image: imresize(image, self.scale), images, self.scale)}
        path = self.network.path(self.zoo)
        upscale = upscalers(path, self.backends)
        published = [name for name in backends_here(self.network, self.test_set) if name in self.backends]
        if INT8 in published:
            quantized = _quantized(self.network, self.zoo)
            upscale[INT8] = openvino_int8(quantized, self.network.model, self.scale, threads=1)
        return {name: evaluate(upscale[name], images, self.scale) for name in published}


def quantized_folder(zoo: Path) -> Path:
    """Return the folder of the networks that were quantized for OpenVINO, for the tasks of all test sets."""
    return zoo / "unfinished" / "int8"


def _quantized(network: PublishedNetwork, zoo: Path) -> Path:
    """Quantize a network, which takes minutes, unless the task of another test set did."""
    folder = quantized_folder(zoo) / network.sha256
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            training_set = PreparedSet.open(prepared_folder(network.training["training_set"]))
            crops = lr_crops(training_set, network.scale, CALIBRATION_CROP, count=len(training_set), seed=0)
            with atomic_folder(folder) as temporary:
                quantize(load(network.path(zoo)), crops, temporary)
    return folder / QUANTIZED


def in_parallel(tasks: Sequence[Task]) -> Iterator[tuple[Task, dict[str, list[Score]]]]:
    """Run tasks, one per processor core at a time, and yield each with its scores as it ends."""
    pool = one_thread_each(max(1, min(available_cores(), len(tasks))))
    processes = pool._processes  # what the pool starts as tasks are submitted
    try:
        running = {pool.submit(task.scores): task for task in tasks}
        for done in as_completed(running):
            yield running[done], done.result()
    except BrokenProcessPool as error:
        raise InputError(
            "memory: a process that scored a network was killed, probably for lack of it; run fewer at once, as in "
            "`taskset -c 0,1 make verify`"
        ) from error
    finally:
        for process in list(processes.values()):
            process.terminate()
        pool.shutdown(cancel_futures=True)


def mean_scores(scores: Mapping[str, Sequence[Score]]) -> dict[str, Quality]:
    """Average the scores of each backend over a set."""
    return {backend: means(by_image) for backend, by_image in scores.items()}
