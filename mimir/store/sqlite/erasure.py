"""Erasing for good: rows, then every trace of them in the text index, in free pages and in the log."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Final

from mimir.model import Erased
from mimir.store.sqlite.connection import Database

_MERGED_PAGES: Final = 64
"""Index pages that one step of a merge writes: about 20 ms."""

_MARKS_SWEPT: Final = 20_000
_HIGHEST_MARK: Final = 2**32 - 1

_ABOUT: Final = """
 FROM entities e JOIN journal j ON {join} WHERE e.archived = 1 AND j.payload IS NOT NULL AND {partial}
"""
_BY_ID: Final = _ABOUT.format(join="j.entity_id = e.id", partial="j.entity_id <> ''")
_BY_NAME: Final = _ABOUT.format(
    join="(j.key, j.category, j.workspace_hash) = (e.key, e.category, e.workspace_hash)", partial="j.key <> ''"
)
# The second halves repeat the conditions of the partial indexes, which are not used otherwise.
_BLANK_BY_ID: Final = (
    "UPDATE journal SET payload = NULL WHERE entity_id = ? AND entity_id <> '' AND payload IS NOT NULL"
)
_BLANK_BY_NAME: Final = (
    "UPDATE journal SET payload = NULL"
    " WHERE (key, category, workspace_hash) = (?, ?, ?) AND key <> '' AND payload IS NOT NULL"
)


class Erasure:
    """What removes entities from one store file, and its pages of what was removed."""

    database: Database

    def archived(self) -> tuple[int, ...]:
        """Return the numbers of all archived entities."""
        return tuple(row[0] for row in self.database.execute("SELECT number FROM entities WHERE archived = 1"))

    def count_erasable(self) -> Erased:
        """Count what `erase` would remove of all archived entities."""
        count = self.database.execute
        return Erased(
            entities=count("SELECT count(*) FROM entities WHERE archived = 1").get,
            versions=count(
                "SELECT count(*) FROM versions v JOIN entities e ON e.number = v.entity WHERE e.archived = 1"
            ).get,
            payloads=count(f"SELECT count(*) FROM (SELECT j.sequence{_BY_ID} UNION SELECT j.sequence{_BY_NAME})").get,
        )

    def erase(self, numbers: Sequence[int]) -> Erased:
        """Remove those of the given entities that are archived, with all that belongs to them, and count it.

        Journal rows about them keep their hashes and lose their payloads. Until `note_swept`, the file says that
        their words may still be found in it.
        """
        connection = self.database.connection
        connection.execute("PRAGMA secure_delete=ON")
        subjects = connection.execute(
            "SELECT number, id, key, category, workspace_hash FROM entities"
            " WHERE archived = 1 AND number IN (SELECT value FROM json_each(?))",
            (json.dumps(list(numbers)),),
        ).fetchall()
        if not subjects:
            return Erased(entities=0, versions=0, payloads=0)
        entities = json.dumps([row[0] for row in subjects])
        connection.execute("INSERT INTO unswept DEFAULT VALUES")
        before = connection.total_changes()
        connection.executemany(_BLANK_BY_ID, ((row[1],) for row in subjects))
        connection.executemany(_BLANK_BY_NAME, (row[2:] for row in subjects))
        payloads = connection.total_changes() - before
        chosen = "(SELECT value FROM json_each(?))"
        owned = (
            f"SELECT id FROM passages WHERE owner IN {chosen}"
            f" OR owner IN (SELECT -number FROM versions WHERE entity IN {chosen})"
        )
        passages = json.dumps([row[0] for row in connection.execute(owned, (entities, entities))])
        for table, column in (
            ("passage_text", "rowid"),
            ("past_text", "rowid"),
            ("vectors", "passage"),
            ("pending", "passage"),
            ("passages", "id"),
        ):
            connection.execute(f"DELETE FROM {table} WHERE {column} IN {chosen}", (passages,))
        connection.execute(f"DELETE FROM versions WHERE entity IN {chosen}", (entities,))
        versions = connection.changes()
        connection.execute(
            f"DELETE FROM links WHERE target_id IN {chosen}", (json.dumps([row[1] for row in subjects]),)
        )
        for table, column in (("links", "source"), ("leaving", "entity"), ("entities", "number")):
            connection.execute(f"DELETE FROM {table} WHERE {column} IN {chosen}", (entities,))
        return Erased(entities=len(subjects), versions=versions, payloads=payloads)

    def unswept(self) -> int:
        """Return the number of the latest erasure of which words may still be in the file, or 0."""
        return int(self.database.execute("SELECT coalesce(max(number), 0) FROM unswept").get)

    def note_swept(self, number: int) -> None:
        """Note that no words are left of the erasures up to a number."""
        self.database.execute("DELETE FROM unswept WHERE number <= ?", (number,))

    def sweep_index(self) -> None:
        """Remove the terms of erased passages from both text indexes, in short transactions of its own.

        Deleting a row of an index without content only marks it as deleted: its terms stay in the segments until
        these are merged.
        """
        for table in ("passage_text", "past_text"):
            # A negative number begins to merge all segments into one, positive ones go on with it.
            pages = -_MERGED_PAGES
            while True:
                with self.database.writing() as connection:
                    before = connection.total_changes()
                    connection.execute(f"INSERT INTO {table}({table}, rank) VALUES ('merge', ?)", (pages,))
                    # One change is the command itself: nothing was left to merge.
                    done = connection.total_changes() - before <= 1
                if done:
                    break
                pages = _MERGED_PAGES

    def sweep_marks(self) -> None:
        """Remove the similarity marks of erased entities and the scopes that are empty, in transactions of its own."""
        first = -1
        while first <= _HIGHEST_MARK:
            with self.database.writing() as connection:
                row = connection.execute(
                    "SELECT mark FROM sketches WHERE mark > ? ORDER BY mark LIMIT 1 OFFSET ?", (first, _MARKS_SWEPT)
                ).fetchone()
                last = _HIGHEST_MARK + 1 if row is None else row[0]
                connection.execute(
                    "DELETE FROM sketches WHERE mark > ? AND mark <= ?"
                    " AND NOT EXISTS (SELECT 1 FROM entities WHERE number = entity)",
                    (first, last),
                )
            first = last
        with self.database.writing() as connection:
            connection.execute(
                "DELETE FROM scopes WHERE number NOT IN (SELECT scope FROM passages) AND NOT EXISTS"
                " (SELECT 1 FROM entities e WHERE (e.category, e.workspace_hash)"
                " = (scopes.category, scopes.workspace_hash))"
            )

    def vacuum(self) -> None:
        """Write the file anew without free pages; writers wait meanwhile."""
        self.database.execute("VACUUM")

    def truncate_log(self, patience_s: float) -> bool:
        """Fold the log into the file and empty it; tell whether no reader kept it for longer than ``patience_s``."""
        with self.database.waiting_at_most(patience_s):
            return not self.database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()[0][0]

    def file_size(self) -> int:
        """Return how many bytes the file and its log take."""
        log = self.database.path + "-wal"
        return os.path.getsize(self.database.path) + (os.path.getsize(log) if os.path.exists(log) else 0)

    def copies(self) -> tuple[str, ...]:
        """Return the paths of files beside the store that are named as its copies: its name, a dot, and more."""
        folder, name = os.path.split(os.path.abspath(self.database.path))
        return tuple(os.path.join(folder, one) for one in sorted(os.listdir(folder)) if one.startswith(name + "."))
