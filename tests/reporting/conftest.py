"""The report in a real browser, which is driven by Playwright and finds the machine's Chromium."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

import pytest
from playwright.sync_api import Browser, Page, Request, sync_playwright

from pipeline.commands.readme import chromium

CHROMIUM = chromium()
PATIENCE = 300_000  # milliseconds for an action: a busy machine takes its time
Scheme = Literal["light", "dark"]


class Opened:
    """A page in a browser, with what it complained of and what it asked for.

    Attributes
    ----------
    page : Page
    complaints : list of str
        Errors and warnings of the console, and exceptions that no script caught.
    loaded : list of str
        The files of the page's folder that it asked for, by their paths below it.
    strangers : list of str
        Every other address that it asked for, but for inline data.
    """

    def __init__(self, page: Page, path: Path) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.loaded: list[str] = []
        self.strangers: list[str] = []
        self._folder = path.parent
        page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.complaints.append(f"exception: {error}"))
        page.on("request", self._asked)
        page.goto(path.as_uri())

    def _asked(self, request: Request) -> None:
        address = urlsplit(request.url)
        path = Path(unquote(address.path))
        if address.scheme == "file" and path.is_relative_to(self._folder):
            self.loaded.append(path.relative_to(self._folder).as_posix())
        elif address.scheme != "data":
            self.strangers.append(request.url)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A running Chromium; tests that need it are skipped where there is none."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on PATH")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture
def opened(browser: Browser) -> Iterator[Callable[..., Opened]]:
    """Open a page: `opened(path, width=1280, scheme="light", scripts=True)`; it is closed after the test."""
    contexts = []

    def open_page(path: Path, width: int = 1280, scheme: Scheme = "light", scripts: bool = True) -> Opened:
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, java_script_enabled=scripts
        )
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        return Opened(context.new_page(), path)

    yield open_page
    for context in contexts:
        context.close()
