"""Files that the Rust Mimir wrote: recognised, read as our model, and converted in place.

A file of 2.x has the tables entities, entity_history, journal and state, one of 0.1 the table memories. Columns are
read by name: an upgraded file has them in another order, an older one lacks some.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

import apsw
import msgspec

from mimir.crypto import LEAST_SEALED_BYTES, Keys, bound_as_early_original, bound_as_original
from mimir.errors import Locked, StorageFailure
from mimir.model import Entity, Event, Json, Link, Past, StateEntry, Stored, Version, Whole
from mimir.rules.chain import GENESIS, SALT_BYTES, chain_hash, commitment, write_payload
from mimir.rules.layers import canonical_layer
from mimir.rules.similarity import sketch
from mimir.rules.text import searchable_text, split_passages
from mimir.store.codec import UNREADABLE
from mimir.store.sqlite.connection import Database
from mimir.store.sqlite.entities import EntityRows
from mimir.store.sqlite.journal import JournalRows
from mimir.store.sqlite.passages import Span
from mimir.store.sqlite.text import IndexRow, index_rows

NEWEST_FORMAT: Final = 15
"""The last user_version of the Rust Mimir whose tables are known."""

_ENTITY: Final = (
    "id",
    "category",
    "key",
    "body_json",
    "status",
    "type",
    "tags",
    "decay_score",
    "retrieval_count",
    "layer",
    "topic_path",
    "archived",
    "archive_reason",
    "links",
    "verified",
    "source",
    "created_at_unix_ms",
    "last_accessed_unix_ms",
    "always_on",
    "certainty",
    "workspace_hash",
    "agent_id",
    "visibility",
    "valid_from_unix_ms",
    "valid_to_unix_ms",
    "recorded_at_unix_ms",
    "importance",
)
_HISTORY: Final = (*_ENTITY, "history_id", "invalidated_at_unix_ms", "superseded_by")
_SAID: Final = ("evaluated_json", "acted_json", "forward_json")
_EVENT: Final = (
    *_SAID,
    "id",
    "event_type",
    "category",
    "key",
    "entity_id",
    "agent_id",
    "workspace_hash",
    "audit_hash",
    "created_at_unix_ms",
)
_STATE: Final = ("key", "value_json", "expires_at_unix_ms", "created_at_unix_ms")
_MEMORY: Final = (
    "id",
    "content",
    "type",
    "summary",
    "decay_score",
    "retrieval_count",
    "layer",
    "topic_path",
    "created_at_unix_ms",
    "last_accessed_unix_ms",
    "workspace_hash",
    "tags",
    "links",
    "source",
    "verified",
)
# Enough of the columns to know the table from any other program's; the present schema has no links there.
_ENTITY_MARKS: Final = {"id", "category", "key", "body_json", "links", "decay_score", "created_at_unix_ms"}
_MEMORY_MARKS: Final = {"id", "content", "decay_score", "topic_path", "created_at_unix_ms"}
_MEMORY_LEAST: Final = {"id", "content"}

_TABLES: Final = ("entities", "entity_history", "journal", "state", "memories")
_PUT_ASIDE: Final = ("entities", "journal", "state")
_ASIDE: Final = "original_"
_TEXT_INDEX: Final = "entities_fts"
# What only served to find what is read. Tables that nobody here knows stay.
_DERIVED: Final = ("communities", "dedup_signatures", "dedup_signature_blobs")

_PAGE: Final = 500
_BATCH_CHARACTERS: Final = 200_000
CONVERTED_BATCH: Final = 2_000
_REPORTED: Final = 10_000
_KEY_CHARACTERS: Final = 20
_LEAST_SEALED_CHARACTERS: Final = 40
_WORKSPACES_SINCE: Final = 4
_TWO_TO_63: Final = 1 << 63

Row: TypeAlias = Mapping[str, Any]
Found: TypeAlias = tuple[int, Row]
"""A row with its number in its table."""

_log = logging.getLogger(__name__)


def is_original(connection: apsw.Connection) -> bool:
    """Tell whether a database without a mark is a file that the Rust Mimir wrote."""
    entities = _columns(connection, "entities")
    return entities >= _ENTITY_MARKS if entities else _columns(connection, "memories") >= _MEMORY_MARKS


def refuse_unreadable(connection: apsw.Connection, path: str, keys: Keys | None = None) -> None:
    """Refuse a file of the Rust Mimir that cannot be brought over, before anything is changed.

    Raises:
        StorageFailure: its format is newer than what is known, or it is damaged.
        Locked: its bodies are encrypted, and the keys are missing or open none of them.
    """
    version = int(connection.execute("PRAGMA user_version").get)
    if version > NEWEST_FORMAT:
        raise StorageFailure(
            f"{path} was written by a newer Rust Mimir (format {version}, known up to {NEWEST_FORMAT}).",
            hint="Export it there with vault-export and import the notes; the file was left untouched.",
        )
    present = [name for name in _TABLES if _columns(connection, name)]
    for table in present:
        for (finding,) in connection.execute(f"PRAGMA quick_check('{table}')"):
            # What stands in a row is read leniently; only a broken tree cannot be read.
            if finding != "ok" and " value in " not in finding:
                raise apsw.CorruptError(finding)
    sealed = 0
    for table in {"entities", "entity_history"} & set(present):
        rows = connection.execute(
            f"SELECT body_json, category, key FROM {table} WHERE length(body_json) >= ? AND length(body_json) % 4 = 0"
            " AND substr(body_json, 1, 1) NOT IN ('{', '[', '\"') AND body_json NOT GLOB '*[^A-Za-z0-9+/=]*'",
            (_LEAST_SEALED_CHARACTERS,),
        )
        for body, category, key in rows:
            if _is_sealed(body):
                if keys is None:
                    raise _locked(path)
                sealed += 1
                if _opened(body, _text(category), _text(key), keys) is not None:
                    return
    if sealed:
        raise Locked(
            f"The bodies in {path} were encrypted with another key than the one given.",
            hint="Name the right key file with --encryption-key; the file was left untouched.",
        )


class Original:
    """The rows of a file that the Rust Mimir wrote, as our model."""

    def __init__(
        self,
        connection: apsw.Connection,
        path: str,
        *,
        aside: str = "",
        lenient: bool = False,
        keys: Keys | None = None,
    ) -> None:
        """Look at the file; ``aside`` is what its tables' names begin with when they were put aside.

        With ``lenient`` a row that cannot be read is named in `unreadable` and left out, otherwise it is a failure.
        With ``keys`` an encrypted body that was changed is replaced by one that says so.
        """
        self._keys = keys
        self.unreadable: dict[tuple[str, int], str] = {}
        self._connection = connection
        self._path = path
        self._lenient = lenient
        self._names = {name: aside + name if name in _PUT_ASIDE else name for name in _TABLES}
        self._known = {name: _columns(connection, table) for name, table in self._names.items()}
        for name, marks in (("entities", _ENTITY_MARKS), ("memories", _MEMORY_LEAST)):
            if not self._known[name] >= marks:
                self._known[name] = set()
        self._version = int(connection.execute("PRAGMA user_version").get)

    def is_known(self) -> bool:
        """Tell whether the file has memories at all, be it in a table that lacks most columns."""
        return bool(self._known["entities"] or self._known["memories"])

    def drop(self) -> None:
        """Drop the tables that are read here."""
        for name, columns in self._known.items():
            if columns:
                # Emptied first: of what a table still holds when it is dropped, every page is copied in memory.
                self._connection.execute(f"DELETE FROM {self._names[name]}")
                self._connection.execute(f"DROP TABLE {self._names[name]}")

    def identities(self) -> Iterator[tuple[str, int]]:
        """Yield the id of every memory with the time at which it was made."""
        for table in ("entities", "memories"):
            for _, row in self._rows(table, ("id", "created_at_unix_ms")):
                yield _text(row["id"]), _whole(row["created_at_unix_ms"])

    def count_unreadable(self) -> int:
        """Return how many memories could not be read so far."""
        return sum(table in ("entities", "memories") for table, _ in self.unreadable)

    def memories(self, batch: int, renamed: Mapping[str, str] | None = None) -> Iterator[list[Whole]]:
        """Yield all memories with their past, oldest first, about ``batch`` rows at a time.

        ``renamed`` maps ids to those that the memories get, in links too.
        """
        found: list[Whole] = []
        weight = 0
        for count, whole in enumerate(self._wholes(renamed or {}), start=1):
            if count % _REPORTED == 0:
                _log.info("%s: %d memories brought over", self._path, count)
            found.append(whole)
            characters = len(whole.text) + sum(len(past.text) for past in whole.past)
            weight += 1 + len(whole.past) + characters * batch // _BATCH_CHARACTERS
            if weight >= batch:
                yield found
                found, weight = [], 0
        if found:
            yield found

    def events(self, renamed: Mapping[str, str] | None = None) -> Iterator[Event]:
        """Yield the events of the journal in the order in which they were appended, to be chained anew.

        The hash by which the Rust Mimir chained each is kept in its payload.
        """
        for rowid, row in self._rows("journal", _EVENT):
            entity_id = _text(row["entity_id"])
            evaluated, acted, forward = (_json_text(row[name]) for name in _SAID)
            yield Event(
                sequence=0,
                id=_text(row["id"]) or f"jrn-{rowid:012x}",
                event_type=_text(row["event_type"]) or "decision",
                category=_text(row["category"]),
                key=_text(row["key"]),
                entity_id=(renamed or {}).get(entity_id, entity_id),
                agent_id=_text(row["agent_id"]),
                workspace_hash=_text(row["workspace_hash"]),
                payload=write_payload(os.urandom(SALT_BYTES), evaluated, acted, forward, _text(row["audit_hash"])),
                payload_commitment="",
                audit_hash="",
                created_at_unix_ms=_whole(row["created_at_unix_ms"]),
            )

    def state(self) -> Iterator[StateEntry]:
        """Yield every state entry, expired ones too."""
        for _, row in self._rows("state", _STATE):
            yield StateEntry(
                key=_text(row["key"]),
                value_json=_text(row["value_json"], "{}"),
                expires_at_unix_ms=_instant(row["expires_at_unix_ms"]),
                created_at_unix_ms=_whole(row["created_at_unix_ms"]),
            )

    def _wholes(self, renamed: Mapping[str, str]) -> Iterator[Whole]:
        owned, orphans = self._past_rows()
        for page in self._pages("entities", _ENTITY):
            past = self._versions([number for _, row in page for number in owned.get(_text(row["id"]), ())], renamed)
            for rowid, row in page:
                entity = self._entity(rowid, row, renamed)
                versions = [past[number] for number in owned.get(_text(row["id"]), ()) if number in past]
                yield _whole_memory(entity, versions, _floor(row), _archived_at(entity))
        for numbers in orphans:
            versions = _in_order(list(self._versions(numbers, renamed).values()))
            if versions:
                *older, newest = versions
                yield _whole_memory(_revived(newest), older, None, newest.invalidated_at_unix_ms)
        for page in self._pages("memories", _MEMORY):
            for _, row in page:
                if not self._is_entity(_text(row["id"])):
                    entity = self._memory(row, renamed)
                    yield _whole_memory(entity, [], None, None)

    def _past_rows(self) -> tuple[dict[str, list[int]], list[list[int]]]:
        """Return the rows of history by the id of the entity that they belong to, and those of no entity, grouped.

        A memory that yielded to another was deleted, and its category and key could be taken anew: its history then
        belongs to the trail of the one that took them, as the Rust Mimir answered.
        """
        owned: defaultdict[str, list[int]] = defaultdict(list)
        lost: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
        orphaned: dict[str, str | None] = {}
        for rowid, row in self._rows("entity_history", ("id", "category", "key", "workspace_hash")):
            entity_id = _text(row["id"])
            if entity_id not in orphaned:
                orphaned[entity_id] = entity_id if self._is_entity(entity_id) else self._heir(row)
            owner = orphaned[entity_id]
            if owner is None:
                lost[tuple(_text(row[name]) for name in ("category", "key", "workspace_hash"))].append(rowid)
            else:
                owned[owner].append(rowid)
        return owned, list(lost.values())

    def _is_entity(self, entity_id: str) -> bool:
        if not self._known["entities"]:
            return False
        sql = f"SELECT 1 FROM {self._names['entities']} WHERE id = ?"
        return self._connection.execute(sql, (entity_id,)).fetchone() is not None

    def _heir(self, row: Row) -> str | None:
        """Return the id of the entity that has the category and key of a row of history now."""
        sql = f"SELECT id FROM {self._names['entities']} WHERE category = ? AND key = ?"
        bindings: tuple[Any, ...] = (row["category"], row["key"])
        if self._version >= _WORKSPACES_SINCE and "workspace_hash" in self._known["entities"]:
            sql += " AND coalesce(workspace_hash, '') = ?"
            bindings += (_text(row["workspace_hash"]),)
        found = self._connection.execute(sql, bindings).fetchone()
        return None if found is None else _text(found[0])

    def _versions(self, rowids: Sequence[int], renamed: Mapping[str, str]) -> dict[int, Version]:
        if not rowids:
            return {}
        found: dict[int, Version] = {}
        for rowid, row in self._read(
            "entity_history", _HISTORY, "rowid IN (SELECT value FROM json_each(?))", (json.dumps(list(rowids)),)
        ):
            entity = self._entity(rowid, row, renamed)
            found[rowid] = Version(
                version_id=_text(row["history_id"]) or f"hist-{rowid:016x}",
                entity=entity,
                invalidated_at_unix_ms=_whole(row["invalidated_at_unix_ms"], entity.recorded_at_unix_ms + 1),
                superseded_by=renamed.get(_text(row["superseded_by"]), _text(row["superseded_by"])),
                amended=False,
                archived_at_unix_ms=_archived_at(entity),
            )
        return found

    def _entity(self, rowid: int, row: Row, renamed: Mapping[str, str]) -> Entity:
        created = _whole(row["created_at_unix_ms"])
        entity_id = _text(row["id"]) or f"mem-{rowid:012x}"
        return Entity(
            id=renamed.get(entity_id, entity_id),
            category=_text(row["category"]) or "general",
            key=_text(row["key"]),
            body_json=self._body(_text(row["body_json"], "{}"), _text(row["category"]), _text(row["key"])),
            status=_text(row["status"]) or "active",
            type=_text(row["type"]) or "insight",
            tags=_tags(_text(row["tags"])),
            decay_score=_share(row["decay_score"], 1.0),
            retrieval_count=max(0, _whole(row["retrieval_count"])),
            layer=canonical_layer(_text(row["layer"]) or "working"),
            topic_path=_text(row["topic_path"]),
            archived=bool(_whole(row["archived"])),
            archive_reason=_text(row["archive_reason"]),
            links=_links(_text(row["links"]), renamed),
            verified=bool(_whole(row["verified"])),
            source=_text(row["source"]) or "agent",
            always_on=bool(_whole(row["always_on"])),
            certainty=_share(row["certainty"], 0.5),
            workspace_hash=_text(row["workspace_hash"]),
            agent_id=_text(row["agent_id"]),
            visibility=_text(row["visibility"]) or "workspace",
            created_at_unix_ms=created,
            last_accessed_unix_ms=_whole(row["last_accessed_unix_ms"], created),
            recorded_at_unix_ms=_whole(row["recorded_at_unix_ms"], created),
            valid_from_unix_ms=_instant(row["valid_from_unix_ms"]),
            valid_to_unix_ms=_instant(row["valid_to_unix_ms"]),
        )

    def _memory(self, row: Row, renamed: Mapping[str, str]) -> Entity:
        """Return the entity that a memory of 0.1 becomes."""
        memory_id, workspace = _text(row["id"]), _text(row["workspace_hash"])
        created = _whole(row["created_at_unix_ms"])
        tags = _tags(_text(row["tags"]))
        body = {"content": _text(row["content"]), "summary": _text(row["summary"])}
        return Entity(
            id=renamed.get(memory_id, memory_id),
            category="general",
            key=f"migrated-{memory_id[:_KEY_CHARACTERS]}",
            body_json=msgspec.json.encode(body).decode(),
            type=_text(row["type"]) or "insight",
            tags=(*tags, f"workspace:{workspace}") if workspace else tags,
            decay_score=_share(row["decay_score"], 1.0),
            retrieval_count=max(0, _whole(row["retrieval_count"])),
            layer=canonical_layer(_text(row["layer"]) or "working"),
            topic_path=_text(row["topic_path"]),
            links=_links(_text(row["links"]), renamed),
            verified=bool(_whole(row["verified"])),
            source=_text(row["source"]) or "agent",
            workspace_hash=workspace,
            created_at_unix_ms=created,
            last_accessed_unix_ms=_whole(row["last_accessed_unix_ms"], created),
            recorded_at_unix_ms=created,
        )

    def _body(self, text: str, category: str, key: str) -> str:
        """Return a body as JSON: as it is, or as the content of an object if it is plain text, which was allowed."""
        if _is_json(text):
            return text
        opened = None if self._keys is None else _opened(text, category, key, self._keys)
        if opened is None and _is_sealed(text):
            if self._keys is None:
                raise _locked(self._path)
            _log.warning("%s: the body of %s/%s cannot be decrypted; it was changed.", self._path, category, key)
            return UNREADABLE
        body = text if opened is None else opened
        return body if _is_json(body) else msgspec.json.encode({"content": body}).decode()

    def _rows(self, table: str, names: Sequence[str]) -> Iterator[Found]:
        for page in self._pages(table, names):
            yield from page

    def _pages(self, table: str, names: Sequence[str]) -> Iterator[list[Found]]:
        if not self._known[table]:
            return
        last = -_TWO_TO_63
        while True:
            # The numbers first: a page that holds an unreadable row must not end the reading.
            rowids = [
                row[0]
                for row in self._connection.execute(
                    f"SELECT rowid FROM {self._names[table]} WHERE rowid > ? ORDER BY rowid LIMIT ?", (last, _PAGE)
                )
            ]
            if not rowids:
                return
            yield self._read(table, names, "rowid BETWEEN ? AND ?", (rowids[0], rowids[-1]))
            last = rowids[-1]

    def _read(self, table: str, names: Sequence[str], where: str, bindings: tuple[Any, ...]) -> list[tuple[int, Row]]:
        known = self._known[table]
        chosen = ", ".join(name if name in known else "NULL" for name in names)
        sql = f"SELECT rowid, {chosen} FROM {self._names[table]} WHERE {where} ORDER BY rowid"
        try:
            rows: list[tuple[Any, ...]] = self._connection.execute(sql, bindings).fetchall()
        except UnicodeDecodeError as error:
            if not self._lenient:
                raise
            only: list[Any] = self._connection.execute(
                f"SELECT rowid FROM {self._names[table]} WHERE {where} ORDER BY rowid", bindings
            ).fetchall()
            if len(only) == 1:
                number = only[0][0]
                self.unreadable[table, number] = f"Row {number} of {table} holds what is no text: {error}."
                return []
            return [found for (rowid,) in only for found in self._read(table, names, "rowid = ?", (rowid,))]
        return [(row[0], dict(zip(names, row[1:], strict=True))) for row in rows]


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
    for table in _PUT_ASIDE:
        if _columns(connection, table):
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


def _whole_memory(entity: Entity, versions: Sequence[Version], floor: float | None, archived_at: int | None) -> Whole:
    """Lay out a memory with its past, the intervals made to follow one another."""
    ordered = _in_order(versions)
    if ordered:
        recorded = max(entity.recorded_at_unix_ms, ordered[-1].invalidated_at_unix_ms)
        entity = msgspec.structs.replace(entity, recorded_at_unix_ms=recorded)
    successors = [*(version.entity for version in ordered[1:]), entity]
    text = _text_of(entity)
    passages = split_passages(text)
    return Whole(
        stored=Stored(
            number=0, entity=entity, score_floor=floor, passages=len(passages), archived_at_unix_ms=archived_at
        ),
        text=text,
        passages=passages,
        past=tuple(_past(version, after) for version, after in zip(ordered, successors, strict=False)),
    )


def _in_order(versions: Iterable[Version]) -> list[Version]:
    """Return versions, oldest first, with intervals that are not empty and do not overlap.

    Where two overlap, the earlier one holds to its end, as the Rust Mimir answered.
    """
    ordered: list[Version] = []
    earliest = -_TWO_TO_63
    for version in sorted(versions, key=lambda one: (one.entity.recorded_at_unix_ms, one.invalidated_at_unix_ms)):
        recorded = max(version.entity.recorded_at_unix_ms, earliest)
        earliest = max(version.invalidated_at_unix_ms, recorded + 1)
        ordered.append(
            msgspec.structs.replace(
                version,
                entity=msgspec.structs.replace(version.entity, recorded_at_unix_ms=recorded),
                invalidated_at_unix_ms=earliest,
            )
        )
    return ordered


def _past(version: Version, after: Entity) -> Past:
    """Lay out a version that ``after`` followed; one that differs in no text has no passages of its own."""
    before = version.entity
    new_text = before.body_json != after.body_json
    # A later statement for a period of its own stands beside the former one; any other took its place.
    timed = after.valid_from_unix_ms is not None or after.valid_to_unix_ms is not None
    text = _text_of(before) if new_text else ""
    return Past(
        version=msgspec.structs.replace(version, amended=not (new_text and timed)),
        text=text,
        passages=split_passages(text) if new_text else (),
    )


def _revived(newest: Version) -> Entity:
    """Return the archived memory that the last version of a deleted one becomes."""
    entity = newest.entity
    reason = "deleted; kept from its history"
    if newest.superseded_by not in ("", entity.id):
        reason = f"invalidated in favour of {newest.superseded_by}"
    return msgspec.structs.replace(entity, archived=True, archive_reason=entity.archive_reason or reason)


def _archived_at(entity: Entity) -> int | None:
    # When it left is not recorded; forgetting set the time of the last access, and it was there until then at least.
    return max(entity.last_accessed_unix_ms, entity.recorded_at_unix_ms) if entity.archived else None


def _floor(row: Row) -> float | None:
    # Later releases keep an explicit score there; 0 stands for none.
    return _share(row["importance"], 0.0) or None


def _marks(whole: Whole) -> tuple[int, ...]:
    entity = whole.stored.entity
    return sketch(whole.text, entity.category, entity.workspace_hash)


def _text_of(entity: Entity) -> str:
    return searchable_text(msgspec.json.decode(entity.body_json))


def _tags(text: str) -> tuple[str, ...]:
    """Return tags from JSON text, or from a comma list, which came in by imported notes."""
    value = _value(text)
    if isinstance(value, list):
        return tuple(item if isinstance(item, str) else json.dumps(item) for item in value)
    return tuple(part.strip() for part in text.split(",") if part.strip()) if value is None else ()


def _links(text: str, renamed: Mapping[str, str]) -> tuple[Link, ...]:
    """Return links from JSON text: objects with target, relationship and weight, or bare ids of targets."""
    value = _value(text)
    found: dict[tuple[str, str], Link] = {}
    for item in value if isinstance(value, list) else ():
        fields = item if isinstance(item, dict) else {"target_id": item}
        target = fields.get("target_id")
        if isinstance(target, str) and target:
            target = renamed.get(target, target)
            relationship = _text(fields.get("relationship")) or "related"
            weight = _share(fields.get("weight"), 0.5)
            found.setdefault((target, relationship), Link(target_id=target, relationship=relationship, weight=weight))
    return tuple(found.values())


def _json_text(value: object) -> str:
    """Return a part of an event as JSON text: as it is, or as a JSON string if it is plain text."""
    text = _text(value, "null").strip()
    if _value(text) is None and text != "null":
        return msgspec.json.encode(text).decode()
    return text


def _value(text: str) -> Json:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return None


def _text(value: object, missing: str = "") -> str:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return missing if value is None else str(value)


def _number(value: object, missing: float) -> float:
    try:
        number = float(value)  # type: ignore[arg-type]  # what cannot be converted is caught
    except (TypeError, ValueError):
        return missing
    return number if number - number == 0 else missing  # neither infinite nor NaN


def _share(value: object, missing: float) -> float:
    return min(1.0, max(0.0, _number(value, missing)))


def _whole(value: object, missing: int = 0) -> int:
    if isinstance(value, int):
        return value
    return missing if value is None else max(-_TWO_TO_63, min(_TWO_TO_63 - 1, int(_number(value, missing))))


def _instant(value: object) -> int | None:
    return None if value is None else _whole(value)


def _is_json(text: str) -> bool:
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def _opened(text: str, category: str, key: str, keys: Keys) -> str | None:
    """Return a body that the Rust Mimir encrypted, bound as it does now or as it did before 2.10."""
    for bound in (bound_as_original, bound_as_early_original):
        body = keys.plain_file_bodies.open(text, bound(category, key))
        if body is not None:
            return body
    return None


def _is_sealed(text: str) -> bool:
    """Tell whether a body that is no JSON is one that the Rust Mimir encrypted: nonce, ciphertext and tag in base64.

    A long word or hexadecimal number can be base64 too, but hardly ever has capitals and small letters by the dozen.
    """
    if len(text) < _LEAST_SEALED_CHARACTERS or text in (text.lower(), text.upper()):
        return False
    try:
        return len(base64.b64decode(text, validate=True)) >= LEAST_SEALED_BYTES
    except (binascii.Error, ValueError):
        return False


def _locked(path: str) -> Locked:
    return Locked(
        f"The bodies in {path} were encrypted by the Rust Mimir.",
        hint="Name its key file with --encryption-key; the file was left untouched.",
    )


def _columns(connection: apsw.Connection, table: str) -> set[str]:
    return {row[0] for row in connection.execute("SELECT name FROM pragma_table_info(?)", (table,))}
