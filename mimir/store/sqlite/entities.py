"""Entities and their versions as rows."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from mimir.model import Entity, Filter, Passage, Stored, Traits, Version, is_live
from mimir.progress import report
from mimir.store.codec import (
    BODY_COLUMNS,
    COLUMNS,
    entity_row,
    links_as_text,
    opened_body,
    stored_from_row,
    version_from_row,
)
from mimir.store.sqlite.filters import conditions
from mimir.store.sqlite.graph import LinkRows
from mimir.store.sqlite.passages import PassageRows, Span
from mimir.store.sqlite.text import IndexRow, index_rows, table_for

_NAMES: Final = ", ".join(COLUMNS)
_E_NAMES: Final = ", ".join(f"e.{name}" for name in COLUMNS)
_V_NAMES: Final = ", ".join(f"v.{name}" for name in COLUMNS)
_E_BODY: Final = ", ".join(f"e.{name}" for name in BODY_COLUMNS)
_MARKS: Final = ", ".join("?" * len(COLUMNS))
_INSERT: Final = f"INSERT INTO entities ({_NAMES}) VALUES ({_MARKS})"
_INSERT_NEW: Final = f"INSERT OR IGNORE INTO entities (number, {_NAMES}) VALUES (?, {_MARKS})"
UPDATE_LAYER: Final = "UPDATE entities SET layer = ? WHERE number = ? AND layer <> ?"
"""Most writes of a layer change nothing; naming the column in others would move entries of its index all the same."""

_UPDATE: Final = f"UPDATE entities SET ({_NAMES}) = ({_MARKS}) WHERE number = ?"
_INSERT_VERSION: Final = f"""
INSERT INTO versions (entity, {_NAMES}, version_id, links, invalidated_at_unix_ms, superseded_by, amended)
VALUES (?, {_MARKS}, ?, ?, ?, ?, ?)
"""
_VERSION_NAMES: Final = f"{_V_NAMES}, v.version_id, v.links, v.invalidated_at_unix_ms, v.superseded_by, v.amended"

_INSERT_TEXT: Final = "INSERT INTO {} (rowid, key, text, tags, topic) VALUES (?, ?, ?, ?, ?)"

BROWSE_ORDER: Final = "e.retrieval_count DESC, e.last_accessed_unix_ms DESC, e.id"
_LAST_CHARACTER: Final = "\U0010ffff"


class EntityRows(PassageRows, LinkRows):
    """The entity and version tables of one store file."""

    def find(self, category: str, key: str, workspace_hash: str | None) -> tuple[Stored, ...]:
        """Return the entities of this category and key, archived ones too; of all workspaces when None."""
        sql = f"SELECT number, {_NAMES} FROM entities WHERE key = ? AND category = ?"
        if workspace_hash is None:
            return self._stored(sql + " ORDER BY workspace_hash", (key, category))
        return self._stored(sql + " AND workspace_hash = ?", (key, category, workspace_hash))

    def get(self, entity_id: str) -> Stored | None:
        """Return the entity with this id, archived or not."""
        found = self._stored(
            f"SELECT number, {_NAMES} FROM entities WHERE id = ?",
            (entity_id,),
        )
        return found[0] if found else None

    def load(self, numbers: Iterable[int]) -> dict[int, Stored]:
        """Return entities by their numbers; missing ones are left out."""
        found = self._stored(
            f"SELECT number, {_NAMES} FROM entities WHERE number IN (SELECT value FROM json_each(?))",
            (json.dumps(list(numbers)),),
        )
        return {stored.number: stored for stored in found}

    def load_versions(self, numbers: Iterable[int]) -> dict[int, tuple[int, Version]]:
        """Return versions by their numbers, each with the number of its entity."""
        rows = self.database.execute(
            f"SELECT v.number, v.entity, {_VERSION_NAMES} FROM versions v"
            " WHERE v.number IN (SELECT value FROM json_each(?))",
            (json.dumps(list(numbers)),),
        )
        seal = self.database.seal
        return {row[0]: (row[1], version_from_row(row[2:], seal)) for row in rows}

    def traits(self, numbers: Iterable[int]) -> dict[int, Traits]:
        """Return what ranking looks at in entities; missing ones are left out."""
        rows = self.database.execute(
            "SELECT number, id, topic_path, workspace_hash, certainty, verified, decay_score, created_at_unix_ms"
            " FROM entities WHERE number IN (SELECT value FROM json_each(?))",
            (json.dumps(list(numbers)),),
        )
        return {
            row[0]: Traits(
                id=row[1],
                topic_path=row[2],
                workspace_hash=row[3],
                certainty=row[4],
                verified=bool(row[5]),
                decay_score=row[6],
                created_at_unix_ms=row[7],
            )
            for row in rows
        }

    def browse(self, filter_: Filter, limit: int, offset: int) -> tuple[Stored, ...]:
        """Return the entities that pass a filter, most retrieved first, then latest used, then by id."""
        where, bindings = conditions(filter_)
        return self._stored(
            f"SELECT e.number, {_E_NAMES} FROM entities e WHERE {where} ORDER BY {BROWSE_ORDER} LIMIT ? OFFSET ?",
            (*bindings, limit, offset),
        )

    def scan(self, filter_: Filter, *, batch: int = 1_000) -> Iterator[tuple[Stored, ...]]:
        """Yield all entities that pass a filter in batches, in the order they were first recorded."""
        where, bindings = conditions(filter_)
        last = 0
        while True:
            found = self._stored(
                f"SELECT e.number, {_E_NAMES} FROM entities e WHERE {where} AND e.number > ? ORDER BY e.number LIMIT ?",
                (*bindings, last, batch),
            )
            if not found:
                return
            last = found[-1].number
            yield found

    def with_triggers(self, filter_: Filter, limit: int) -> tuple[Stored, ...]:
        """Return the entities whose body speaks of recall_when and that pass a filter, the strongest first."""
        where, bindings = conditions(filter_)
        return self._stored(
            f"SELECT e.number, {_E_NAMES} FROM entities e"
            f" WHERE e.has_triggers = 1 AND {where}"
            " ORDER BY e.decay_score DESC, e.retrieval_count DESC, e.id LIMIT ?",
            (*bindings, limit),
        )

    def passing(self, filter_: Filter, numbers: Iterable[int]) -> set[int]:
        """Return those of the given entity numbers that pass a filter."""
        where, bindings = conditions(filter_)
        rows = self.database.execute(
            f"SELECT e.number FROM json_each(?) j CROSS JOIN entities e ON e.number = j.value WHERE {where}",
            (json.dumps(list(numbers)), *bindings),
        )
        return {row[0] for row in rows}

    def bodies(self, filter_: Filter, numbers: Iterable[int]) -> dict[int, str]:
        """Return the bodies of those of the given entity numbers that pass a filter."""
        where, bindings = conditions(filter_)
        rows = self.database.execute(
            f"SELECT e.number, {_E_BODY} FROM json_each(?) j CROSS JOIN entities e ON e.number = j.value WHERE {where}",
            (json.dumps(list(numbers)), *bindings),
        )
        seal = self.database.seal
        return {row[0]: opened_body(row[1:], seal) for row in rows}

    def with_key(self, key: str, filter_: Filter, limit: int) -> tuple[int, ...]:
        """Return the numbers of the entities whose key is exactly this and that pass a filter."""
        where, bindings = conditions(filter_)
        rows = self.database.execute(
            f"SELECT e.number FROM entities e WHERE e.category IN (SELECT category FROM scopes) AND e.key = ?"
            f" AND {where} ORDER BY e.id LIMIT ?",
            (key, *bindings, limit),
        )
        return tuple(row[0] for row in rows)

    def keys_from(self, beginning: str, filter_: Filter, limit: int) -> tuple[str, ...]:
        """Return the keys that begin so of entities that pass a filter, each once, in their order."""
        where, bindings = conditions(filter_)
        rows = self.database.execute(
            f"SELECT DISTINCT e.key FROM entities e WHERE e.category IN (SELECT category FROM scopes)"
            f" AND e.key >= ? AND e.key < ? AND {where} ORDER BY e.key LIMIT ?",
            (beginning, beginning + _LAST_CHARACTER, *bindings, limit),
        )
        return tuple(row[0] for row in rows)

    def neighbours(self, numbers: Iterable[int]) -> dict[int, tuple[int, ...]]:
        """Return, for each entity with a topic path, those recorded just before and just after it on the same path."""
        beside = "SELECT n.number FROM entities n WHERE n.topic_path = e.topic_path AND n.topic_path <> ''"
        beside += " AND n.workspace_hash = e.workspace_hash AND n.number"
        rows = self.database.execute(
            f"SELECT e.number, ({beside} < e.number ORDER BY n.number DESC LIMIT 1),"
            f" ({beside} > e.number ORDER BY n.number LIMIT 1)"
            " FROM entities e WHERE e.number IN (SELECT value FROM json_each(?)) AND e.topic_path <> ''",
            (json.dumps(list(numbers)),),
        )
        return {row[0]: tuple(number for number in row[1:] if number is not None) for row in rows}

    def insert(self, entity: Entity, text: str, passages: Sequence[Passage], marks: Sequence[int] = ()) -> int:
        """Add an entity with its indexed text, its passages pending for vectors, and its marks; return its number."""
        connection = self.database.connection
        stored = Stored(number=0, entity=entity, passages=len(passages))
        connection.execute(_INSERT, entity_row(stored, self.database.seal))
        number = connection.last_insert_rowid()
        self._add_passages(number, entity, text, passages)
        if marks:
            self.add_marks(number, marks)
        return number

    def insert_new(
        self,
        entities: Sequence[Entity],
        texts: Sequence[str],
        passages: Sequence[Sequence[Passage]],
    ) -> list[int]:
        """Add many entities in one sweep; return the positions of those whose identity was taken, which are not added.

        Several times quicker than one by one, since each table is filled in its own order.
        """
        connection = self.database.connection
        seal = self.database.seal
        first = self.next_number("entities")
        connection.executemany(
            _INSERT_NEW,
            (
                (number, *entity_row(Stored(number=number, entity=entity, passages=len(split)), seal))
                for number, (entity, split) in enumerate(zip(entities, passages, strict=True), start=first)
            ),
        )
        rows = connection.execute("SELECT number FROM entities WHERE number >= ?", (first,))
        taken = set(range(len(entities))) - {row[0] - first for row in rows}
        passage = self.next_number("passages")
        index: dict[bool, list[IndexRow]] = {True: [], False: []}
        spans: list[Span] = []
        scope_number = functools.cache(self.scope_number)
        for at, (entity, text, split) in enumerate(zip(entities, texts, passages, strict=True)):
            if at in taken:
                continue
            index[is_live(entity)] += index_rows(passage, entity, text, split)
            scope = scope_number(entity.workspace_hash, entity.category)
            for part in split:
                spans.append((passage, first + at, scope, part.start, part.length))
                passage += 1
        self._fill(spans, index)
        return sorted(taken)

    def update(self, stored: Stored) -> None:
        """Write every field of an entity; its index, passages and links stay as they are."""
        self.database.execute(_UPDATE, (*entity_row(stored, self.database.seal), stored.number))

    def update_use(self, number: int, entity: Entity) -> None:
        """Write only what the use of an entity changes: count, time, strength and layer."""
        self.database.execute(
            "UPDATE entities SET retrieval_count = ?, last_accessed_unix_ms = ?, decay_score = ? WHERE number = ?",
            (entity.retrieval_count, entity.last_accessed_unix_ms, entity.decay_score, number),
        )
        self.database.execute(UPDATE_LAYER, (entity.layer, number, entity.layer))

    def add_version(self, stored: Stored, version: Version) -> int:
        """Append a closed version of an entity and return the version's number."""
        connection = self.database.connection
        connection.execute(
            _INSERT_VERSION,
            (
                stored.number,
                *entity_row(stored, self.database.seal, version.version_id),
                version.version_id,
                links_as_text(version.entity.links),
                version.invalidated_at_unix_ms,
                version.superseded_by,
                1 if version.amended else 0,
            ),
        )
        return connection.last_insert_rowid()

    def versions(self, number: int, limit: int = -1, offset: int = 0) -> tuple[Version, ...]:
        """Return the closed versions of an entity, newest first."""
        rows = self.database.execute(
            f"SELECT {_VERSION_NAMES} FROM versions v WHERE v.entity = ?"
            " ORDER BY v.recorded_at_unix_ms DESC, v.number DESC LIMIT ? OFFSET ?",
            (number, limit, offset),
        )
        seal = self.database.seal
        return tuple(version_from_row(row, seal) for row in rows)

    def count_versions(self, number: int) -> int:
        """Return how many closed versions an entity has."""
        return int(self.database.execute("SELECT count(*) FROM versions WHERE entity = ?", (number,)).get)

    def marked(self, marks: Sequence[int], limit: int) -> tuple[int, ...]:
        """Return the numbers of ``limit`` entities that share most marks, then the newest, of the newest per mark."""
        newest = "SELECT * FROM (SELECT entity FROM sketches WHERE mark = ? ORDER BY entity DESC LIMIT ?)"
        rows = self.database.execute(
            " UNION ALL ".join([newest] * len(marks)), tuple(value for mark in marks for value in (mark, 2 * limit))
        )
        found = [row[0] for row in rows]
        return tuple(sorted(set(found), key=lambda number: (-found.count(number), -number))[:limit])

    def add_marks(self, number: int, marks: Sequence[int]) -> None:
        """Add the marks of an entity's text."""
        self.database.execute_many("INSERT OR IGNORE INTO sketches VALUES (?, ?)", [(mark, number) for mark in marks])

    def remove_marks(self, number: int, marks: Sequence[int]) -> None:
        """Remove marks of an entity's former text."""
        self.database.execute_many(
            "DELETE FROM sketches WHERE mark = ? AND entity = ?", [(mark, number) for mark in marks]
        )

    def replace_text(
        self,
        number: int,
        version: int,
        former: tuple[Entity, str],
        entity: Entity,
        text: str,
        passages: Sequence[Passage],
    ) -> None:
        """Give an entity a new text; the former one with its passages and vectors goes over to ``version``."""
        self._reindex_owner(number, *former, live=False)
        self.database.execute("UPDATE passages SET owner = ? WHERE owner = ?", (-version, number))
        self._add_passages(number, entity, text, passages)

    def set_live(self, number: int, entity: Entity, text: str, *, live: bool) -> None:
        """Move an entity's text into the index of live memories, or into that of past ones."""
        self._reindex_owner(number, entity, text, live=live)

    def rebuild_index(self, text_of: Callable[[Entity], str]) -> int:
        """Empty both text indexes and fill them again from the rows; return the number of live entities indexed."""
        for live in (True, False):
            self.database.execute(f"DELETE FROM {table_for(live=live)}")
        live_count = done = 0
        total = int(
            self.database.execute("SELECT (SELECT count(*) FROM entities) + (SELECT count(*) FROM versions)").get
        )
        everything = Filter(include_archived=True, every_caller=True)
        for batch in self.scan(everything):
            done += len(batch)
            report(done, total)
            for stored in batch:
                live = is_live(stored.entity)
                live_count += live
                self._index_owner(stored.number, stored.entity, text_of(stored.entity), live=live)
        last = 0
        while True:
            rows = self.database.execute(
                f"SELECT v.number, {_VERSION_NAMES} FROM versions v WHERE v.number > ? ORDER BY v.number LIMIT 1000",
                (last,),
            ).fetchall()
            if not rows:
                return live_count
            last = rows[-1][0]
            done += len(rows)
            report(done, total)
            for row in rows:
                entity = version_from_row(row[1:], self.database.seal).entity
                self._index_owner(-row[0], entity, text_of(entity), live=False)

    def _add_passages(self, number: int, entity: Entity, text: str, passages: Sequence[Passage]) -> None:
        first = self.next_number("passages")
        scope = self.scope_number(entity.workspace_hash, entity.category)
        spans = [
            (passage, number, scope, part.start, part.length) for passage, part in enumerate(passages, start=first)
        ]
        self._fill(spans, {is_live(entity): index_rows(first, entity, text, passages)})

    def _fill(self, spans: Sequence[Span], index: Mapping[bool, Sequence[IndexRow]]) -> None:
        connection = self.database.connection
        connection.executemany("INSERT INTO passages VALUES (?, ?, ?, ?, ?)", spans)
        if spans:
            connection.execute("INSERT INTO pending SELECT id, 0 FROM passages WHERE id >= ?", (spans[0][0],))
        for live, rows in index.items():
            connection.executemany(_INSERT_TEXT.format(table_for(live=live)), rows)

    def _reindex_owner(self, owner: int, entity: Entity, text: str, *, live: bool) -> None:
        ids = [(passage,) for passage, _ in self.passages_of(owner)]
        for table in (table_for(live=True), table_for(live=False)):
            self.database.execute_many(f"DELETE FROM {table} WHERE rowid = ?", ids)
        self._index_owner(owner, entity, text, live=live)

    def _index_owner(self, owner: int, entity: Entity, text: str, *, live: bool) -> None:
        parts = self.passages_of(owner)
        if parts:
            self.database.execute_many(
                _INSERT_TEXT.format(table_for(live=live)),
                index_rows(parts[0][0], entity, text, [part for _, part in parts]),
            )

    def _stored(self, sql: str, bindings: tuple[Any, ...]) -> tuple[Stored, ...]:
        rows = self.database.execute(sql, bindings).fetchall()
        if not rows:
            return ()
        links = self.links(row[0] for row in rows)
        seal = self.database.seal
        return tuple(stored_from_row(row[0], row[1:], seal, links.get(row[0], ())) for row in rows)
