"""Prepare a fetched data set: data/raw/<set> -> data/prepared/<set>."""

from __future__ import annotations

import argparse

from pipeline.data.preparation import prepare
from pipeline.errors import one_line_errors
from pipeline.params import load_params
from pipeline.runs import prepared_folder, raw_folder


def main() -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--set", required=True, help="name of the data set")
    args = parser.parse_args()
    prepare(raw_folder(args.set), prepared_folder(args.set), load_params().matrix.scales)


if __name__ == "__main__":
    with one_line_errors():
        main()
