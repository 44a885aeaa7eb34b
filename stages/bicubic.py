"""Evaluate bicubic upscaling on one test set."""

from __future__ import annotations

import argparse

from pipeline.data.resize import imresize
from stages.arguments import add_scale, add_set
from stages.run import stage
from stages.scores import write_scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_set(parser)
    add_scale(parser)
    arguments = parser.parse_args()
    scale = arguments.scale
    write_scores(f"bicubic-x{scale}", arguments.set, scale, {"bicubic": lambda image: imresize(image, scale)})


if __name__ == "__main__":
    with stage():
        main()
