"""From notes to memories: what is new is added, what was edited becomes a version, links come and go with the notes."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from mimir.drafts import Draft, check_period, make_draft
from mimir.engine import Engine
from mimir.errors import Conflict, InvalidInput
from mimir.model import RETIRED_STATUSES, Filter, Stored
from mimir.progress import report
from mimir.recording import add, change, may_read, new_entity
from mimir.rules.layers import RANK
from mimir.rules.note import (
    ENDING,
    Note,
    is_blank,
    prose_of,
)
from mimir.rules.wiki import inline_links, inline_tags
from mimir.vault.files import Seen, look, note_files
from mimir.vault.ledger import (
    NOTHING,
    Known,
    Ledger,
    Parts,
    follow_renames,
    parts_of,
    parts_of_note,
    read_file,
    value_of,
)
from mimir.vault.linking import Linked, Linking, Taken

_BATCH: Final = 50
"""Notes stored in one transaction: a few tens of milliseconds, so that other writers need not wait long."""

_LOOKED_UP: Final = 1_000
_LONGEST_ID: Final = 200
_INLINE: Final = "related"
_MOST_GONE: Final = 10
_GONE_REASON: Final = "its note was removed from the vault"
_APPLIED: Final = (
    "agent_id",
    "always_on",
    "certainty",
    "layer",
    "status",
    "tags",
    "topic_path",
    "type",
    "valid_from_unix_ms",
    "valid_to_unix_ms",
    "visibility",
)
_TIMES: Final = ("created_at_unix_ms", "last_accessed_unix_ms", "recorded_at_unix_ms")


class _Read(NamedTuple):
    """A note that was read: where, what it says, the memory it is known to be of, and as a draft."""

    path: str
    seen: Seen
    note: Note
    known: Known | None
    draft: Draft


def import_notes(
    engine: Engine, folder: str, ledger: Ledger, workspace_hash: str | None = None, *, two_way: bool = False
) -> Taken:
    """Bring the memories of a store up to the notes of a folder.

    A note that was not edited since both sides were the same changes nothing. With ``two_way`` a memory is archived
    when its note is gone; else a note brings back a memory that was forgotten.

    Raises:
        InvalidInput: there is no such folder.
    """
    if not os.path.isdir(folder):
        raise InvalidInput(
            f"Vault import failed: {folder} is not a directory",
            hint="Run mimir_vault_export first, or name another folder.",
        )
    return _Import(engine, folder, ledger, workspace_hash, two_way=two_way).run()


class _Import:
    def __init__(
        self, engine: Engine, folder: str, ledger: Ledger, workspace_hash: str | None, *, two_way: bool
    ) -> None:
        self._engine, self._store, self._folder, self._ledger = engine, engine.store, folder, ledger
        self._workspace_hash = workspace_hash
        self._two_way = two_way
        self._files, errors = note_files(folder)
        self._done = Taken(errors=errors)
        self._unreadable = bool(errors)
        self._owners: dict[int, str] = {}
        self._links = Linking(engine, folder, ledger, self._done)

    def run(self) -> Taken:
        follow_renames(self._folder, self._ledger, self._files, self._engine.settings.max_ingest_bytes)
        paths = self._edited()
        notes = self._notes(paths)
        while batch := tuple(itertools.islice(notes, _BATCH)):
            with self._engine.writing() as now:
                for read in batch:
                    self._take(read, now)
            report(len(self._links), len(paths))
        self._links.make()
        if self._two_way:
            self._archive_gone()
        self._ledger.save()
        self._engine.note_pending()
        return self._done

    def _edited(self) -> list[str]:
        """Return the paths of the notes to read, those that are known first: a copy of one must not pass for it."""
        same = {path for path, seen in self._files.items() if self._ledger.is_same(path, seen)}
        if not self._two_way:
            ids = {entity_id: path for entity_id, path in self._ledger.paths.items() if path in same}
            same = {ids[entity_id] for entity_id in self._live(list(ids))}
        return sorted(
            (path for path in self._files if path not in same),
            key=lambda path: (not self._ledger.is_memory(path), path),
        )

    def _live(self, ids: Sequence[str]) -> set[str]:
        everything = Filter(include_archived=True, every_caller=True)
        live: set[str] = set()
        for start in range(0, len(ids), _LOOKED_UP):
            nodes = self._store.nodes(ids[start : start + _LOOKED_UP], everything)
            live |= {entity_id for entity_id, node in nodes.items() if not node.archived}
        return live

    def _notes(self, paths: Iterable[str]) -> Iterator[_Read]:
        """Yield the notes among files; what is none is put among the errors."""
        for path in paths:
            seen, known = self._files[path], self._ledger.get(path)
            try:
                note = read_file(self._folder, path, self._engine.settings.max_ingest_bytes)
                if look(self._folder, path) not in (seen, None) and not os.path.islink(
                    os.path.join(self._folder, path)
                ):
                    raise InvalidInput("it changed while it was read; import it again")
                if note.is_listing or self._is_of_other_workspace(note):
                    continue
                if known is not None and known.entity_id and is_blank(note):
                    # What a power cut may leave of a note.
                    self._done.emptied += 1
                    continue
                yield _Read(path, seen, note, known, self._draft(path, note, known))
            except InvalidInput as error:
                self._refuse(path, seen, error.message)

    def _refuse(self, path: str, seen: Seen, reason: str) -> None:
        self._done.errors.append(f"{os.path.join(self._folder, path)}: {reason}")
        known = self._ledger.get(path)
        if known is None or not known.entity_id:
            # Not read again before it changes, where only changes are looked for.
            self._ledger.put(path, Known("", seen, NOTHING))

    def _is_of_other_workspace(self, note: Note) -> bool:
        return self._workspace_hash is not None and note.fields.get("workspace_hash", "") != self._workspace_hash

    def _draft(self, path: str, note: Note, known: Known | None) -> Draft:
        fields = dict(note.fields)
        stored = self._store.get(known.entity_id) if known is not None and known.entity_id else None
        if stored is not None and not note.is_own:
            names = {"category": stored.entity.category, "key": stored.entity.key}
            fields = {**names, "workspace_hash": stored.entity.workspace_hash, **fields}
        draft = make_draft(
            fields.get("category", "general"),
            fields.get("key", path.removesuffix(ENDING)),
            note.body_json,
            secrets=self._engine.settings.secrets,
            workspace_hash=fields.get("workspace_hash", ""),
            importance=fields.get("decay_score", 1.0),
            source=fields.get("source", "vault-import"),
            changes={name: fields.get(name) for name in _APPLIED},
        )
        changes = dict(draft.changes)
        if not note.is_own:
            changes["tags"] = tuple(dict.fromkeys([*changes.get("tags", ()), *inline_tags(prose_of(note.body_json))]))
            if "/" in path:
                changes.setdefault("topic_path", path.rpartition("/")[0])
        if "verified" in fields:
            changes["verified"] = fields["verified"]
        return msgspec.structs.replace(draft, changes=changes)

    def _take(self, read: _Read, now: int) -> None:
        """Make a note a memory, or bring the memory it is of up to it; what is refused is refused before any change."""
        try:
            before = self._memory_of(read)
            if (
                self._two_way
                and before is not None
                and before.entity.archived
                and not any(_since_the_same(read, before)[0])
            ):
                # The next export puts this note aside.
                return
            if before is None:
                number, entity_id = _add(self._engine, read.note, read.draft, now)
                self._done.created.add(read.path)
            else:
                number, entity_id = before.number, before.entity.id
                owner = self._owners.get(number, read.path)
                if owner != read.path:
                    raise Conflict(f"it is the same memory as {owner}; give it an id or a key of its own")
                self._renew(read, before, now)
        except (InvalidInput, Conflict) as error:
            self._refuse(read.path, read.seen, error.message)
            return
        self._owners[number] = read.path
        self._done.warnings += [f"{os.path.join(self._folder, read.path)}: {one}" for one in read.draft.warnings]
        inline = _new_in_text(inline_links, read.note, before)
        known = read.known if read.known is not None and read.known.entity_id == entity_id else None
        self._links.add(Linked.of(read.path, read.seen, read.note, number, entity_id, known, inline))

    def _memory_of(self, read: _Read) -> Stored | None:
        """Return the memory that a note is of: by its name, else by where it is or the id it gives, if any.

        Raises:
            Conflict: the id belongs to a memory of another name.
        """
        draft = read.draft
        found = self._store.find(draft.category, draft.key, draft.workspace_hash)
        if found:
            return found[0]
        entity_id = read.note.fields.get("id", "")
        if entity_id and self._store.get(entity_id) is not None:
            raise Conflict(f"the id {entity_id} belongs to another memory")
        return None

    def _renew(self, read: _Read, stored: Stored, now: int) -> None:
        """Change a memory to what its note says, in the parts that were edited there."""
        before, note = stored.entity, read.note
        if not may_read(self._engine, before):
            raise Conflict(f"{before.category}/{before.key} is a private memory of another agent.")
        edited, changed = _since_the_same(read, stored)
        told = dict(read.draft.changes) if edited.rest else {}
        tags = note.fields.get("tags", before.tags) if edited.tags else before.tags
        # What both sides have changed keeps what either says; a note by hand does not know what it leaves out.
        kept = before.tags if changed.tags or (read.known is None and not note.is_own) else ()
        more = dict.fromkeys([*kept, *_new_in_text(inline_tags, note, stored)])
        told["tags"] = (*tags, *(tag for tag in more if tag not in tags))
        if RANK.get(told.get("layer", ""), len(RANK)) <= RANK.get(before.layer, -1):
            # A note that was written before the memory was used much must not take back what use has earned.
            del told["layer"]
        new_text = edited.body and value_of(before.body_json) != value_of(read.draft.body_json)
        floor = note.fields.get("score_floor", stored.score_floor) if edited.rest else stored.score_floor
        differs = new_text or floor != stored.score_floor or any(getattr(before, name) != told[name] for name in told)
        if not differs and not before.archived:
            return
        if new_text and before.status in RETIRED_STATUSES:
            # Said again, it is believed again, unless the note says otherwise.
            told.setdefault("status", "active")
        if new_text:
            told["body_json"] = read.draft.body_json
        after = msgspec.structs.replace(
            before,
            **told,
            archived=False,
            archive_reason="",
            last_accessed_unix_ms=max(now, before.last_accessed_unix_ms),
        )
        check_period(after.valid_from_unix_ms, after.valid_to_unix_ms)
        passages = read.draft.passages if new_text else None
        change(
            self._engine, msgspec.structs.replace(stored, score_floor=floor), after, now, amends=True, passages=passages
        )
        self._done.conflicts += (changed.body and new_text) or (changed.rest and edited.rest)
        self._done.updated.add(read.path)

    def _archive_gone(self) -> None:
        """Archive the memories whose notes are gone, unless they were changed since or so many are gone at once."""
        gone = self._ledger.missing(self._files)
        if not gone or self._unreadable:
            return
        if len(gone) > max(_MOST_GONE, len(self._ledger) // 2):
            self._done.errors.append(
                f"{self._folder}: {len(gone)} of {len(self._ledger)} notes are gone, so many that their memories were"
                " kept; the notes are written again"
            )
            return
        with self._engine.writing() as now:
            for path, known in gone:
                stored = self._store.get(known.entity_id)
                if stored is None or stored.entity.archived:
                    continue
                changed = _which(known.parts, parts_of(stored.entity, stored.score_floor, ()))
                if any(changed):
                    self._done.conflicts += 1
                    continue
                archived = {"archived": True, "archive_reason": _GONE_REASON, "last_accessed_unix_ms": now}
                change(self._engine, stored, msgspec.structs.replace(stored.entity, **archived), now, amends=True)
                self._ledger.remove(path)
                self._done.archived += 1


class _Which(NamedTuple):
    """Which parts of a memory have changed, its links left aside."""

    body: bool
    tags: bool
    rest: bool


def _since_the_same(read: _Read, stored: Stored) -> tuple[_Which, _Which]:
    """Return which parts were edited in a note, and which were changed in the store, since both were the same."""
    known = read.known
    if known is None or known.entity_id != stored.entity.id:
        return _Which(body=True, tags=True, rest=True), _Which(body=False, tags=False, rest=False)
    in_store = parts_of(stored.entity, stored.score_floor, ())
    return _which(known.parts, parts_of_note(read.note, ())), _which(known.parts, in_store)


def _which(before: Parts, after: Parts) -> _Which:
    return _Which(before.body != after.body, before.tags != after.tags, before.rest != after.rest)


def _new_in_text(find: Callable[[str], tuple[str, ...]], note: Note, before: Stored | None) -> tuple[str, ...]:
    """Return what stands in the text of a note, and did not in that of its memory; a note of ours brings none along."""
    found = find(prose_of(note.body_json))
    if before is None:
        return () if note.is_own else found
    former = find(prose_of(before.entity.body_json))
    return tuple(one for one in found if one not in former)


def _add(engine: Engine, note: Note, draft: Draft, now: int) -> tuple[int, str]:
    entity_id = note.fields.get("id", "") if note.is_own else ""
    if not entity_id or len(entity_id) > _LONGEST_ID or any(part in entity_id for part in ("/", "\\", "..")):
        entity_id = engine.clock.new_id(draft.prefix)
    restored: dict[str, Any] = {name: min(note.fields[name], now) for name in _TIMES if name in note.fields}
    if "retrieval_count" in note.fields:
        restored["retrieval_count"] = note.fields["retrieval_count"]
    number = add(engine, msgspec.structs.replace(new_entity(engine, draft, entity_id, now), **restored))
    if "score_floor" in note.fields:
        stored = engine.store.load([number])[number]
        engine.store.update(msgspec.structs.replace(stored, score_floor=note.fields["score_floor"]))
    return number, entity_id
