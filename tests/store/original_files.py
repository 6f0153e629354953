"""Files as the Rust Mimir wrote them, made with Python's own SQLite from the published description of its schema."""

from __future__ import annotations

import json
import sqlite3
import struct
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

CREATED_MS: Final = 1_740_000_000_000

_WORD: Final = (1 << 64) - 1

_COLUMNS: Final = {
    "id": "TEXT PRIMARY KEY",
    "category": "TEXT NOT NULL DEFAULT 'general'",
    "key": "TEXT NOT NULL",
    "body_json": "TEXT NOT NULL DEFAULT '{}'",
    "status": "TEXT DEFAULT 'active'",
    "type": "TEXT DEFAULT 'insight'",
    "tags": "TEXT DEFAULT '[]'",
    "decay_score": "REAL DEFAULT 1.0",
    "retrieval_count": "INTEGER DEFAULT 0",
    "layer": "TEXT DEFAULT 'working'",
    "topic_path": "TEXT DEFAULT ''",
    "archived": "INTEGER DEFAULT 0",
    "archive_reason": "TEXT DEFAULT ''",
    "links": "TEXT DEFAULT '[]'",
    "verified": "INTEGER DEFAULT 0",
    "source": "TEXT DEFAULT 'agent'",
    "created_at_unix_ms": "INTEGER NOT NULL",
    "last_accessed_unix_ms": "INTEGER NOT NULL",
    "embedding": "BLOB",
}
# What later releases of 2.x added, in the order in which an upgrade appends it.
_UPGRADES: Final = {
    "always_on": "INTEGER DEFAULT 0",
    "certainty": "REAL DEFAULT 0.5",
    "workspace_hash": "TEXT DEFAULT ''",
    "agent_id": "TEXT DEFAULT ''",
    "visibility": "TEXT DEFAULT 'workspace'",
    "valid_from_unix_ms": "INTEGER",
    "valid_to_unix_ms": "INTEGER",
    "recorded_at_unix_ms": "INTEGER",
    "invalidated_at_unix_ms": "INTEGER",
    "supersedes": "TEXT DEFAULT ''",
    "superseded_by": "TEXT DEFAULT ''",
}
_V15: Final = {
    "importance": "REAL DEFAULT 0",
    "emb_sig": "BLOB",
    "follow_count": "INTEGER DEFAULT 0",
    "miss_count": "INTEGER DEFAULT 0",
    "follow_rate": "REAL",
    "efficacy_status": "TEXT DEFAULT ''",
}
_JOURNAL: Final = """
CREATE TABLE journal (
  id TEXT PRIMARY KEY, event_type TEXT NOT NULL DEFAULT 'decision', evaluated_json TEXT DEFAULT '{}',
  acted_json TEXT DEFAULT '{}', forward_json TEXT DEFAULT '{}', category TEXT DEFAULT '', key TEXT DEFAULT '',
  entity_id TEXT DEFAULT '', agent_id TEXT DEFAULT '', audit_hash TEXT DEFAULT '', created_at_unix_ms INTEGER NOT NULL
);
CREATE INDEX idx_journal_created ON journal(created_at_unix_ms);
CREATE INDEX idx_journal_entity ON journal(entity_id);
CREATE TABLE state (
  key TEXT PRIMARY KEY, value_json TEXT NOT NULL DEFAULT '{}', expires_at_unix_ms INTEGER,
  created_at_unix_ms INTEGER NOT NULL
);
"""
_MEMORIES: Final = """
CREATE TABLE memories (
  id TEXT PRIMARY KEY, content TEXT, type TEXT, summary TEXT, relevance REAL, decay_score REAL,
  retrieval_count INTEGER, layer TEXT, topic_path TEXT, created_at_unix_ms INTEGER, last_accessed_unix_ms INTEGER,
  workspace_hash TEXT, tags TEXT, links TEXT, source TEXT, verified INTEGER
)
"""


