"""A browser that visits the dashboard, and notes whatever a page should not do."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

from tests.server.web import WebServer, free_port

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
NO_BROWSER = "no Chromium on PATH: the dashboard was not tried in a browser"
QUIET = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
)
PATIENCE_MS = 60_000
expect.set_options(timeout=PATIENCE_MS)
WIDE = (1440, 900)
NARROW = (390, 844)


def find_chromium() -> str | None:
    """Return the browser's program, or None where there is none."""
    return next((found for name in PROGRAMS if (found := shutil.which(name))), None)


def is_left_out() -> bool:
    """Tell whether the tests in a browser are left out: without one, unless REQUIRE_BROWSER is set."""
    return find_chromium() is None and not os.environ.get("REQUIRE_BROWSER")


def chromium() -> str:
    """Return the browser's program; the test fails without one."""
    return find_chromium() or pytest.fail(NO_BROWSER)


@contextmanager
def started_browser() -> Iterator[Browser]:
    """Start a headless Chromium."""
    program = chromium()
    # Chromium refuses to run as root inside its sandbox.
    root = ("--no-sandbox",) if hasattr(os, "geteuid") and os.geteuid() == 0 else ()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=[*QUIET, *root])
        yield browser
        browser.close()


@contextmanager
def served(db: Path | str, *flags: str) -> Iterator[WebServer]:
    """Serve the dashboard of a store from a process of its own."""
    chromium()
    port = free_port()
    # By its name alone: pictures for the documentation show no folder of the machine they were taken on.
    command = [sys.executable, "-m", "mimir", "web", "--db", Path(db).name, "--port", str(port), *flags]
    server = WebServer(command, port, Path(db).parent)
    try:
        yield server
    finally:
        server.close()


class Serve(Protocol):
    """Serves a store until the test has ended."""

    def __call__(self, db: Path, *flags: str) -> WebServer: ...


class Visitor:
    """Opens pages of servers, each in a context of its own, and keeps what they did wrong."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._contexts: list[BrowserContext] = []
        self._own: set[str] = set()
        self._wrong: list[str] = []
        self.requests: list[str] = []
        self.expected: tuple[str, ...] = ()
        """Words of the errors that the test provokes."""

    def visit(
        self,
        server: WebServer,
        path: str = "/",
        *,
        size: tuple[int, int] = WIDE,
        **options: Any,  # noqa: ANN401 - those of Playwright
    ) -> Page:
        """Open a page of a server in a new context and wait until it has drawn itself."""
        self._own.add(f"127.0.0.1:{server.port}")
        options.setdefault("reduced_motion", "reduce")  # what moves could be looked at half-way
        context = self._browser.new_context(viewport={"width": size[0], "height": size[1]}, **options)
        context.set_default_timeout(PATIENCE_MS)
        context.on("request", lambda request: self._note(request.url))
        context.on("console", self._hear)
        context.on("weberror", lambda error: self._wrong.append(f"uncaught: {error.error}"))
        self._contexts.append(context)
        page = context.new_page()
        page.goto(server.url + path)
        settle(page)
        return page

    def check(self) -> None:
        """Close everything; nothing may have failed, violated the policy or left this machine."""
        for context in self._contexts:
            context.close()
        assert not self._wrong, "\n".join(self._wrong)

    def _note(self, url: str) -> None:
        self.requests.append(url)
        where = urlsplit(url)
        if where.netloc not in self._own and where.scheme not in ("data", "blob", "about"):
            self._wrong.append(f"asked a foreign host: {url}")

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not any(words in message.text for words in self.expected):
            self._wrong.append(f"{message.type}: {message.text} ({message.location.get('url', '')})")


def settle(page: Page) -> None:
    """Wait until nothing on the page is still being loaded."""
    expect(page.locator("main h1")).to_be_attached()
    expect(page.locator("[aria-busy=true]")).to_have_count(0)


def wait_until(page: Page, condition: str, value: object = None) -> None:
    """Wait until a function of the page holds for a value; Playwright's own way would need leave to evaluate text."""
    look = "const look = () => condition(value) ? done() : requestAnimationFrame(look); look();"
    page.evaluate(f"value => new Promise(done => {{ const condition = {condition}; {look} }})", value)
