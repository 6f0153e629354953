"""The watcher: a real server reads folders while they change, and nobody has to ask for it."""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mimir.config import load_settings
from mimir.server.dispatch import Dispatcher
from tests.server.client import PATIENCE_S, SERVE, Client, request

Start = Callable[..., Client]
Configured = Callable[..., str]


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "there.md").write_text("The kettle was there before.", encoding="utf-8")
    return folder


@pytest.fixture
def configured(tmp_path: Path) -> Configured:
    """Write the configuration that watches folders, and return its path."""

    def write(*paths: Path) -> str:
        told = {"enabled": True, "paths": [str(path) for path in paths], "debounce_ms": 50}
        config = tmp_path / "connectors.yaml"
        config.write_text(json.dumps({"connectors": {"file_watcher": told}}), encoding="utf-8")
        return str(config)

    return write


@pytest.fixture
def start(notes: Path, configured: Configured, db: str) -> Iterator[Start]:
    """Start servers that have had their handshake."""
    clients: list[Client] = []

    def start_server(*flags: str, paths: tuple[Path, ...] = (notes,), program: tuple[str, ...] = SERVE) -> Client:
        settings = ("--db", db, "--embedding", "off", "--connectors-config", configured(*paths))
        clients.append(Client((*program, *settings, *flags)))
        clients[-1].ask(request(0, "initialize", protocolVersion="2025-11-25"))
        return clients[-1]

    yield start_server
    for client in clients:
        client.close()


def texts(client: Client) -> dict[str, str]:
    """Return what is remembered of each file by its name."""
    items = client.use("mimir_recall", query="", category="file", limit=1_000, reinforce=False)["items"]
    bodies = [json.loads(item["body_json"]) for item in items]
    return {Path(body["path"]).name: body["content"] for body in bodies}


def becomes(client: Client, wanted: dict[str, str]) -> bool:
    """Ask until the files are remembered as wanted; only a failing test waits for the whole bound."""
    until = time.monotonic() + PATIENCE_S
    while texts(client) != wanted:
        if time.monotonic() > until:
            return False
    return True


def test_a_folder_is_followed_while_the_server_runs(start: Start, notes: Path) -> None:
    client = start()
    known = {"there.md": "The kettle was there before."}
    assert becomes(client, known)

    (notes / "new.md").write_text("A new note.", encoding="utf-8")
    assert becomes(client, known | {"new.md": "A new note."})

    (notes / "new.md").write_text("A better note.", encoding="utf-8")
    assert becomes(client, known | {"new.md": "A better note."})
    key = str(notes / "new.md").replace(os.sep, "-")
    assert client.use("mimir_history", category="file", key=key)["total"] == 1

    (notes / "new.md").unlink()
    assert becomes(client, known)


def test_folders_may_come_and_go_and_rules_may_change(start: Start, notes: Path, tmp_path: Path) -> None:
    client = start()
    known = {"there.md": "The kettle was there before."}
    assert becomes(client, known)

    outside = tmp_path / "deep" / "er"
    outside.mkdir(parents=True)
    (outside / "moved.txt").write_text("Moved in.", encoding="utf-8")
    (outside / "draft.txt").write_text("A draft.", encoding="utf-8")
    (outside / ".gitignore").write_text("draft.txt\n", encoding="utf-8")
    (tmp_path / "deep").rename(notes / "deep")
    assert becomes(client, known | {"moved.txt": "Moved in."})

    (notes / "deep" / "er" / ".gitignore").unlink()
    assert becomes(client, known | {"moved.txt": "Moved in.", "draft.txt": "A draft."})

    shutil.rmtree(notes / "deep")
    assert becomes(client, known)


def test_two_servers_that_watch_one_folder_remember_it_once(start: Start, notes: Path) -> None:
    first, second = start(), start()
    for number in range(5):
        (notes / f"{number}.md").write_text(f"Note {number}.", encoding="utf-8")
    wanted = {"there.md": "The kettle was there before."} | {f"{n}.md": f"Note {n}." for n in range(5)}
    assert becomes(first, wanted)
    assert becomes(second, wanted)
    assert second.use("mimir_stats")["total_entities"] == 6


def test_what_cannot_be_read_is_logged_once_and_the_rest_is_read(start: Start, notes: Path) -> None:
    (notes / "bad.md").write_bytes(b"\xff\xff")
    client = start()
    assert becomes(client, {"there.md": "The kettle was there before."})
    for text in ("one", "two"):
        (notes / "more.md").write_text(text, encoding="utf-8")
        (notes / "bad.md").write_bytes(b"\xff\xfe\xff" + text.encode())
        assert becomes(client, {"there.md": "The kettle was there before.", "more.md": text})
    client.end()
    assert "bad.md" in client.errors()


@pytest.mark.parametrize("read_only", [False, True])
def test_only_a_server_that_may_write_watches_and_it_stops_with_it(
    notes: Path, configured: Configured, db: str, read_only: bool
) -> None:
    dispatcher = Dispatcher(load_settings(db=db, connectors_config=configured(notes), read_only=read_only))
    assert "mimir-watcher" not in running()
    dispatcher.warm_up()
    assert ("mimir-watcher" in running()) is not read_only
    dispatcher.close()
    for thread in threading.enumerate():
        if thread.name == "mimir-watcher":
            thread.join(PATIENCE_S)
    assert "mimir-watcher" not in running()


def test_a_server_without_watchfiles_reads_once_and_says_what_to_install(start: Start) -> None:
    code = "import sys; sys.modules['watchfiles'] = None; from mimir.__main__ import main; main()"
    client = start(program=(sys.executable, "-c", code, "serve"))
    assert becomes(client, {"there.md": "The kettle was there before."})
    client.end()
    assert "pip install 'mimir-local[watch]'" in client.errors()


def test_a_folder_that_is_not_there_is_logged(start: Start, tmp_path: Path) -> None:
    log = tmp_path / "mimir.log"
    start("--log-file", str(log), paths=(tmp_path / "gone",))
    until = time.monotonic() + PATIENCE_S
    while not log.exists() or "gone: cannot be read" not in log.read_text(encoding="utf-8"):
        assert time.monotonic() < until


def running() -> set[str]:
    return {thread.name for thread in threading.enumerate()}
