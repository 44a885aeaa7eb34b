"""Re-evaluate the published networks, with PyTorch and with the engine, and compare with the published results.

A verification that was interrupted goes on where it was, if the code is still the same.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.data.prepared import PreparedSet
from pipeline.data.ready import ready
from pipeline.errors import InputError, one_line_errors
from pipeline.zoo.catalogue import ZOO, Model, read_index, read_published
from pipeline.zoo.progress import Found, Progress
from pipeline.zoo.publish import TEST_SETS
from pipeline.zoo.scores import Means, bicubic_scores, mean_scores, model_scores

TOLERANCES = {"psnr_y": 0.01, "psnr_rgb": 0.01, "ssim_y": 0.0005}  # dB, dB, of 1


@dataclass(frozen=True)
class Comparison:
    """One backend of one method on one set: what was published and what was found."""

    method: str
    test_set: str
    backend: str
    published: Means
    found: Means

    @property
    def apart(self) -> list[str]:
        """The means that are not within `TOLERANCES`; one that is missing on one side only is not."""
        near = {key: _near(self.published.get(key), self.found.get(key), far) for key, far in TOLERANCES.items()}
        return [key for key, agrees in near.items() if not agrees]

    def __str__(self) -> str:
        found, published = (side.get("psnr_y", float("nan")) for side in (self.found, self.published))
        values = f"{found:8.4f}  published {published:8.4f}"
        verdict = f"DIFFERENT in {', '.join(self.apart)}" if self.apart else "equal"
        return f"{self.method:28} {self.test_set:10} {self.backend:16} PSNR-Y {values}  {verdict}"


def compare(
    zoo: Path, sets: list[str], only: list[str] | None, mirror: str | None, progress: Progress
) -> Iterator[Comparison]:
    """Evaluate and compare, network by network; `only` names some.

    Raises
    ------
    InputError
        If a network is unknown or its file is not the published one, or nothing was published for it on a set.
    """
    published = read_published(zoo)
    models = read_index(zoo)
    names = [model.name for model in models]
    if unknown := [name for name in only or [] if name not in names]:
        raise InputError(f"{zoo}: has no {unknown[0]}; it has {', '.join(names)}")
    chosen = [model for model in models if only is None or model.name in only]
    if not chosen:
        raise InputError(f"{zoo / 'index.json'}: lists no network; train and publish one")
    for model in chosen:
        if published.get(model.name, {}).get("sha256") != model.sha256:
            raise InputError(f"{zoo / 'results.json'}: {model.name}: its results are of another file; publish it again")
        model.path(zoo)  # is there, and the one that was published
    for test_set in sets:
        images = ready(test_set, mirror)
        for scale in sorted({model.scale for model in chosen}):
            method = f"bicubic-x{scale}"
            found = progress.get(f"{method} on {test_set}", _find_bicubic, images, scale)
            yield from _compared(zoo, method, test_set, published, found)
        for model in chosen:
            found = progress.get(f"{model.name} ({model.sha256}) on {test_set}", _find, model, images, zoo)
            yield from _compared(zoo, model.name, test_set, published, found)


def _find_bicubic(images: PreparedSet, scale: int) -> Found:
    return mean_scores({"bicubic": bicubic_scores(images, scale)})


def _find(model: Model, images: PreparedSet, zoo: Path) -> Found:
    return mean_scores(model_scores(model, images, zoo))


def _compared(
    zoo: Path, method: str, test_set: str, published: Mapping[str, dict], found: Mapping[str, Means]
) -> Iterator[Comparison]:
    held = published.get(method, {}).get("sets", {}).get(test_set)
    if held is None:
        raise InputError(f"{zoo / 'results.json'}: {method}: has no results on {test_set}; publish them")
    for backend in sorted(held.keys() | found.keys()):
        yield Comparison(method, test_set, backend, held.get(backend, {}), found.get(backend, {}))


def _near(one: float | None, other: float | None, far: float) -> bool:
    return one is other is None or (one is not None and other is not None and abs(one - other) <= far)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zoo", type=Path, default=ZOO, help="the zoo's folder (default: %(default)s)")
    parser.add_argument("--sets", nargs="+", default=TEST_SETS, help="test sets (default: the four standard ones)")
    parser.add_argument("--models", nargs="+", help="some networks instead of all")
    arguments = parser.parse_args()
    mirror, progress = os.environ.get("SR_MIRROR"), Progress(arguments.zoo / "unfinished" / ".verify.json")
    if progress.restored:
        print(f"kept from an interrupted verification: {progress.restored} networks and sets")
    compared = []
    for comparison in compare(arguments.zoo, arguments.sets, arguments.models, mirror, progress):
        compared.append(comparison)
        print(comparison, flush=True)
    progress.finish()
    different = sum(bool(comparison.apart) for comparison in compared)
    if different:
        print(f"error: {different} of {len(compared)} differ from {arguments.zoo / 'results.json'}", file=sys.stderr)
        sys.exit(1)
    print(f"all {len(compared)} equal: within {TOLERANCES['psnr_y']} dB and {TOLERANCES['ssim_y']} of SSIM")


if __name__ == "__main__":
    with one_line_errors():
        main()
