"""What the workspaces and categories of one store file hold."""

from __future__ import annotations

from mimir.model import Filter
from mimir.store.sqlite.connection import Database
from mimir.store.sqlite.filters import conditions, counted_through


class ScopeCounts:
    """Counts over the entity table of one store file."""

    database: Database

    def count_by_scope(self, filter_: Filter) -> tuple[tuple[str, str, int], ...]:
        """Return each workspace and category with the number of its entities that pass a filter, in their order."""
        where, bindings = conditions(filter_)
        rows = self.database.execute(
            f"SELECT e.workspace_hash, e.category, count(*) FROM entities e {counted_through(filter_)} WHERE {where}"
            " GROUP BY e.workspace_hash, e.category ORDER BY e.workspace_hash, e.category",
            tuple(bindings),
        )
        return tuple((row[0], row[1], row[2]) for row in rows)

    def names(self, filter_: Filter) -> tuple[tuple[str, str], ...]:
        """Return id and key of the entities that pass a filter and are not archived, by key."""
        where, bindings = conditions(filter_)
        rows = self.database.execute(
            f"SELECT e.id, e.key FROM entities e WHERE e.archived = 0 AND {where} ORDER BY e.key, e.id", tuple(bindings)
        )
        return tuple(rows.fetchall())
