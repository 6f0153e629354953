"""What comes into a store file from another, with its past; and a file of the Rust Mimir made one of ours in place."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from mimir.model import Event, StateEntry, Stored, Whole
from mimir.rules.chain import GENESIS, chain_hash, commitment
from mimir.rules.similarity import sketch
from mimir.store.sqlite.connection import Database
from mimir.store.sqlite.entities import EntityRows
from mimir.store.sqlite.journal import JournalRows
from mimir.store.sqlite.original import PUT_ASIDE, Original, columns
from mimir.store.sqlite.passages import Span
from mimir.store.sqlite.text import IndexRow, index_rows

_ASIDE: Final = "original_"
_TEXT_INDEX: Final = "entities_fts"
# What only served to find what is read. Tables that nobody here knows stay.
_DERIVED: Final = ("communities", "dedup_signatures", "dedup_signature_blobs")
CONVERTED_BATCH: Final = 2_000


class Filling(EntityRows, JournalRows):
    """What is brought into a store file from another."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def add(self, wholes: Sequence[Whole]) -> int:
        """Add memories with their past and return how many; one that is there already is left as it is.

        One whose category and key another memory holds gets a key of its own: nothing is lost.
        """
        first = self.next_number("entities")
        taken = self.insert_new(
            [whole.stored.entity for whole in wholes],
            [whole.text for whole in wholes],
            [whole.passages for whole in wholes],
        )
        added = {first + place: whole for place, whole in enumerate(wholes) if place not in set(taken)}
        for place in taken:
            number = self._add_beside(wholes[place])
            if number is not None:
                added[number] = wholes[place]
        self._add_traits(added)
        self._add_past(added)
        return len(added)

    def add_events(self, events: Iterable[Event]) -> int:
        """Append events to the journal and its chain, those left out that are there already; return how many."""
        highest, last, former = self.journal_end()
        sequence, count = max(highest, last), 0
        for event in events:
            if self.database.execute("SELECT 1 FROM journal WHERE id = ?", (event.id,)).fetchone() is not None:
                continue
            sequence += 1
            count += 1
            key = self.chain_key(sequence)
            chained = msgspec.structs.replace(
                event, sequence=sequence, payload_commitment=commitment(event.payload or "", key)
            )
            former = chain_hash(former or GENESIS, chained, key)
            self.add_event(msgspec.structs.replace(chained, audit_hash=former))
        return count

    def add_state(self, entries: Iterable[StateEntry]) -> None:
        """Add state entries whose keys are free."""
        self.database.execute_many(
            "INSERT OR IGNORE INTO state (key, value_json, expires_at_unix_ms, created_at_unix_ms) VALUES (?, ?, ?, ?)",
            [(entry.key, entry.value_json, entry.expires_at_unix_ms, entry.created_at_unix_ms) for entry in entries],
        )

    def _add_beside(self, whole: Whole) -> int | None:
        entity = whole.stored.entity
        if self.get(entity.id) is not None:
            return None
        (held,) = self.find(entity.category, entity.key, entity.workspace_hash)
        key = f"{entity.key}~{entity.id}"
        if held.entity.body_json == entity.body_json or self.find(entity.category, key, entity.workspace_hash):
            return None
        return self.insert(msgspec.structs.replace(entity, key=key), whole.text, whole.passages)

    def _add_traits(self, added: Mapping[int, Whole]) -> None:
        """Add what a new entity has not: a floor, a time of leaving, links, and marks for what resembles it."""
        self.database.execute_many(
            "UPDATE entities SET score_floor = ?, archived_at_unix_ms = ? WHERE number = ?",
            [
                (whole.stored.score_floor, whole.stored.archived_at_unix_ms, number)
                for number, whole in added.items()
                if (whole.stored.score_floor, whole.stored.archived_at_unix_ms) != (None, None)
            ],
        )
        self.database.execute_many(
            "INSERT OR IGNORE INTO links VALUES (?, ?, ?, ?, ?)",
            [
                (number, link.target_id, link.relationship, link.weight, whole.stored.entity.recorded_at_unix_ms)
                for number, whole in added.items()
                for link in whole.stored.entity.links
            ],
        )
        marks = [(mark, number) for number, whole in added.items() for mark in _marks(whole)]
        self.database.execute_many("INSERT OR IGNORE INTO sketches VALUES (?, ?)", sorted(marks))

    def _add_past(self, added: Mapping[int, Whole]) -> None:
        spans: list[Span] = []
        rows: list[IndexRow] = []
        passage = self.next_number("passages")
        ids = [past.version.version_id for whole in added.values() for past in whole.past]
        known = set(
            self.database.execute(
                "SELECT version_id FROM versions WHERE version_id IN (SELECT value FROM json_each(?))",
                (json.dumps(ids),),
            )
        )
        for number, whole in added.items():
            for past in whole.past:
                version = past.version
                if (version.version_id,) in known:
                    continue
                stored = Stored(
                    number=number,
                    entity=version.entity,
                    passages=max(1, len(past.passages)),
                    archived_at_unix_ms=version.archived_at_unix_ms,
                )
                owner = -self.add_version(stored, version)
                if not past.passages:
                    continue
                rows += index_rows(passage, version.entity, past.text, past.passages)
                scope = self.scope_number(version.entity.workspace_hash, version.entity.category)
                for part in past.passages:
                    spans.append((passage, owner, scope, part.start, part.length))
                    passage += 1
        if spans:
            self._fill(spans, {False: rows})


def convert(database: Database, create: Callable[[], None]) -> None:
    """Turn a file of the Rust Mimir into one of the present schema, inside the transaction that is open.

    ``create`` makes the tables of the present schema.
    """
    connection = database.connection
    for table in PUT_ASIDE:
        if columns(connection, table):
            connection.execute(f"ALTER TABLE {table} RENAME TO {_ASIDE}{table}")
    create()
    filling = Filling(database)
    original = Original(connection, database.path, aside=_ASIDE, keys=database.keys)
    for wholes in original.memories(CONVERTED_BATCH):
        filling.add(wholes)
    # Until the file is written anew its free pages keep the words of the tables that are dropped here.
    connection.execute("INSERT INTO unswept DEFAULT VALUES")
    filling.add_events(original.events())
    filling.add_state(original.state())
    original.drop()
    for table in (_TEXT_INDEX, *_DERIVED):
        connection.execute(f"DROP TABLE IF EXISTS {table}")


def _marks(whole: Whole) -> tuple[int, ...]:
    entity = whole.stored.entity
    return sketch(whole.text, entity.category, entity.workspace_hash)
