"""Keep the images of one test set where the published binary networks lose most and least, for the report."""

from __future__ import annotations

from pathlib import Path

from pipeline.data.folders import atomic_folder
from pipeline.data.prepared import PreparedSet
from pipeline.evaluation.gaps import image_gaps
from pipeline.evaluation.pictures import Pair, torch_scores, write_pictures
from pipeline.runs import prepared_folder
from pipeline.zoo.catalogue import measured_pairs, read_index
from stages.arguments import SetName
from stages.run import stage


def main(name: SetName) -> None:
    folder, scores = Path("results", "images", name, "zoo"), Path("results", "zoo", f"{name}.csv")
    by_scale: dict[int, list[Pair]] = {}
    for real, binary in measured_pairs(read_index()):
        lost = image_gaps(torch_scores(scores, real.name), torch_scores(scores, binary.name))
        by_scale.setdefault(real.scale, []).append(Pair(real.model, real.path(), binary.path(), lost))
    images = PreparedSet.open(prepared_folder(name))
    with atomic_folder(folder) as fresh:  # empty where no pair is published
        for scale, published in by_scale.items():
            write_pictures(fresh / f"x{scale}", images, scale, published)


if __name__ == "__main__":
    stage(main)
