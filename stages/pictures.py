"""Keep the images of one test set where this run's binary networks lose most and least, for the report."""

from __future__ import annotations

from pathlib import Path

from pipeline.data.prepared import PreparedSet
from pipeline.evaluation.gaps import image_gaps
from pipeline.evaluation.pictures import Pair, Upscaled, torch_scores, write_pictures
from pipeline.params import load_params
from pipeline.runs import Run, prepared_folder
from stages.arguments import Scale, SetName
from stages.run import stage


def main(name: SetName, scale: Scale) -> None:
    scores = Path("results", "evaluate", name)
    pairs = []
    for model in load_params().matrix.models:
        real, binary = Run(model, scale, "float"), Run(model, scale, "binary")
        lost = image_gaps(torch_scores(scores / f"{real.name}.csv"), torch_scores(scores / f"{binary.name}.csv"))
        pairs.append(Pair(model, real.packed, binary.packed, lost))
    upscaled = Upscaled(PreparedSet.open(prepared_folder(name)), scale)
    write_pictures(Path("results", "images", name, f"x{scale}"), upscaled, pairs)


if __name__ == "__main__":
    stage(main)
