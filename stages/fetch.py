"""Fetch a data set into data/raw/<set>."""

from __future__ import annotations

import argparse

from pipeline.data.download import fetch
from pipeline.data.registry import dataset
from pipeline.params import load_params
from pipeline.runs import raw_folder
from stages.run import stage


def main() -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--set", required=True, help="name of the data set")
    args = parser.parse_args()
    fetch(dataset(args.set), raw_folder(args.set), load_params().data.mirror)


if __name__ == "__main__":
    with stage():
        main()
