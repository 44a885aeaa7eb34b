"""Prepare a fetched data set at every scale: data/raw/<set> -> data/prepared/<set>."""

from __future__ import annotations

import argparse

from pipeline.data.preparation import prepare
from pipeline.runs import SCALES, prepared_folder, raw_folder
from stages.run import stage


def main() -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--set", required=True, help="name of the data set")
    args = parser.parse_args()
    prepare(raw_folder(args.set), prepared_folder(args.set), SCALES)


if __name__ == "__main__":
    with stage():
        main()
