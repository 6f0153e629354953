"""What the passes over all memories read and write, in sweeps of plain rows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from mimir.model import Entity, Filter, Passage
from mimir.rules.layers import Trace
from mimir.store.sqlite.connection import Database
from mimir.store.sqlite.entities import UPDATE_LAYER
from mimir.store.sqlite.filters import conditions
from mimir.store.sqlite.text import index_rows, table_for

_UPDATE = "UPDATE entities SET decay_score = ?, fading_from_unix_ms = ?"
_ARCHIVE = ", layer = ?, archived = 1, last_accessed_unix_ms = ?, archive_reason = ?, archived_at_unix_ms = ?"


class LifecycleRows:
    """Strength, layer and archival of the entities of one store file."""

    database: Database

    def change_mark(self) -> tuple[int, int]:
        """Return a mark that is another one as soon as anything in the file may have changed."""
        connection = self.database.connection
        return int(self.database.execute("PRAGMA data_version").get), connection.total_changes()

    def traces(self, after: int, limit: int) -> list[Trace]:
        """Return the next entities by number that are not archived, as the passes look at them."""
        rows = self.database.execute(
            "SELECT number, category, decay_score, layer, retrieval_count, verified, always_on, score_floor,"
            " created_at_unix_ms, last_accessed_unix_ms, fading_from_unix_ms FROM entities"
            " WHERE number > ? AND archived = 0 ORDER BY number LIMIT ?",
            (after, limit),
        )
        return [Trace(*row) for row in rows]

    def write_traces(self, traces: Iterable[Trace]) -> None:
        """Write strength and layer of entities, and from when they fade."""
        written = list(traces)
        self.database.execute_many(
            _UPDATE + " WHERE number = ?", ((one.strength, one.fading_from_ms, one.number) for one in written)
        )
        self.database.execute_many(UPDATE_LAYER, ((one.layer, one.number, one.layer) for one in written))

    def archive_traces(self, traces: Iterable[Trace], now_ms: int) -> None:
        """Write strength and layer of entities and archive them, each for its reason; their text is left to move."""
        leaving = list(traces)
        self.database.execute_many(
            _UPDATE + _ARCHIVE + " WHERE number = ?",
            (
                (one.strength, one.fading_from_ms, one.layer, one.last_accessed_ms, one.reason, now_ms, one.number)
                for one in leaving
            ),
        )
        self.database.execute_many("INSERT OR IGNORE INTO leaving VALUES (?)", ((one.number,) for one in leaving))

    def take_leaving(self, limit: int) -> tuple[int, ...]:
        """Return entities archived by a pass whose text is still among that of live ones, and no longer list them."""
        rows = self.database.execute(
            "DELETE FROM leaving WHERE entity IN (SELECT entity FROM leaving ORDER BY entity LIMIT ?) RETURNING entity",
            (limit,),
        )
        return tuple(row[0] for row in rows)

    def move_to_past(self, entities: Mapping[int, Entity], texts: Mapping[int, str]) -> None:
        """Move the texts of entities into the index of past ones."""
        parts: dict[int, list[tuple[int, Passage]]] = {}
        for owner, passage, start, length in self.database.execute(
            "SELECT owner, id, start, length FROM passages WHERE owner IN (SELECT value FROM json_each(?)) ORDER BY id",
            (json.dumps(list(entities)),),
        ):
            parts.setdefault(owner, []).append((passage, Passage(start=start, length=length)))
        ids = [(passage,) for split in parts.values() for passage, _ in split]
        for table in (table_for(live=True), table_for(live=False)):
            self.database.execute_many(f"DELETE FROM {table} WHERE rowid = ?", ids)
        self.database.execute_many(
            f"INSERT INTO {table_for(live=False)} (rowid, key, text, tags, topic) VALUES (?, ?, ?, ?, ?)",
            (
                row
                for number, split in parts.items()
                for row in index_rows(split[0][0], entities[number], texts[number], [part for _, part in split])
            ),
        )

    def tagged_by_use(self, filter_: Filter, limit: int) -> tuple[int, ...]:
        """Return the entities with tags that pass a filter, the last used first, then the newest."""
        where, bindings = conditions(filter_)
        rows = self.database.execute(
            f"SELECT e.number FROM entities e WHERE e.tags <> '[]' AND {where}"
            " ORDER BY e.last_accessed_unix_ms DESC, e.number DESC LIMIT ?",
            (*bindings, limit),
        )
        return tuple(row[0] for row in rows)

    def size_bytes(self) -> int:
        """Return the size of the file as it is once the log is folded in."""
        return int(self.database.execute("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size").get)
