"""Fetch a data set into data/raw/<set>."""

from __future__ import annotations

from pipeline.data.download import fetch
from pipeline.data.registry import dataset
from pipeline.params import load_params
from pipeline.runs import raw_folder
from stages.arguments import SetName
from stages.run import stage


def main(name: SetName) -> None:
    fetch(dataset(name), raw_folder(name), load_params().data.mirror)


if __name__ == "__main__":
    stage(main)
