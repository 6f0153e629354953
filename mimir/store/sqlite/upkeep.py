"""Counts and digests over a whole store file."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final

from mimir.model import Filter, Stats
from mimir.store.codec import BODY_COLUMNS, opened_body
from mimir.store.sqlite.connection import Database
from mimir.store.sqlite.filters import conditions

_FNV_OFFSET: Final = 0xCBF29CE484222325
_FNV_PRIME: Final = 0x100000001B3
_MASK: Final = 0xFFFFFFFFFFFFFFFF


class Upkeep:
    """Questions about a store file as a whole."""

    database: Database

    def stats(self, now_ms: int, filter_: Filter) -> Stats:
        """Count the entities that pass a filter, and everything else in the store but what has expired."""
        execute = self.database.execute
        where, bindings = conditions(filter_)
        groups = execute(
            "SELECT e.category, e.type, e.layer, e.archived, count(*), min(e.created_at_unix_ms),"
            f" max(e.created_at_unix_ms) FROM entities e WHERE {where} GROUP BY 1, 2, 3, 4",
            tuple(bindings),
        ).fetchall()

        def count(sql: str) -> int:
            return int(execute(sql).get)

        def count_by(column: int) -> dict[str, int]:
            counts: Counter[str] = Counter()
            for group in groups:
                counts[group[column]] += group[4]
            return dict(sorted(counts.items()))

        return Stats(
            total_entities=sum(group[4] for group in groups),
            active_entities=sum(group[4] for group in groups if not group[3]),
            by_category=count_by(0),
            by_type=count_by(1),
            by_layer=count_by(2),
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
            oldest_unix_ms=min((group[5] for group in groups), default=None),
            newest_unix_ms=max((group[6] for group in groups), default=None),
        )

    def digest(self, text_of: Callable[[str], str]) -> tuple[str, int]:
        """Return the state digest of all active entities, 16 hex digits, and their number.

        FNV-1a 64 over id, NUL and body of each row, combined by exclusive or, then continued over the row count as 8
        little-endian bytes; ``text_of`` gives the body as it is hashed.
        """
        combined = count = 0
        with self.database.reading():
            for row in self.database.execute(f"SELECT {', '.join(BODY_COLUMNS)} FROM entities WHERE archived = 0"):
                body = opened_body(row, self.database.seal)
                combined ^= _fnv(f"{row[1]}\0{text_of(body)}".encode(), _FNV_OFFSET)
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

    def waiting_at_most(self, seconds: float, *, altogether: bool = False) -> AbstractContextManager[None]:
        """Let this thread wait for others no longer than that inside the block: each time, or all times together."""
        return self.database.waiting_at_most(seconds, altogether=altogether)

    def log_size(self) -> int:
        """Return how many bytes the log takes."""
        try:
            return os.path.getsize(self.database.path + "-wal")
        except OSError:
            return 0

    def check_integrity(self, *, thorough: bool = False) -> str:
        """Return ``ok``, or what SQLite's check found first; a ``thorough`` one holds every index to its table."""
        return str(self.database.execute("PRAGMA integrity_check(1)" if thorough else "PRAGMA quick_check(1)").get)


def _fnv(data: bytes, value: int) -> int:
    for byte in data:
        value = ((value ^ byte) * _FNV_PRIME) & _MASK
    return value
