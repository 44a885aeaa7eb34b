"""Prepare a fetched data set at every scale: data/raw/<set> -> data/prepared/<set>."""

from __future__ import annotations

from pipeline.data.preparation import prepare
from pipeline.runs import SCALES, prepared_folder, raw_folder
from stages.arguments import SetName
from stages.run import stage


def main(name: SetName) -> None:
    prepare(raw_folder(name), prepared_folder(name), SCALES)


if __name__ == "__main__":
    stage(main)
