"""Questions that tell whether a store file is sound."""

from __future__ import annotations

from mimir.store.sqlite.connection import Database
from mimir.store.sqlite.schema import JOURNAL_GUARDS


class Checks:
    """Checks of one store file; none of them changes it."""

    database: Database

    def missing_guards(self) -> tuple[str, ...]:
        """Return the names of the triggers that keep the journal as it is and are missing or changed."""
        rows = self.database.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'")
        found = {row[0]: row[1] for row in rows}
        return tuple(name for name, sql in JOURNAL_GUARDS.items() if found.get(name) != sql)

    def misplaced_versions(self, limit: int) -> tuple[tuple[str, str], ...]:
        """Return ids of versions whose interval is empty, overlaps the next or has no entity, each with its fault."""
        rows = self.database.execute(
            "SELECT version_id, CASE WHEN next IS NULL THEN 'it belongs to no entity'"
            " WHEN invalidated_at_unix_ms <= recorded_at_unix_ms THEN 'its interval is empty'"
            " ELSE 'its interval overlaps the one after it' END FROM"
            " (SELECT number, version_id, recorded_at_unix_ms, invalidated_at_unix_ms,"
            "  coalesce(lead(recorded_at_unix_ms) OVER (PARTITION BY entity ORDER BY recorded_at_unix_ms, number),"
            "   (SELECT e.recorded_at_unix_ms FROM entities e WHERE e.number = entity)) AS next FROM versions)"
            " WHERE next IS NULL OR invalidated_at_unix_ms <= recorded_at_unix_ms OR invalidated_at_unix_ms > next"
            " ORDER BY number LIMIT ?",
            (limit,),
        )
        return tuple((row[0], row[1]) for row in rows)

    def orphaned_events(self) -> int:
        """Count the journal rows that name an entity which does not exist."""
        return int(
            self.database.execute(
                "SELECT count(*) FROM journal j WHERE entity_id <> ''"
                " AND NOT EXISTS (SELECT 1 FROM entities e WHERE e.id = j.entity_id)"
            ).get
        )

    def orphaned_links(self) -> int:
        """Count the links whose source or target does not exist."""
        return int(
            self.database.execute(
                "SELECT count(*) FROM links l WHERE NOT EXISTS (SELECT 1 FROM entities e WHERE e.id = l.target_id)"
                " OR NOT EXISTS (SELECT 1 FROM entities e WHERE e.number = l.source)"
            ).get
        )
