"""Render reports/index.html from everything the other stages measured."""

from __future__ import annotations

from pathlib import Path

from pipeline.params import load_params
from pipeline.program import run_program
from pipeline.provenance import environment
from pipeline.reporting.render import write_report
from pipeline.reporting.results import read_results


def main() -> None:
    """Read params.yaml and the result files; write the report."""
    params = load_params()
    results = read_results(Path(), params)
    text = Path("params.yaml").read_text(encoding="utf-8")
    page = write_report(results, params, text, environment(), Path("reports/templates"), Path("reports"))
    print(f"report: {page}")


if __name__ == "__main__":
    run_program(main)
