"""Counts and digests over a whole store file."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

from mimir.model import Stats
from mimir.store.sqlite.connection import Database

_FNV_OFFSET: Final = 0xCBF29CE484222325
_FNV_PRIME: Final = 0x100000001B3
_MASK: Final = 0xFFFFFFFFFFFFFFFF


class Upkeep:
    """Questions about a store file as a whole."""

    database: Database

    def stats(self, now_ms: int) -> Stats:
        """Count everything in the store but what has expired; totals include archived entities."""
        execute = self.database.execute

        def count(sql: str) -> int:
            return int(execute(sql).get)

        def count_by(column: str) -> dict[str, int]:
            rows = execute(f"SELECT {column}, count(*) FROM entities GROUP BY 1 ORDER BY 1")
            return dict(rows.fetchall())

        oldest, newest = execute("SELECT min(created_at_unix_ms), max(created_at_unix_ms) FROM entities").fetchall()[0]
        return Stats(
            total_entities=count("SELECT count(*) FROM entities"),
            active_entities=count("SELECT count(*) FROM entities WHERE archived = 0"),
            by_category=count_by("category"),
            by_type=count_by("type"),
            by_layer=count_by("layer"),
            total_journal_events=count("SELECT count(*) FROM journal"),
            total_state_entries=int(
                execute("SELECT count(*) FROM state WHERE coalesce(expires_at_unix_ms >= ?, 1)", (now_ms,)).get
            ),
            total_versions=count("SELECT count(*) FROM versions"),
            total_links=count("SELECT count(*) FROM links"),
            passages=count("SELECT count(*) FROM passages"),
            embedded=count("SELECT count(*) FROM vectors"),
            pending_embeddings=count("SELECT count(*) FROM pending"),
            db_file_size_bytes=os.path.getsize(self.database.path),
            oldest_unix_ms=oldest,
            newest_unix_ms=newest,
        )

    def digest(self, text_of: Callable[[str], str]) -> tuple[str, int]:
        """Return the state digest of all active entities, 16 hex digits, and their number.

        FNV-1a 64 over id, NUL and body of each row, combined by exclusive or, then continued over the row count as 8
        little-endian bytes; ``text_of`` gives the body as it is hashed.
        """
        combined = count = 0
        with self.database.reading():
            for entity_id, body in self.database.execute("SELECT id, body_json FROM entities WHERE archived = 0"):
                combined ^= _fnv(f"{entity_id}\0{text_of(body)}".encode(), _FNV_OFFSET)
                count += 1
        if count:
            combined = _fnv(count.to_bytes(8, "little"), combined)
        return f"{combined:016x}", count

    def last_write_ms(self) -> int | None:
        """Return when content was last recorded, or None for an empty store.

        Whatever is recorded adds a row: a new memory one of its own, a change the version that it closes.
        """
        newest: int | None = self.database.execute(
            "SELECT max(at) FROM"
            " (SELECT * FROM (SELECT recorded_at_unix_ms AS at FROM entities ORDER BY number DESC LIMIT 1)"
            " UNION ALL SELECT * FROM (SELECT invalidated_at_unix_ms FROM versions ORDER BY number DESC LIMIT 1))"
        ).get
        return newest

    def check_integrity(self) -> str:
        """Return ``ok``, or what SQLite's quick check found first."""
        return str(self.database.execute("PRAGMA quick_check(1)").get)


def _fnv(data: bytes, value: int) -> int:
    for byte in data:
        value = ((value ^ byte) * _FNV_PRIME) & _MASK
    return value
