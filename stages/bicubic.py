"""Evaluate bicubic upscaling on one test set."""

from __future__ import annotations

from pipeline.data.resize import imresize
from stages.arguments import Scale, SetName
from stages.run import stage
from stages.scores import write_scores


def main(name: SetName, scale: Scale) -> None:
    write_scores(f"bicubic-x{scale}", name, scale, {"bicubic": lambda image: imresize(image, scale)})


if __name__ == "__main__":
    stage(main)
