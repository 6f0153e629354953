"""Lists of entities in any order, page by page, and what is counted over all that pass a filter."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final

from mimir.model import Filter, Order, Outline, Stored
from mimir.store.sqlite.entities import EntityRows
from mimir.store.sqlite.filters import conditions, counted_through, read_through

_SORTED_BY: Final = {
    "accessed": ("last_accessed_unix_ms", "entities_accessed"),
    "created": ("created_at_unix_ms", "entities_created"),
    "changed": ("recorded_at_unix_ms", "entities_recorded"),
    "key": ("key", "entities_key"),
    # An index on what every pass of upkeep and every recall rewrites would cost them more than it saves here.
    "strength": ("decay_score", ""),
    "uses": ("retrieval_count", ""),
}
"""Each order: the column, and the index in its order."""

_OUTLINE: Final = "id, category, key, layer, decay_score, archived, status"
_DAY_MS: Final = 86_400_000


class ListingRows(EntityRows):
    """Pages and counts of the entities of one store file."""

    def listing(self, filter_: Filter, order: Order, limit: int, offset: int) -> tuple[tuple[Stored, ...], int]:
        """Return a page of the entities that pass a filter, and how many pass it in all."""
        total = self.count(filter_)
        where, bindings = conditions(filter_)
        column, index = _SORTED_BY[order.by]
        highest = int(self.database.execute("SELECT coalesce(max(number), 0) FROM entities").get)
        # Walking the order pays when a page is soon full; otherwise those that pass are found first and then sorted.
        walks = index and total * total > highest * (limit + offset)
        path = f"INDEXED BY {index}" if walks else "" if order.by == "uses" else read_through(filter_)
        compared, direction = ("<", "DESC") if order.descending else (">", "ASC")
        if order.after is not None:
            where += f" AND (e.{column}, e.number) {compared} (?, ?)"
            bindings += order.after
        rows = self.database.execute(
            f"SELECT e.number FROM entities e {path} WHERE {where}"
            f" ORDER BY e.{column} {direction}, e.number {direction} LIMIT ? OFFSET ?",
            (*bindings, limit, offset),
        )
        numbers = [row[0] for row in rows]
        stored = self.load(numbers)
        return tuple(stored[number] for number in numbers), total

    def count(self, filter_: Filter) -> int:
        """Count the entities that pass a filter."""
        where, bindings = conditions(filter_)
        sql = f"SELECT count(*) FROM entities e {counted_through(filter_)} WHERE {where}"
        return int(self.database.execute(sql, tuple(bindings)).get)

    def created_by_day(self, filter_: Filter) -> tuple[tuple[int, int], ...]:
        """Return each day on which entities that pass a filter were created, as its first millisecond, and how many."""
        where, bindings = conditions(filter_)
        rows: list[tuple[int, int]] = self.database.execute(
            f"SELECT e.created_at_unix_ms / {_DAY_MS} * {_DAY_MS}, count(*) FROM entities e WHERE {where}"
            " GROUP BY 1 ORDER BY 1",
            tuple(bindings),
        ).fetchall()
        return tuple(rows)

    def strengths(self, filter_: Filter, parts: int) -> tuple[int, ...]:
        """Count the entities that pass a filter by strength, the range of 0 to 1 cut into equal parts."""
        where, bindings = conditions(filter_)
        rows: Any = self.database.execute(
            f"SELECT min(CAST(e.decay_score * ? AS INTEGER), ? - 1), count(*) FROM entities e {read_through(filter_)}"
            f" WHERE {where} GROUP BY 1",
            (parts, parts, *bindings),
        )
        counts = dict(rows.fetchall())
        return tuple(counts.get(part, 0) for part in range(parts))

    def outlines(self, numbers: Iterable[int]) -> dict[int, Outline]:
        """Return outlines of entities by their numbers; missing ones are left out."""
        rows = self.database.execute(
            f"SELECT number, {_OUTLINE} FROM entities WHERE number IN (SELECT value FROM json_each(?))",
            (json.dumps(list(numbers)),),
        )
        return {
            row[0]: Outline(
                id=row[1],
                category=row[2],
                key=row[3],
                layer=row[4],
                decay_score=row[5],
                archived=row[6] == 1,
                status=row[7],
            )
            for row in rows
        }
