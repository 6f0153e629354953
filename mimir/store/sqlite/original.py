"""Files that the Rust Mimir wrote: recognised, and read as our model.

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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

import apsw
import msgspec

from mimir.crypto import LEAST_SEALED_BYTES, Keys, bound_as_early_original, bound_as_original
from mimir.errors import Locked, StorageFailure
from mimir.model import Entity, Event, Past, StateEntry, Stored, Version, Whole
from mimir.rules.chain import SALT_BYTES, write_payload
from mimir.rules.layers import canonical_layer
from mimir.rules.text import searchable_text, split_passages
from mimir.store.codec import UNREADABLE
from mimir.store.sqlite.original_values import (
    TWO_TO_63,
    as_instant,
    as_json_text,
    as_links,
    as_share,
    as_tags,
    as_text,
    as_whole,
    is_json,
)

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
PUT_ASIDE: Final = ("entities", "journal", "state")
"""Tables that have the name of one of ours."""

_PAGE: Final = 500
_BATCH_CHARACTERS: Final = 200_000
_REPORTED: Final = 10_000
_KEY_CHARACTERS: Final = 20
_LEAST_SEALED_CHARACTERS: Final = 40
_WORKSPACES_SINCE: Final = 4

Row: TypeAlias = Mapping[str, Any]
Found: TypeAlias = tuple[int, Row]
"""A row with its number in its table."""

_log = logging.getLogger(__name__)


def is_original(connection: apsw.Connection) -> bool:
    """Tell whether a database without a mark is a file that the Rust Mimir wrote."""
    entities = columns(connection, "entities")
    return entities >= _ENTITY_MARKS if entities else columns(connection, "memories") >= _MEMORY_MARKS


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
    present = [name for name in _TABLES if columns(connection, name)]
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
                if _opened(body, as_text(category), as_text(key), keys) is not None:
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
        self._names = {name: aside + name if name in PUT_ASIDE else name for name in _TABLES}
        self._known = {name: columns(connection, table) for name, table in self._names.items()}
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
                yield as_text(row["id"]), as_whole(row["created_at_unix_ms"])

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
            entity_id = as_text(row["entity_id"])
            evaluated, acted, forward = (as_json_text(row[name]) for name in _SAID)
            yield Event(
                sequence=0,
                id=as_text(row["id"]) or f"jrn-{rowid:012x}",
                event_type=as_text(row["event_type"]) or "decision",
                category=as_text(row["category"]),
                key=as_text(row["key"]),
                entity_id=(renamed or {}).get(entity_id, entity_id),
                agent_id=as_text(row["agent_id"]),
                workspace_hash=as_text(row["workspace_hash"]),
                payload=write_payload(os.urandom(SALT_BYTES), evaluated, acted, forward, as_text(row["audit_hash"])),
                payload_commitment="",
                audit_hash="",
                created_at_unix_ms=as_whole(row["created_at_unix_ms"]),
            )

    def state(self) -> Iterator[StateEntry]:
        """Yield every state entry, expired ones too."""
        for _, row in self._rows("state", _STATE):
            yield StateEntry(
                key=as_text(row["key"]),
                value_json=as_text(row["value_json"], "{}"),
                expires_at_unix_ms=as_instant(row["expires_at_unix_ms"]),
                created_at_unix_ms=as_whole(row["created_at_unix_ms"]),
            )

    def _wholes(self, renamed: Mapping[str, str]) -> Iterator[Whole]:
        owned, orphans = self._past_rows()
        for page in self._pages("entities", _ENTITY):
            past = self._versions([number for _, row in page for number in owned.get(as_text(row["id"]), ())], renamed)
            for rowid, row in page:
                entity = self._entity(rowid, row, renamed)
                versions = [past[number] for number in owned.get(as_text(row["id"]), ()) if number in past]
                yield _whole_memory(entity, versions, _floor(row), _archived_at(entity))
        for numbers in orphans:
            versions = _in_order(list(self._versions(numbers, renamed).values()))
            if versions:
                *older, newest = versions
                yield _whole_memory(_revived(newest), older, None, newest.invalidated_at_unix_ms)
        for page in self._pages("memories", _MEMORY):
            for _, row in page:
                if not self._is_entity(as_text(row["id"])):
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
            entity_id = as_text(row["id"])
            if entity_id not in orphaned:
                orphaned[entity_id] = entity_id if self._is_entity(entity_id) else self._heir(row)
            owner = orphaned[entity_id]
            if owner is None:
                lost[tuple(as_text(row[name]) for name in ("category", "key", "workspace_hash"))].append(rowid)
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
            bindings += (as_text(row["workspace_hash"]),)
        found = self._connection.execute(sql, bindings).fetchone()
        return None if found is None else as_text(found[0])

    def _versions(self, rowids: Sequence[int], renamed: Mapping[str, str]) -> dict[int, Version]:
        if not rowids:
            return {}
        found: dict[int, Version] = {}
        for rowid, row in self._read(
            "entity_history", _HISTORY, "rowid IN (SELECT value FROM json_each(?))", (json.dumps(list(rowids)),)
        ):
            entity = self._entity(rowid, row, renamed)
            found[rowid] = Version(
                version_id=as_text(row["history_id"]) or f"hist-{rowid:016x}",
                entity=entity,
                invalidated_at_unix_ms=as_whole(row["invalidated_at_unix_ms"], entity.recorded_at_unix_ms + 1),
                superseded_by=renamed.get(as_text(row["superseded_by"]), as_text(row["superseded_by"])),
                amended=False,
                archived_at_unix_ms=_archived_at(entity),
            )
        return found

    def _entity(self, rowid: int, row: Row, renamed: Mapping[str, str]) -> Entity:
        created = as_whole(row["created_at_unix_ms"])
        entity_id = as_text(row["id"]) or f"mem-{rowid:012x}"
        return Entity(
            id=renamed.get(entity_id, entity_id),
            category=as_text(row["category"]) or "general",
            key=as_text(row["key"]),
            body_json=self._body(as_text(row["body_json"], "{}"), as_text(row["category"]), as_text(row["key"])),
            status=as_text(row["status"]) or "active",
            type=as_text(row["type"]) or "insight",
            tags=as_tags(as_text(row["tags"])),
            decay_score=as_share(row["decay_score"], 1.0),
            retrieval_count=max(0, as_whole(row["retrieval_count"])),
            layer=canonical_layer(as_text(row["layer"]) or "working"),
            topic_path=as_text(row["topic_path"]),
            archived=bool(as_whole(row["archived"])),
            archive_reason=as_text(row["archive_reason"]),
            links=as_links(as_text(row["links"]), renamed),
            verified=bool(as_whole(row["verified"])),
            source=as_text(row["source"]) or "agent",
            always_on=bool(as_whole(row["always_on"])),
            certainty=as_share(row["certainty"], 0.5),
            workspace_hash=as_text(row["workspace_hash"]),
            agent_id=as_text(row["agent_id"]),
            visibility=as_text(row["visibility"]) or "workspace",
            created_at_unix_ms=created,
            last_accessed_unix_ms=as_whole(row["last_accessed_unix_ms"], created),
            recorded_at_unix_ms=as_whole(row["recorded_at_unix_ms"], created),
            valid_from_unix_ms=as_instant(row["valid_from_unix_ms"]),
            valid_to_unix_ms=as_instant(row["valid_to_unix_ms"]),
        )

    def _memory(self, row: Row, renamed: Mapping[str, str]) -> Entity:
        """Return the entity that a memory of 0.1 becomes."""
        memory_id, workspace = as_text(row["id"]), as_text(row["workspace_hash"])
        created = as_whole(row["created_at_unix_ms"])
        tags = as_tags(as_text(row["tags"]))
        body = {"content": as_text(row["content"]), "summary": as_text(row["summary"])}
        return Entity(
            id=renamed.get(memory_id, memory_id),
            category="general",
            key=f"migrated-{memory_id[:_KEY_CHARACTERS]}",
            body_json=msgspec.json.encode(body).decode(),
            type=as_text(row["type"]) or "insight",
            tags=(*tags, f"workspace:{workspace}") if workspace else tags,
            decay_score=as_share(row["decay_score"], 1.0),
            retrieval_count=max(0, as_whole(row["retrieval_count"])),
            layer=canonical_layer(as_text(row["layer"]) or "working"),
            topic_path=as_text(row["topic_path"]),
            links=as_links(as_text(row["links"]), renamed),
            verified=bool(as_whole(row["verified"])),
            source=as_text(row["source"]) or "agent",
            workspace_hash=workspace,
            created_at_unix_ms=created,
            last_accessed_unix_ms=as_whole(row["last_accessed_unix_ms"], created),
            recorded_at_unix_ms=created,
        )

    def _body(self, text: str, category: str, key: str) -> str:
        """Return a body as JSON: as it is, or as the content of an object if it is plain text, which was allowed."""
        if is_json(text):
            return text
        opened = None if self._keys is None else _opened(text, category, key, self._keys)
        if opened is None and _is_sealed(text):
            if self._keys is None:
                raise _locked(self._path)
            _log.warning("%s: the body of %s/%s cannot be decrypted; it was changed.", self._path, category, key)
            return UNREADABLE
        body = text if opened is None else opened
        return body if is_json(body) else msgspec.json.encode({"content": body}).decode()

    def _rows(self, table: str, names: Sequence[str]) -> Iterator[Found]:
        for page in self._pages(table, names):
            yield from page

    def _pages(self, table: str, names: Sequence[str]) -> Iterator[list[Found]]:
        if not self._known[table]:
            return
        last = -TWO_TO_63
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
    earliest = -TWO_TO_63
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
    return as_share(row["importance"], 0.0) or None


def _text_of(entity: Entity) -> str:
    return searchable_text(msgspec.json.decode(entity.body_json))


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


def columns(connection: apsw.Connection, table: str) -> set[str]:
    """Return the names of the columns of a table; none if there is no such table."""
    return {row[0] for row in connection.execute("SELECT name FROM pragma_table_info(?)", (table,))}
