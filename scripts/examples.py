"""The example of every tool, run on a small store of its own with time standing still."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, Final, NamedTuple

from mimir import Memory
from mimir.catalogue import load_function
from mimir.embedding import load_embedder
from mimir.operation import read_arguments

NOW_MS: Final = 1_767_225_600_000
"""The first of January 2026, the present of every example."""

FIRST_ID: Final = 0x0123456789AB
DAY_MS: Final = 86_400_000

_LESSON: Final = {
    "lesson_type": "dead_end",
    "summary": "Renaming the table inside a migration locks it for minutes.",
    "evidence": "The first attempt had to be stopped.",
    "confidence": 0.9,
}
_ANSWER: Final = "SQLite, for its single file [key: database]."


class StoryClock:
    """A clock that is set by hand and counts its identifiers."""

    def __init__(self, now_ms: int, first_id: int = FIRST_ID) -> None:
        self.time_ms = now_ms
        self._next = first_id

    def now_ms(self) -> int:
        """Return the time it was set to."""
        return self.time_ms

    def new_id(self, prefix: str, digits: int = 12) -> str:
        """Return the next identifier."""
        self._next += 1
        return f"{prefix}{self._next - 1:0{digits}x}"

    def new_ids(self, prefix: str, count: int) -> list[str]:
        """Return the next identifiers."""
        return [self.new_id(prefix) for _ in range(count)]


def tell_story(memory: Memory, clock: StoryClock) -> None:
    """Fill a store with a few weeks of a small project, so that every tool has something to answer."""
    clock.time_ms = NOW_MS - 40 * DAY_MS
    memory.remember("decision", "database", {"content": "We chose PostgreSQL."}, tags=["storage"])
    memory.remember("decision", "cache", {"content": "The cache is Redis, one node per region."}, tags=["storage"])
    memory.remember("note", "old-plan", {"content": "Rewrite the importer in spring."})
    memory.forget("note", "old-plan", "dropped")
    memory.remember("fact", "port", {"content": "The database port is 5432."}, certainty=0.9, tags=["network"])
    memory.remember("fact", "port-staging", {"content": "The database port is 5433."}, certainty=0.4, tags=["network"])
    clock.time_ms = NOW_MS - 12 * DAY_MS
    memory.remember("decision", "database", {"content": "We chose SQLite for its single file."}, tags=["storage"])
    memory.remember(
        "runbook",
        "billing",
        {"content": "Pause the queue before a release.", "recall_when": ["deploy the billing service"]},
        layer="world",
        always_on=True,
    )
    memory.link("decision", "cache", f"mem-{FIRST_ID:012x}", "depends_on")
    options = {"options": ["PostgreSQL", "SQLite"]}
    memory.journal("decision", evaluated=options, acted={"chosen": "SQLite"}, category="decision", key="database")
    memory.state_set("session/goal", '{"task": "migrate the cache"}')
    memory.remember("preference", "editor", {"content": "Ada prefers dark themes."}, workspace_hash="ada")
    clock.time_ms = NOW_MS
    memory.embed_pending()


class Story(NamedTuple):
    """A told store and what its examples find around them: a home folder with files, settings as environment."""

    path: Path
    home: Path
    environment: dict[str, str]


@contextmanager
def told_story() -> Iterator[Story]:
    """Give a store with the story told, a home folder with files and a language model that answers."""
    with tempfile.TemporaryDirectory() as folder, language_model() as endpoint:
        home = Path(folder)
        _lay_out(home)
        clock = StoryClock(NOW_MS)
        with Memory.open(str(home / "story.db"), clock=clock, embedder=load_embedder()) as memory:
            tell_story(memory, clock)
        environment = {
            "HOME": folder,
            "USERPROFILE": folder,
            "MIMIR_LLM_ENDPOINT": endpoint,
            "MIMIR_CONNECTORS_CONFIG": str(home / "connectors.yaml"),
        }
        yield Story(home / "story.db", home, environment)


def run_examples(catalogue: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Yield each tool's name with the wire form of its example's result; each runs on a fresh copy of the story."""
    embedder = load_embedder()
    with told_story() as story, _only(story.environment):
        copy = story.home / "memory.db"
        for name, entry in catalogue.items():
            shutil.copy(story.path, copy)
            with Memory.open(str(copy), clock=StoryClock(NOW_MS, FIRST_ID + 0x100), embedder=embedder) as memory:
                result = load_function(entry)(memory, **read_arguments(entry, entry["example"]))
            yield name, _shown(wire(result), str(story.home))


def wire(result: Any) -> Any:  # noqa: ANN401 - any result type
    """Return the JSON form of a result, as a server sends it."""
    import msgspec

    return result.wire() if hasattr(result, "wire") else msgspec.to_builtins(result)


def _shown(value: Any, home: str) -> Any:  # noqa: ANN401 - any JSON value
    """Return a value as the reference prints it: numbers rounded, since they differ in the last digits by machine."""
    if isinstance(value, dict):
        return {name: _shown(part, home) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_shown(part, home) for part in value]
    if isinstance(value, float):
        return round(value, 2)
    return value.replace(home, "~") if isinstance(value, str) else value


def _lay_out(home: Path) -> None:
    """Write the files that the examples name."""
    (home / "notes").mkdir()
    (home / ".mimir" / "vault").mkdir(parents=True)
    (home / "notes" / "deploy.md").write_text("# Deploying\n\nRun the smoke tests first.\n", encoding="utf-8")
    (home / "connectors.yaml").write_text(
        "connectors:\n  file_watcher:\n    enabled: true\n    paths: [~/notes]\n", encoding="utf-8"
    )
    with closing(sqlite3.connect(home / "old.db")) as old, old:
        old.execute(
            "CREATE TABLE memories (id TEXT PRIMARY KEY, content TEXT, type TEXT, summary TEXT, relevance REAL,"
            " decay_score REAL, retrieval_count INTEGER, layer TEXT, topic_path TEXT,"
            " created_at_unix_ms INTEGER, last_accessed_unix_ms INTEGER, workspace_hash TEXT, tags TEXT,"
            " links TEXT, source TEXT, verified INTEGER)"
        )
        old.execute(
            "INSERT INTO memories VALUES ('m-1', 'Backups run at night.', 'insight', 'Backups', 0.5, 0.8, 3,"
            " 'working', '', ?, ?, '', '[]', '[]', 'agent', 0)",
            (NOW_MS - DAY_MS, NOW_MS - DAY_MS),
        )


@contextmanager
def _only(environment: Mapping[str, str]) -> Iterator[None]:
    """Hold this process to these settings."""
    before = dict(os.environ)
    for name in [name for name in os.environ if name.startswith("MIMIR_")]:
        del os.environ[name]
    os.environ.update(environment)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def language_model() -> Iterator[str]:
    """Serve a language model that always says the same, on loopback; gives its address."""

    class Model(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            question = self.rfile.read(int(self.headers["Content-Length"])).decode()
            answer = json.dumps({"lessons": [_LESSON]}) if "lesson_type" in question else _ANSWER
            body = json.dumps({"response": answer}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            """Keep quiet."""

    server = HTTPServer(("127.0.0.1", 0), Model)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/api/generate"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
