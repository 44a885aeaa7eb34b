"""Bring the README's table of verdicts and its picture up to date with the last report.

The table goes between two marks in README.md, and the record that it is made from into docs/verdicts.json; Chromium
takes the picture, of the report's first comparison.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline import labels
from pipeline.errors import InputError
from pipeline.files import atomic, write_json, write_text
from pipeline.params import load_params
from pipeline.program import run_program
from pipeline.reporting.render import verdicts
from pipeline.reporting.results import read_results

BEGIN, END = "<!-- verdicts: written by `make readme` -->", "<!-- end of verdicts -->"
RECORD, PICTURE = Path("docs", "verdicts.json"), Path("docs", "report.png")
PICTURED = ".comparison"  # CSS selector; the picture shows the first such element


def table(record: Mapping[str, Any]) -> str:
    """Return the verdicts of a record (see `verdict_record`) as a Markdown table with its conditions below."""
    lines = ["| the paper’s claim | measured | verdict |", "| --- | --- | --- |"]
    for claim in record["claims"]:
        verdict = f"**{claim['verdict']}**" + (f" by {claim['reach']}" if claim["reservations"] else "")
        lines.append(f"| {claim['title']} | {claim['headline']}: {claim['headline_label']} | {verdict} |")
    rules = [f"- **{claim['title']}.** {claim['rule']}" for claim in record["claims"]]
    reservations = [text for c in record["claims"] for text in c["reservations"]]
    machine = record["machine"]
    lines += [
        "",
        "The first row is for the published networks, whose cards say how each was trained. The others come from a run "
        f"with the profile `{record['profile']}`: sizes are those of the full networks at all scales, times those of "
        f"the full networks at {machine['scales']} on an LR image of {machine['lr_size']}, with {machine['threads']} "
        f"threads of {machine['cpu']}. Rules:",
        "",
        *rules,
        "",
        "Reservations:",
        "",
    ]
    return "\n".join([*lines, *(f"- {text}" for text in reservations)])


def verdict_record() -> dict[str, Any]:
    """Judge the published networks, and size and speed by the last run, as its report does.

    The run's own accuracy is left out: that of the quick profile's reduced networks is no verdict on the paper.

    Returns
    -------
    dict
        ``profile``, ``machine`` (``cpu``, ``commit``, ``threads``, ``scales`` and ``lr_size`` of what was timed), and
        ``claims``: for each
        ``key``, ``title``, ``verdict``, ``headline``, ``headline_label``, ``rule``, ``reach`` and ``reservations``.
    """
    params = load_params()
    results = read_results(Path(), params)
    fields = ("key", "title", "verdict", "headline", "headline_label", "rule", "reach", "reservations")
    claims = [
        {field: getattr(claim, field) for field in fields}
        for claim in verdicts(results, params)
        if claim.key != "accuracy"
    ]
    timed = next(iter(results.benchmarks.values()))
    machine = {
        "cpu": timed.environment["cpu"],
        "commit": timed.environment["commit"],
        "threads": timed.threads,
        "scales": labels.listing(list(dict.fromkeys(f"×{scale}" for _, scale in results.benchmarks))),
        "lr_size": "×".join(map(str, timed.lr_size)),
    }
    return {"profile": params.profile, "machine": machine, "claims": claims}


def with_table(readme: str, record: Mapping[str, Any]) -> str:
    """Return the README with the record's table between the marks.

    Raises
    ------
    InputError
        If it lacks one of the marks.
    """
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise InputError(f"README.md: {END if begin else BEGIN}: missing; restore it with git")
    return f"{before}{begin}\n{table(record)}\n{end}{after}"


def chromium() -> str | None:
    """Find Chromium, or a browser that is based on it, on this machine."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def take_picture(page: Path, picture: Path) -> None:
    """Photograph the first comparison of a report, in light colours, on a screen 1280 pixels wide.

    Raises
    ------
    InputError
        If the page, its comparison, Chromium or Playwright is missing.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise InputError("playwright: is not installed; run `make setup`") from None
    browser_path = chromium()
    if browser_path is None:
        raise InputError("chromium: not found; install it, as in: apt-get install chromium")
    if not page.is_file():
        raise InputError(f"{page}: missing; run `make repro`")
    with sync_playwright() as playwright, atomic(picture) as temporary:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        sheet = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme="light")
        sheet.goto(page.resolve().as_uri())
        first = sheet.locator(PICTURED).first
        if not first.count():
            raise InputError(f"{page}: has no comparison of pictures; run `make repro`")
        first.scroll_into_view_if_needed()
        sheet.wait_for_load_state("networkidle")
        temporary.write_bytes(first.screenshot())
        browser.close()


def main() -> None:
    readme, record = Path("README.md"), verdict_record()
    text = with_table(readme.read_text(encoding="utf-8"), record)
    take_picture(Path("reports", "index.html"), PICTURE)
    write_json(RECORD, record)
    write_text(readme, text)


if __name__ == "__main__":
    run_program(main)
