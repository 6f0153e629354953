"""Fixtures: one browser and one sample store for each module, and a visitor who finds fault at the end of each test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.server.web import WebServer
from tests.web.browser.samples import write_sample
from tests.web.browser.visiting import NO_BROWSER, Serve, Visitor, chromium, is_left_out, served, started_browser

# Where there is no browser these tests are left out, and one line says so, rather than one for each.
collect_ignore_glob = ["test_*.py"] if is_left_out() else []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if is_left_out():
        terminalreporter.write_line(f"SKIPPED tests/web/browser: {NO_BROWSER}")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    # Not for the whole session: while it runs, no other test could start an event loop in this thread.
    with started_browser() as browser:
        yield browser


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store as a few months of work leave it; tests use copies."""
    chromium()
    path = tmp_path_factory.mktemp("sample") / "memory.db"
    write_sample(path)
    return path


@pytest.fixture(scope="module")
def shown(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    """Return a server whose store the tests of a module only read."""
    path = tmp_path_factory.mktemp("shown") / "memory.db"
    shutil.copy(sample, path)
    with served(path) as server:
        yield server


@pytest.fixture
def copy(sample: Path, tmp_path: Path) -> Path:
    """Return a store of the test's own."""
    path = tmp_path / "memory.db"
    shutil.copy(sample, path)
    return path


@pytest.fixture
def serve() -> Iterator[Serve]:
    with ExitStack() as servers:
        yield lambda db, *flags: servers.enter_context(served(db, *flags))


@pytest.fixture
def edited(serve: Serve, copy: Path) -> WebServer:
    """Return a server whose store the test may change."""
    return serve(copy, "--embedding", "off")


@pytest.fixture
def visitor(browser: Browser, serve: Serve) -> Iterator[Visitor]:  # noqa: ARG001 - pages go before their servers
    visitor = Visitor(browser)
    yield visitor
    visitor.check()
