"""Evaluate bicubic upscaling on one test set, and keep the LR and HR images beside it for the report."""

from __future__ import annotations

import argparse

from pipeline.data.prepared import PreparedSet
from pipeline.data.resize import imresize
from pipeline.errors import one_line_errors
from pipeline.params import load_params
from pipeline.runs import prepared_folder
from stages.arguments import add_scale, add_set
from stages.scores import keep_image, write_scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_set(parser)
    add_scale(parser)
    arguments = parser.parse_args()
    params = load_params()
    scale = arguments.scale
    write_scores(
        f"bicubic-x{scale}",
        arguments.set,
        scale,
        {"bicubic": lambda image: imresize(image, scale)},
        params.evaluate.kept_images,
    )
    images = PreparedSet.open(prepared_folder(arguments.set))
    for index in range(min(params.evaluate.kept_images, len(images))):
        keep_image(arguments.set, f"lr-x{scale}", images.names[index], images.lr(index, scale))
        keep_image(arguments.set, f"hr-x{scale}", images.names[index], images.hr(index, scale))


if __name__ == "__main__":
    with one_line_errors():
        main()