class OriginalFile:
    """A file of the original while it is filled; the times of what is added go up by a second each."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self._chained = "genesis"
        self._added = 0

    def entity(self, key: str, body: str | Mapping[str, Any] = "{}", **columns: Any) -> str:  # noqa: ANN401 - values
        """Add an entity, in the text index too unless it is archived, and return its id."""
        self._added += 1
        now = CREATED_MS + 1_000 * self._added
        row = {
            "id": f"mem-0123{self._added:08x}",
            "category": "note",
            "key": key,
            "body_json": body if isinstance(body, str) else json.dumps(body, ensure_ascii=False, separators=(",", ":")),
            "created_at_unix_ms": now,
            "last_accessed_unix_ms": now,
            "embedding": struct.pack("<384f", *[0.5] * 384),
            **columns,
        }
        number = self._insert("entities", row)
        if not row.get("archived"):
            self.connection.execute(
                "INSERT INTO entities_fts (rowid, body_json) VALUES (?, ?)", (number, row["body_json"])
            )
        return str(row["id"])

    def past(
        self,
        id: str,
        body: str | Mapping[str, Any],
        recorded: int | None,
        invalidated: int,
        **columns: Any,  # noqa: ANN401 - values
    ) -> None:
        """Add the snapshot that an update of an entity left behind."""
        self._added += 1
        row = {
            "history_id": f"hist-{self._added:016x}",
            "id": id,
            "category": "note",
            "key": "k",
            "body_json": body if isinstance(body, str) else json.dumps(body),
            "created_at_unix_ms": CREATED_MS,
            "last_accessed_unix_ms": CREATED_MS,
            "recorded_at_unix_ms": recorded,
            "invalidated_at_unix_ms": invalidated,
            "superseded_by": id,
            **columns,
        }
        self._insert("entity_history", row)

    def event(self, event_type: str = "decision", **columns: Any) -> str:  # noqa: ANN401 - column values
        """Append a journal event with its hash and return its id."""
        self._added += 1
        row = {
            "id": f"jrn-{self._added:012x}",
            "event_type": event_type,
            "created_at_unix_ms": CREATED_MS + 1_000 * self._added,
            **columns,
        }
        self._chained = row["audit_hash"] = audit_hash(self._chained, row["id"], row["created_at_unix_ms"])
        self._insert("journal", row)
        return str(row["id"])

    def state(self, key: str, value_json: str, expires_at_unix_ms: int | None = None) -> None:
        """Add a state entry."""
        row = {"key": key, "value_json": value_json, "expires_at_unix_ms": expires_at_unix_ms}
        self._insert("state", {**row, "created_at_unix_ms": CREATED_MS})

    def memory(self, id: str, content: str | None, **columns: Any) -> None:  # noqa: ANN401 - column values
        """Add a memory of 0.1."""
        row = {
            "id": id,
            "content": content,
            "type": "insight",
            "summary": "",
            "relevance": 0.5,
            "decay_score": 0.75,
            "retrieval_count": 2,
            "layer": "working",
            "topic_path": "",
            "created_at_unix_ms": CREATED_MS,
            "last_accessed_unix_ms": CREATED_MS + 1,
            "workspace_hash": "",
            "tags": "[]",
            "links": "[]",
            "source": "agent",
            "verified": 0,
            **columns,
        }
        self._insert("memories", row)

    def _insert(self, table: str, row: Mapping[str, Any]) -> int:
        known = {column[1] for column in self.connection.execute(f"PRAGMA table_info({table})")}
        kept = {name: value for name, value in row.items() if name in known}
        cursor = self.connection.execute(
            f"INSERT INTO {table} ({', '.join(kept)}) VALUES ({', '.join('?' * len(kept))})",  # noqa: S608 - our names
            tuple(kept.values()),
        )
        assert cursor.lastrowid is not None
        return cursor.lastrowid


@contextmanager
def original_file(
    path: Path, user_version: int = 2, *, mode: str = "wal", upgraded: bool = False
) -> Iterator[OriginalFile]:
    """Make a file of 2.x and hand it over to be filled.

    Files before version 2 lack the columns of time, those of 15 have what came until then. In an upgraded file the
    columns stand in another order.
    """
    columns = {**_COLUMNS, **dict(list(_UPGRADES.items())[: None if user_version >= 2 else 5])}
    if user_version >= 15:
        columns |= _V15
    names = list(reversed(columns)) if upgraded else list(columns)
    past = [f"{name} {columns[name].replace(' PRIMARY KEY', ' NOT NULL')}" for name in names if name != "embedding"]
    identity = "category, key, workspace_hash" if user_version >= 4 else "category, key"
    connection = sqlite3.connect(path)
    try:
        connection.execute(f"PRAGMA journal_mode={mode}")
        _run(
            connection,
            [
                f"CREATE TABLE entities ({', '.join(f'{name} {columns[name]}' for name in names)})",
                f"CREATE UNIQUE INDEX idx_entities_category_key ON entities({identity})",
                "CREATE INDEX idx_entities_recall ON entities(archived, retrieval_count DESC)",
                "CREATE VIRTUAL TABLE entities_fts USING fts5(body_json, content_rowid='rowid')",
                f"CREATE TABLE entity_history (history_id TEXT PRIMARY KEY, {', '.join(past)})",
                "CREATE INDEX idx_history_id ON entity_history(id)",
            ],
        )
        if user_version >= 2:
            _run(
                connection,
                [
                    "CREATE INDEX idx_entities_invalidated ON entities(invalidated_at_unix_ms)",
                    "CREATE INDEX idx_history_key ON entity_history(category, key, invalidated_at_unix_ms)",
                ],
            )
        connection.executescript(_JOURNAL)
        if user_version >= 11:
            connection.execute("ALTER TABLE journal ADD COLUMN workspace_hash TEXT DEFAULT ''")
            connection.execute("ALTER TABLE journal ADD COLUMN payload_commitment TEXT DEFAULT ''")
            connection.execute("CREATE TABLE communities (id TEXT PRIMARY KEY, summary TEXT)")
            connection.execute("CREATE TABLE dedup_signatures (entity_id TEXT PRIMARY KEY, signature BLOB)")
        connection.execute(f"PRAGMA user_version={user_version}")
        connection.commit()
        yield OriginalFile(connection)
        connection.commit()
    finally:
        connection.close()


@contextmanager
def first_file(path: Path) -> Iterator[OriginalFile]:
    """Make a file of 0.1 and hand it over to be filled."""
    connection = sqlite3.connect(path)
    try:
        connection.execute(_MEMORIES)
        yield OriginalFile(connection)
        connection.commit()
    finally:
        connection.close()


def audit_hash(previous: str, event_id: str, created_at_unix_ms: int) -> str:
    """Return the hash by which the original chained its journal."""
    data = previous.encode() + b"\xff" + event_id.encode() + b"\xff" + created_at_unix_ms.to_bytes(8, "little")
    return f"{siphash_1_3(data):016x}"


def siphash_1_3(data: bytes) -> int:
    """Return SipHash-1-3 of ``data`` under a key of noughts (Aumasson and Bernstein, 2012)."""
    state = [0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573]
    words = [int.from_bytes(data[at : at + 8], "little") for at in range(0, len(data) + 1, 8)]
    words[-1] |= (len(data) & 0xFF) << 56
    for word in words:
        state[3] ^= word
        _round(state)
        state[0] ^= word
    state[2] ^= 0xFF
    for _ in range(3):
        _round(state)
    return state[0] ^ state[1] ^ state[2] ^ state[3]


def _round(state: list[int]) -> None:
    def rotated(word: int, by: int) -> int:
        return (word << by | word >> 64 - by) & _WORD

    a, b, c, d = state
    a = (a + b) & _WORD
    b = rotated(b, 13) ^ a
    a = rotated(a, 32)
    c = (c + d) & _WORD
    d = rotated(d, 16) ^ c
    a = (a + d) & _WORD
    d = rotated(d, 21) ^ a
    c = (c + b) & _WORD
    b = rotated(b, 17) ^ c
    state[:] = a, b, rotated(c, 32), d


def _run(connection: sqlite3.Connection, statements: Iterable[str]) -> None:
    for statement in statements:
        connection.execute(statement)
