"""State: values under keys of their own, some of which expire, as rows."""

from __future__ import annotations

from itertools import takewhile

from mimir.model import StateEntry
from mimir.store.sqlite.connection import Database


class StateRows:
    """The state table of one store file. A row has expired when its time is earlier than the given present."""

    database: Database

    def put_state(self, entry: StateEntry) -> None:
        """Keep a value under its key in place of any other."""
        self.database.execute(
            "INSERT OR REPLACE INTO state (key, value_json, expires_at_unix_ms, created_at_unix_ms)"
            " VALUES (?, ?, ?, ?)",
            (entry.key, entry.value_json, entry.expires_at_unix_ms, entry.created_at_unix_ms),
        )

    def state(self, key: str, now_ms: int) -> StateEntry | None:
        """Return what is kept under a key, unless it has expired."""
        row = self.database.execute(
            "SELECT value_json, expires_at_unix_ms, created_at_unix_ms FROM state"
            " WHERE key = ? AND (expires_at_unix_ms IS NULL OR expires_at_unix_ms >= ?)",
            (key, now_ms),
        ).fetchone()
        if row is None:
            return None
        return StateEntry(key=key, value_json=row[0], expires_at_unix_ms=row[1], created_at_unix_ms=row[2])

    def state_keys(self, prefix: str, now_ms: int) -> tuple[str, ...]:
        """Return the keys that begin with ``prefix`` and have not expired, in the order of their bytes."""
        rows = self.database.execute(
            "SELECT key FROM state WHERE key >= ? AND (expires_at_unix_ms IS NULL OR expires_at_unix_ms >= ?)"
            " ORDER BY key",
            (prefix, now_ms),
        )
        return tuple(takewhile(lambda key: key.startswith(prefix), (row[0] for row in rows)))

    def remove_state(self, key: str) -> bool:
        """Remove what is kept under a key, expired or not, and tell whether there was anything."""
        self.database.execute("DELETE FROM state WHERE key = ?", (key,))
        return self.database.connection.changes() > 0

    def has_expired_state(self, now_ms: int) -> bool:
        """Tell whether any row has expired."""
        return bool(
            self.database.execute("SELECT EXISTS (SELECT 1 FROM state WHERE expires_at_unix_ms < ?)", (now_ms,)).get
        )

    def sweep_state(self, now_ms: int, limit: int) -> None:
        """Remove rows that have expired, at most ``limit`` of them."""
        self.database.execute(
            "DELETE FROM state WHERE key IN (SELECT key FROM state WHERE expires_at_unix_ms < ? LIMIT ?)",
            (now_ms, limit),
        )
