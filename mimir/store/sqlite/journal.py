"""The journal as rows: appended, read, and blanked when what they speak of is erased."""

from __future__ import annotations

import re
from typing import Any, Final

from mimir.model import Event, EventFilter
from mimir.store.sqlite.connection import Database, Row

_NAMES: Final = Event.__struct_fields__
_TEXTS: Final = tuple(name for name in _NAMES if name not in ("sequence", "payload", "created_at_unix_ms"))
_INSERT: Final = f"INSERT INTO journal ({', '.join(_NAMES)}) VALUES ({', '.join('?' * len(_NAMES))})"
_SELECT: Final = f"SELECT {', '.join(_NAMES)} FROM journal"

# A byte that was changed in the file can leave a text that is none, or turn one into a blob of the same bytes: read
# as bytes with their kinds, every row can be named, whatever became of it.
_SELECT_RAW: Final = (
    "SELECT "
    + ", ".join(f"CAST({name} AS BLOB)" if name in (*_TEXTS, "payload") else name for name in _NAMES)
    + ", "
    + " AND ".join(
        (
            *(f"typeof({name}) = 'text'" for name in _TEXTS),
            "typeof(payload) IN ('text', 'null')",
            "typeof(created_at_unix_ms) = 'integer'",
        )
    )
    + " FROM journal WHERE sequence > ? ORDER BY sequence LIMIT ?"
)


class JournalRows:
    """The journal table of one store file."""

    database: Database

    def add_event(self, event: Event) -> None:
        """Append a row to the journal."""
        self.database.execute(_INSERT, tuple(getattr(event, name) for name in _NAMES))

    def chain_key(self, sequence: int) -> bytes | None:
        """Return the key with which the row of a sequence number is chained, or None for plain SHA-256.

        Raises:
            StorageFailure: a key is missing or was changed.
        """
        return next((key for first, key in reversed(self.database.chain_stretches()) if first <= sequence), None)

    def journal_end(self) -> tuple[int, int, str]:
        """Return the highest sequence number ever given out, and number and hash of the last row; 0 and '' for none."""
        highest = self.database.execute("SELECT max(seq) FROM sqlite_sequence WHERE name = 'journal'").get
        last = self.database.execute(
            "SELECT sequence, audit_hash FROM journal ORDER BY sequence DESC LIMIT 1"
        ).fetchone()
        return (highest or 0, *(last or (0, "")))

    def events(self, filter_: EventFilter, limit: int, offset: int) -> tuple[Event, ...]:
        """Return the events that pass a filter, newest first."""
        where, bindings = _conditions(filter_)
        rows = self.database.execute(
            f"{_SELECT} WHERE {where} ORDER BY sequence DESC LIMIT ? OFFSET ?", (*bindings, limit, offset)
        ).fetchall()
        return tuple(Event(**dict(zip(_NAMES, row, strict=True))) for row in rows)

    def count_events(self, filter_: EventFilter) -> int:
        """Count the events that pass a filter."""
        where, bindings = _conditions(filter_)
        return int(self.database.execute(f"SELECT count(*) FROM journal WHERE {where}", bindings).get)

    def events_after(self, sequence: int, limit: int) -> tuple[tuple[Event, bool], ...]:
        """Return the events after a sequence number, oldest first, each with whether its row can be read as one."""
        rows = self.database.execute(_SELECT_RAW, (sequence, limit)).fetchall()
        return tuple(map(_event_of_raw, rows))


def _conditions(filter_: EventFilter) -> tuple[str, tuple[Any, ...]]:
    asked = {name: getattr(filter_, name) for name in EventFilter.__struct_fields__}
    asked = {name: value for name, value in asked.items() if value is not None}
    if filter_.text is not None:
        escaped = re.sub(r"([\\\\%_])", r"\\\\\\1", filter_.text)
        asked["text"] = f"%{escaped}%"
    if filter_.caller is not None:
        asked["writer"] = filter_.caller
    return " AND ".join(_TESTS.get(name, f"{name} = ?") for name in asked) or "1", tuple(asked.values())


def _event_of_raw(row: Row) -> tuple[Event, bool]:
    values: dict[str, Any] = dict(zip(_NAMES, row, strict=False))
    readable = bool(row[-1])
    for name, value in values.items():
        if isinstance(value, bytes):
            try:
                values[name] = value.decode()
            except UnicodeDecodeError:
                values[name] = value.decode(errors="replace")
                readable = False
    return Event(**values), readable


_TESTS: Final = {
    "from_ms": "created_at_unix_ms >= ?",
    "to_ms": "created_at_unix_ms <= ?",
    # With the conditions of the partial indexes, which are not used otherwise.
    "entity_id": "(entity_id = ? AND entity_id <> '')",
    "key": "(key = ? AND key <> '')",
    "before": "sequence < ?",
    "text": "(event_type || ' ' || category || ' ' || key || ' ' || coalesce(payload, '')) LIKE ? ESCAPE '\\'",
    "caller": "NOT EXISTS (SELECT 1 FROM entities e WHERE e.visibility = 'private' AND e.agent_id <> ?"
    " AND (e.id = journal.entity_id OR (e.category = journal.category AND e.key = journal.key"
    " AND e.workspace_hash = journal.workspace_hash)))",
    # Nothing tells any more whether a memory that was erased was private.
    "writer": "(payload IS NOT NULL OR agent_id = ?)",
}
