"""Compose a profile of conf/ into a params file, as in `python -m pipeline.profiles quick params.yaml`."""

from __future__ import annotations

from pathlib import Path

from dvc.exceptions import DvcException
from dvc.utils.hydra import compose_and_dump
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from pipeline.errors import InputError
from pipeline.files import atomic
from pipeline.params import load_params
from pipeline.program import run_program

CONF = Path("conf")


def compose(profile: str, path: Path, conf: Path = CONF) -> None:
    """Write the resolved params of a profile, checked.

    Raises
    ------
    InputError
        If there is no such profile, or it is not valid.
    """
    known = sorted(file.stem for file in (conf / "profile").glob("*.yaml"))
    if profile not in known:
        raise InputError(f"{conf / 'profile'}: has no {profile}; choose from {', '.join(known)}")
    with atomic(path) as temporary:
        named = temporary.with_name(f"{temporary.name}.yaml")  # the suffix says the format
        try:
            compose_and_dump(named, str(conf.resolve()), None, "config", "", [f"profile={profile}"])
            load_params(named, conf / "profile" / f"{profile}.yaml")
            named.replace(temporary)
        except (DvcException, HydraException, OmegaConfBaseException, YAMLError) as error:
            reason = " ".join(str(error).split()) or " ".join(str(error.__cause__).split())
            raise InputError(f"{conf}: {profile} cannot be composed ({reason}); correct it there") from error
        finally:
            named.unlink(missing_ok=True)


def main(profile: str, path: Path) -> None:
    compose(profile, path)


if __name__ == "__main__":
    run_program(main)
