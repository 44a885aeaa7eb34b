"""Search the training settings on the validation images: short trainings of conf/search.yaml, each with its changes.

Each call goes on where the last one stopped, and several calls at once take different trials. No test image is read.
"""

from __future__ import annotations

import os

os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # idle threads of PyTorch leave their cores to those of Numba sooner

import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import Field

from pipeline.data.ready import ready
from pipeline.errors import InputError
from pipeline.files import write_csv, write_json
from pipeline.params import Name, Params, Section, Training, changed_training, load_params
from pipeline.program import run_program
from pipeline.provenance import environment
from pipeline.reading import checked, read_json, read_yaml
from pipeline.records import SearchTrial
from pipeline.runs import Model, Scale, Weights
from pipeline.threads import set_threads
from pipeline.training.distributed import this_process
from pipeline.training.run import Plan, train_planned
from pipeline.zoo.locks import claimed

TRIALS = Path("conf", "search.yaml")
RECORDS = Path("zoo", "search")


class Trial(Section):
    """One short training: a network of the profile, and the changes to its settings."""

    model: Model
    scale: Scale
    weights: Weights
    changes: dict[str, Any]

    @property
    def name(self) -> str:
        parts = [f"{self.model}-x{self.scale}-{self.weights}"]
        parts += [f"{key}-{'-'.join(map(str, _leaves(value)))}" for key, value in self.changes.items()]
        return "-".join(parts)


class Search(Section):
    """The trials, the profile that they are for, and the settings that all of them share in place of the profile's."""

    profile: Name
    shared: dict[str, Any]
    trials: Annotated[list[Trial], Field(min_length=1)]


def load_search(path: Path = TRIALS) -> Search:
    """Read the trials; an `InputError` names the field that is wrong."""
    return checked(Search, read_yaml(path, "correct or restore it"), path, "correct it there")


def settings_of(trial: Trial, search: Search, params: Params) -> Training:
    """Return the profile's settings as the search and the trial change them; an `InputError` names a wrong field."""
    where = f"{TRIALS}: {trial.name}"
    profile = params.training(trial.model).model_copy(update={"max_minutes": None})  # else slow machines train for less
    return changed_training(changed_training(profile, search.shared, where), trial.changes, where)


def run_trial(trial: Trial, search: Search, params: Params, records: Path) -> None:
    """Train, and write the trial's record with its curve."""
    settings = settings_of(trial, search, params)
    plan = Plan.of(params, trial.model, (trial.scale,), trial.weights, settings=settings)
    with tempfile.TemporaryDirectory() as folder, this_process() as process:
        trained = train_planned(plan, Path(folder), process)
    assert trained.record is not None
    about = {key: getattr(trained.record, key) for key in _RECORDED}
    record = SearchTrial(**trial.model_dump(), **about, history=trained.history, environment=environment())
    write_json(records / f"{trial.name}.json", asdict(record))


def write_table(search: Search, params: Params, records: Path, path: Path) -> None:
    """Write the finished trials as one table, in their order."""
    rows = []
    for trial in search.trials:
        if (record := records / f"{trial.name}.json").exists():
            result = read_json(record, SearchTrial, "delete it and search again")
            settings = settings_of(trial, search, params)
            rows.append(
                {
                    "network": f"{trial.model}-x{trial.scale}-{trial.weights}",
                    "optimizer": settings.optimizer,
                    "learning_rate": settings.learning_rate,
                    "changes": json.dumps({k: v for k, v in trial.changes.items() if k not in _COLUMNS}),
                    "iterations": result.iterations,
                    "crops": f"{settings.batch} of {settings.patch.lr_size(trial.scale)}",
                    "psnr_y": round(result.psnr_y, 4),
                    "cpu_seconds": result.cpu_seconds,
                }
            )
    if rows:
        write_csv(path, rows)


_COLUMNS = ("optimizer", "learning_rate", "iterations")


_RECORDED = ("iterations", "psnr_y", "cpu_seconds", "seed", "device", "threads")


def _leaves(value: Any) -> list[Any]:
    return [leaf for each in value.values() for leaf in _leaves(each)] if isinstance(value, dict) else [value]


def main(
    params_file: Annotated[
        Path, typer.Option("--params", help="A whole params file, as python -m pipeline.profiles writes it.")
    ] = Path("zoo", "cpu.yaml"),
    threads: Annotated[int | None, typer.Option(help="Threads of each training. Default: PyTorch's.")] = None,
) -> None:
    if threads is not None and threads <= 0:
        raise InputError(f"--threads: {threads}; choose a positive number")
    search, params = load_search(), load_params(params_file)
    if params.profile != search.profile:
        raise InputError(
            f"{params_file}: is of the profile {params.profile}, and {TRIALS} searches the settings of "
            f"{search.profile}; run: python -m pipeline.profiles {search.profile} {Path('zoo', search.profile)}.yaml"
        )
    for trial in search.trials:
        settings_of(trial, search, params)  # names a wrong field before hours of training
    for name in (params.data.train, params.data.validation):
        ready(name, params.data.mirror)
    if threads is not None:
        set_threads(threads)
    failed = []
    for trial in search.trials:
        with claimed(RECORDS / f".{trial.name}.lock") as acquired:
            if acquired and not (RECORDS / f"{trial.name}.json").exists():
                print(trial.name, flush=True)
                try:
                    run_trial(trial, search, params, RECORDS)
                except InputError as error:  # such as of a rate at which training diverges
                    failed.append(f"{trial.name}: {error}")
    write_table(search, params, RECORDS, Path("zoo", "search.csv"))
    if failed:
        raise InputError("; ".join(failed))


if __name__ == "__main__":
    run_program(main)
