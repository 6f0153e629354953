"""Dashboards for tests: each a real process on the test's own store, asked over real HTTP."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from mimir import Memory
from tests.server.conftest import run, start  # noqa: F401 - fixtures
from tests.server.web import WebServer, free_port
from tests.web.pages import Page, StartWeb


@pytest.fixture
def start_web(db: str) -> Iterator[StartWeb]:
    servers: list[WebServer] = []

    def start_one(*flags: str, words: tuple[str, ...] = ("web",), path: str = db, **environment: str) -> Page:
        port = free_port()
        settings = ("--db", path, "--embedding", "off", "--port", str(port))
        command = [sys.executable, "-m", "mimir", *words, *settings, *flags]
        servers.append(WebServer(command, port, **environment))
        return Page(servers[-1])

    yield start_one
    for server in servers:
        server.close()


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the path of a store with memories of two workspaces, past versions, links, a journal and state."""
    path = str(tmp_path_factory.mktemp("filled") / "memory.db")
    with Memory.open(path, embedding="off", agent_id="mine") as memory:
        memory.remember("decision", "database", {"content": "We chose PostgreSQL."}, tags=["storage"])
        memory.remember("decision", "database", {"content": "We chose SQLite for its single file."})
        cache = memory.remember("decision", "cache", {"content": "No cache."}, tags=["storage", "speed"], certainty=0.9)
        for number in range(7):
            memory.remember("fact", f"fact-{number}", {"content": f"Fact {number}"}, workspace_hash="ws-a")
        memory.remember("fact", "pinned", {"content": "Read me."}, always_on=True, workspace_hash="ws-b")
        memory.remember("fact", "gone", {"content": "Old news."})
        memory.forget("fact", "gone", "outdated")
        memory.remember("secret", "theirs", {"content": "zeppelin"}, agent_id="other", visibility="private")
        memory.link("decision", "database", cache.id, "depends_on")
        memory.journal("deployed", acted={"what": "release 1"}, category="decision", key="database")
        memory.journal("looked", evaluated={"what": "nothing"})
        memory.state_set("session.step", '{"n": 1}')
    return path


@pytest.fixture(scope="module")
def page(filled: str) -> Iterator[Page]:
    """Return a dashboard on the filled store that only reads."""
    port = free_port()
    settings = ("--db", filled, "--embedding", "off", "--port", str(port), "--agent-id", "mine", "--read-only")
    server = WebServer([sys.executable, "-m", "mimir", "web", *settings], port)
    yield Page(server)
    server.close()
