"""The stages of the pipeline and what has changed, by DVC itself; and the record of what was run, in dvc.lock."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import chdir, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dvc.dvcfile import PROJECT_FILE
from dvc.env import DVC_ROOT, DVC_STAGE
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.repo.reproduce import collect_stages, get_active_graph, plan_repro
from dvc.stage.cache import RunCacheNotFoundError

from pipeline.cluster.placement import NEEDS, Need
from pipeline.errors import InputError
from pipeline.params import Params, load_params
from pipeline.profiles import compose


class StageGraph:
    """The stages that ``dvc repro`` would look at, in an order in which they can run.

    Made by `opened`, which holds DVC's lock: there is one writer of dvc.lock.
    """

    def __init__(self, repo: Any, targets: Sequence[str]) -> None:
        graph = get_active_graph(repo.index.graph)
        self._repo = repo
        chosen = collect_stages(repo, targets or [PROJECT_FILE])
        self._stages = {stage.addressing: stage for stage in plan_repro(graph, chosen)}
        self._upstream = {name: list(graph.successors(stage)) for name, stage in self._stages.items()}
        self.root: str = repo.root_dir
        for name in self._stages:
            self.need(name)  # names a wrong one before anything runs

    @property
    def names(self) -> list[str]:
        """The names of the stages, each after those that it depends on."""
        return list(self._stages)

    def dependencies(self, name: str) -> list[str]:
        """Return the stages whose outputs a stage reads."""
        return [stage.addressing for stage in self._upstream[name]]

    def need(self, name: str) -> Need:
        """Return what a stage asks for: ``meta`` in dvc.yaml, by default a core."""
        need = self._stages[name].meta or "core"
        if need not in NEEDS:
            raise InputError(f"dvc.yaml: stages: {name}: meta: {need!r} is unknown; choose from {', '.join(NEEDS)}")
        return need

    def command(self, name: str, cores: int) -> str:
        """Return a stage's command, whatever the worker's cores."""
        return self._stages[name].cmd

    def environment(self, name: str) -> dict[str, str]:
        """Return the variables that DVC sets for a stage's command."""
        return {DVC_ROOT: self.root, DVC_STAGE: name}

    def changed(self, name: str) -> bool:
        """Return whether a stage must run; ask once those that it depends on are recorded."""
        return self._stages[name].changed(False, self._upstream[name])

    def restored(self, name: str) -> bool:
        """Make a stage ready to run, or restore its outputs from DVC's cache of runs and return True.

        Raises
        ------
        InputError
            If a dependency is missing.
        """
        stage = self._stages[name]
        if missing := [str(dependency) for dependency in stage.deps if not dependency.exists]:
            raise InputError(f"{name}: {missing[0]}: missing; restore it, or run the stage that makes it")
        stage.remove_outs(ignore_remove=False, force=False)
        try:
            self._repo.stage_cache.restore(stage)
        except RunCacheNotFoundError:
            try:
                stage.save_deps()
            except DvcException as error:
                raise InputError(f"{name}: {error}") from error
            return False
        self.record(name)
        return True

    def record(self, name: str) -> None:
        """Record a stage's dependencies and outputs as ``dvc repro`` does.

        Raises
        ------
        InputError
            If an output is missing.
        """
        stage = self._stages[name]
        uncached = any(not out.use_cache for out in stage.outs if not (out.is_metric or out.is_plot))
        try:
            stage.save(run_cache=not uncached)
            stage.commit()
            stage.dump(update_pipeline=False)
        except DvcException as error:
            raise InputError(f"{name}: {error}") from error


@contextmanager
def opened(targets: Sequence[str] = ()) -> Iterator[StageGraph]:
    """Open the pipeline of the repository in the current folder, and hold its lock.

    Raises
    ------
    InputError
        If there is no pipeline, no such stage, or another DVC process holds the lock.
    """
    logging.getLogger("dvc").setLevel(logging.WARNING)  # the coordinator says itself what it does
    try:
        with Repo() as repo, repo.lock, repo.scm_context(quiet=True):
            yield StageGraph(repo, targets)
    except DvcException as error:
        raise InputError(f"dvc: {' '.join(str(error).split())}") from error


@contextmanager
def profile_graph(profile: str) -> Iterator[tuple[StageGraph, Params]]:
    """Yield the stages that the pipeline would have with a profile of conf/, and its params; nothing is run.

    Raises
    ------
    InputError
        If there is no such profile.
    """
    with TemporaryDirectory(prefix="binsr-") as folder:
        params = Path(folder, "params.yaml")
        compose(profile, params)
        shutil.copy2(PROJECT_FILE, folder)
        Repo.init(folder, no_scm=True).close()
        with chdir(folder), opened() as graph:  # DVC names stages from the current folder
            yield graph, load_params(params)
