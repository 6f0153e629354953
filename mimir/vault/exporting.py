"""From memories to notes: those that changed are written, those of archived memories are put aside."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Final, NamedTuple

import msgspec

from mimir.documents import decode, read_bytes
from mimir.engine import Engine
from mimir.errors import InvalidInput
from mimir.model import Filter, Stored, passes
from mimir.progress import report, stop_if_cancelled
from mimir.recording import may_read
from mimir.rules.note import (
    ENDING,
    Layout,
    Note,
    Target,
    is_blank,
    note_name,
    original_name,
    read_note,
    same_but_for_use,
    write_note,
)
from mimir.vault.files import Seen, look, note_files, put_aside, reason_of, remove_partial, sure, write_file
from mimir.vault.ledger import (
    Known,
    Ledger,
    Parts,
    follow_renames,
    parts_of,
    parts_of_note,
    resolved,
    says_nothing_else,
)

_BATCH: Final = 1_000


class Written(msgspec.Struct):
    """What an export has done: how many notes were made, changed and put aside, and how many were left as they are.

    `edited` counts notes that were changed in the vault, `conflicts` those whose memory was changed too.
    """

    created: int = 0
    updated: int = 0
    removed: int = 0
    edited: int = 0
    conflicts: int = 0
    errors: list[str] = msgspec.field(default_factory=list)


class _Outgoing(NamedTuple):
    """A memory with its note as it is to be."""

    stored: Stored
    path: str
    text: str
    parts: Parts


def export_notes(
    engine: Engine,
    folder: str,
    ledger: Ledger,
    workspace_hash: str | None = None,
    layout: Layout = "obsidian",
    *,
    look_at_all: bool = True,
) -> Written:
    """Bring the notes of a folder up to the memories of a store.

    What was exported before with the same options is not written again unless the memory, what it links to, or the
    file has changed; ``look_at_all`` is needed to see the last.

    Raises:
        InvalidInput: the folder cannot be made.
    """
    try:
        os.makedirs(folder, exist_ok=True)
        remove_partial(folder)
    except OSError as error:
        raise InvalidInput(
            f"Vault export failed: {folder}: {error.strerror}", hint="Name another folder with vault_dir."
        ) from None
    return _Export(engine, folder, ledger, workspace_hash, layout, look_at_all=look_at_all).run()


class _Export:
    def __init__(
        self,
        engine: Engine,
        folder: str,
        ledger: Ledger,
        workspace_hash: str | None,
        layout: Layout,
        *,
        look_at_all: bool,
    ) -> None:
        self._engine, self._store, self._folder, self._ledger = engine, engine.store, folder, ledger
        self._layout: Layout = layout
        # All that is not archived: drafts and superseded facts have notes as well.
        self._filter = Filter(workspace_hash=workspace_hash, include_archived=True, caller=engine.settings.agent_id)
        self._options = f"{layout} {engine.settings.agent_id!r} {workspace_hash!r}"
        counter, _, options = ledger.header.partition(" ")
        self._since = int(counter) if options == self._options else None
        self._look_at_all = look_at_all or self._since is None
        self._files: dict[str, Seen] = {}
        self._erased: set[str] = set()
        self._done = Written()
        self._owners: dict[str, str] = {}

    def run(self) -> Written:
        counter = self._store.change_counter()
        if self._look_at_all:
            # What is no note of a memory is none of an export's business.
            self._files, _ = note_files(self._folder)
            follow_renames(self._folder, self._ledger, self._files, self._engine.settings.max_ingest_bytes)
        live: set[str] = set()
        looked_at: set[str] = set()
        for batch in self._batches():
            found = [stored for stored in batch if not stored.entity.archived]
            for outgoing in self._written([one for one in found if passes(one.entity, self._filter)]):
                stop_if_cancelled()
                self._put(outgoing)
            live.update(stored.entity.id for stored in found)
            looked_at.update(stored.entity.id for stored in batch)
        gone = (self._ledger.paths.keys() if self._since is None else looked_at | self._erased) - live
        self._remove_gone(gone)
        self._ledger.save(f"{counter} {self._options}")
        return self._done

    @cached_property
    def _names(self) -> Mapping[str, str]:
        return self._ledger.names()

    def _batches(self) -> Iterator[Sequence[Stored]]:
        """Yield the memories to look at: all of them, or what has changed and what files were."""
        if self._since is None:
            total = sum(count for _, _, count in self._store.count_by_scope(self._filter))
            done = 0
            for batch in self._store.scan(self._filter, batch=_BATCH):
                yield batch
                done += len(batch)
                report(done, total)
            return
        changed = self._changed(self._since)
        for done in range(0, len(changed), _BATCH):
            yield list(self._store.load(changed[done : done + _BATCH]).values())
            report(done, len(changed))

    def _changed(self, since: int) -> Sequence[int]:
        """Return the numbers of the memories whose notes may have to change."""
        numbers = self._store.changed_since(since)
        found = self._store.load(numbers)
        if len(found) < len(numbers):
            everything = Filter(include_archived=True, every_caller=True)
            self._erased = self._ledger.paths.keys() - {entity_id for entity_id, _ in self._store.names(everything)}
        ids = {stored.entity.id for stored in found.values()} | self._erased | self._ledger.doubted
        ids |= {link.target_id for links in self._store.links_to(ids).values() for link in links}
        if self._look_at_all:
            ids |= {
                entity_id
                for entity_id, path in self._ledger.paths.items()
                if not self._ledger.is_same(path, self._files.get(path))
            }
        more = (self._store.get(entity_id) for entity_id in ids - {one.entity.id for one in found.values()})
        return sorted({*found, *(stored.number for stored in more if stored is not None)})

    def _written(self, batch: Sequence[Stored]) -> Iterator[_Outgoing]:
        targets, hidden = self._targets(batch)
        for stored in batch:
            shown = tuple(link for link in stored.entity.links if link.target_id not in hidden)
            entity = msgspec.structs.replace(stored.entity, links=shown)
            text = write_note(entity, targets, stored.score_floor, self._layout)
            links = [(link.target_id, link.relationship, link.weight) for link in shown]
            parts = parts_of(entity, stored.score_floor, links)
            if self._layout == "original":
                # It says less than the memory holds.
                parts = parts_of_note(read_note(text), links)
            yield _Outgoing(stored, self._path(entity.id), text, parts)

    def _targets(self, batch: Iterable[Stored]) -> tuple[dict[str, Target], set[str]]:
        """Return what the links of memories lead to that has a note, and the private memories of others among it."""
        ids = {link.target_id for stored in batch for link in stored.entity.links}
        nodes = self._store.nodes(ids, self._filter) if ids else {}
        targets = {
            entity_id: Target(self._path(entity_id).removesuffix(ENDING), node.key)
            for entity_id, node in nodes.items()
            if not node.archived
        }
        others = {entity_id: self._store.get(entity_id) for entity_id in ids - nodes.keys()}
        return targets, {
            entity_id for entity_id, stored in others.items() if stored and not may_read(self._engine, stored.entity)
        }

    def _path(self, entity_id: str) -> str:
        """Return where the note of a memory is, or where it is to be."""
        known = self._ledger.paths.get(entity_id)
        if known is not None:
            return known
        name = original_name(entity_id) if self._layout == "original" else note_name(entity_id)
        # Folders of some systems tell no capitals from small letters.
        if self._owners.setdefault(name.casefold(), entity_id) != entity_id:
            name = note_name(entity_id)
        return name + ENDING

    def _put(self, outgoing: _Outgoing) -> None:
        try:
            self._bring_up(outgoing)
        except (OSError, InvalidInput) as error:
            whole = os.path.join(self._folder, outgoing.path)
            self._done.errors.append(f"{outgoing.path}: {reason_of(error).removeprefix(f'{whole}: ')}")
            self._ledger.doubt(outgoing.path, outgoing.stored.entity.id)

    def _bring_up(self, outgoing: _Outgoing) -> None:
        """Write a note unless it says the same, or was edited since it was written."""
        path, entity_id = outgoing.path, outgoing.stored.entity.id
        seen, known = look(self._folder, path), self._ledger.get(path)
        if seen is None:
            self._write(outgoing)
            self._done.created += 1
            return
        whole = os.path.join(self._folder, path)
        text = decode(whole, read_bytes(whole, self._engine.settings.max_ingest_bytes, follow=False))
        if same_but_for_use(text, outgoing.text):
            self._ledger.put(path, Known(entity_id, sure(seen), outgoing.parts))
            return
        if known is None or known.entity_id != entity_id or not self._ledger.is_same(path, seen):
            edit = self._edit(read_note(text), outgoing, known)
            self._done.edited += edit == "edited"
            self._done.conflicts += edit == "conflict"
            if edit:
                return
        self._write(outgoing)
        self._done.updated += 1

    def _edit(self, note: Note, outgoing: _Outgoing, known: Known | None) -> str:
        """Tell whether a file says something that would be lost: ``edited``, a ``conflict``, or nothing."""
        if is_blank(note):
            return ""
        links = resolved(note.links, self._names) if note.links else []
        if known is not None:
            told = parts_of_note(note, links)
            if told in (known.parts, outgoing.parts):
                return ""
            return "edited" if known.parts == outgoing.parts else "conflict"
        shown = [(link.target_id, link.relationship, link.weight) for link in outgoing.stored.entity.links]
        if not says_nothing_else(note, outgoing.stored.entity, links, shown):
            # Nobody knows which of the two is the later one.
            put_aside(self._folder, outgoing.path, copy=True)
        return ""

    def _write(self, outgoing: _Outgoing) -> None:
        mark = self._engine.clock.new_id("", 16)
        seen = write_file(self._folder, outgoing.path, outgoing.text, mark)
        self._ledger.put(outgoing.path, Known(outgoing.stored.entity.id, sure(seen), outgoing.parts))

    def _remove_gone(self, ids: Iterable[str]) -> None:
        """Put aside the notes of those memories that were archived or erased."""
        for entity_id in list(ids):
            path = self._ledger.paths.get(entity_id)
            stored = self._store.get(entity_id) if path is not None else None
            if path is None or (stored is not None and not stored.entity.archived):
                continue
            try:
                if look(self._folder, path) is not None:
                    put_aside(self._folder, path)
                    self._done.removed += 1
                self._ledger.remove(path)
            except (OSError, InvalidInput) as error:
                self._done.errors.append(f"{path}: {reason_of(error)}")
                self._ledger.doubt(path, entity_id)
