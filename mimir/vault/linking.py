"""Links of notes that were read, made when all memories are there that they may lead to."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final, NamedTuple, Self

import msgspec

from mimir.drafts import check_names
from mimir.engine import Engine
from mimir.errors import InvalidInput
from mimir.recording import may_read
from mimir.rules.note import DEFAULT_WEIGHT, Note, NoteLink, aliases_of, note_name, original_name
from mimir.rules.wiki import link_name
from mimir.vault.files import Seen, sure
from mimir.vault.ledger import Known, Ledger, Parts, in_doubt, mark_of_links, parts_of_note, resolved

_BATCH: Final = 50
_INLINE: Final = "related"


class Taken(msgspec.Struct):
    """What an import has done: which notes made a memory and which changed one, and what could not be taken in.

    `conflicts` counts notes whose memory had changed too, `unresolved` links in texts that lead to no note, `archived`
    memories whose notes are gone, `emptied` notes without any text, which the next export writes anew.
    """

    created: set[str] = msgspec.field(default_factory=set)
    updated: set[str] = msgspec.field(default_factory=set)
    conflicts: int = 0
    unresolved: int = 0
    archived: int = 0
    emptied: int = 0
    errors: list[str] = msgspec.field(default_factory=list)
    warnings: list[str] = msgspec.field(default_factory=list)


class Linked(NamedTuple):
    """What is still needed of a note whose memory is stored, to make its links and those to it.

    `names` are those that links may use for it beside its path; `known` is the mark of its links when both sides were
    last the same, if they ever were.
    """

    path: str
    seen: Seen
    number: int
    entity_id: str
    parts: Parts
    names: tuple[str, ...]
    links: tuple[NoteLink, ...]
    inline: tuple[str, ...]
    known: str | None

    @classmethod
    def of(
        cls,
        path: str,
        seen: Seen,
        note: Note,
        number: int,
        entity_id: str,
        known: Known | None,
        inline: tuple[str, ...],
    ) -> Self:
        """Keep of a note what its links need; ``inline`` are the names of those new in its text."""
        told = note.fields.get("id", "")
        ids = (entity_id, told, note_name(entity_id), note_name(told), original_name(told)) if told else ()
        mark = None if known is None else known.parts.links
        names = (*ids, *aliases_of(note.body_json))
        return cls(path, seen, number, entity_id, parts_of_note(note, ()), names, note.links, inline, mark)


class Linking:
    """The links of the notes of one import."""

    def __init__(self, engine: Engine, folder: str, ledger: Ledger, done: Taken) -> None:
        self._engine, self._store, self._folder, self._ledger, self._done = engine, engine.store, folder, ledger, done
        self._notes: list[Linked] = []

    def __len__(self) -> int:
        """Return how many notes were added."""
        return len(self._notes)

    def add(self, note: Linked) -> None:
        """Add a note whose memory is stored."""
        self._notes.append(note)

    def make(self) -> None:
        """Bring the links of all added memories up to those of their notes, and note that both are the same now."""
        names = self._ledger.names() if any(note.links or note.inline for note in self._notes) else {}
        for note in self._notes:
            _name(note, names)
        for start in range(0, len(self._notes), _BATCH):
            with self._engine.writing() as now:
                for note in self._notes[start : start + _BATCH]:
                    self._link(note, names, now)

    def _link(self, note: Linked, names: Mapping[str, str], now: int) -> None:
        links = resolved(note.links, names)
        wanted = {
            (target, relationship): weight
            for (target, relationship, weight), link in zip(links, note.links, strict=True)
            if self._leads_somewhere(note, target, link)
        }
        present = {
            (link.target_id, link.relationship): link.weight
            for link in self._store.links([note.number]).get(note.number, ())
            if self._is_shown(link.target_id)
        }
        if note.known != mark_of_links(links):
            for (target, relationship), weight in wanted.items():
                if present.get((target, relationship)) != weight:
                    self._add(note, target, relationship, weight, now)
            if note.known == mark_of_links((*pair, weight) for pair, weight in present.items()):
                for target, relationship in present.keys() - wanted.keys():
                    self._store.remove_links(note.number, target, relationship)
                    self._done.updated.add(note.path)
        targets = {target for target, _ in {**present, **wanted}}
        for name in note.inline:
            target = names.get(link_name(name), "")
            if not target:
                self._done.unresolved += 1
            elif target not in (note.entity_id, *targets):
                self._add(note, target, _INLINE, DEFAULT_WEIGHT, now)
        parts = note.parts._replace(links=mark_of_links(links))
        seen = in_doubt(note.seen) if note.entity_id in self._ledger.doubted else sure(note.seen)
        self._ledger.put(note.path, Known(note.entity_id, seen, parts))

    def _add(self, note: Linked, target: str, relationship: str, weight: float, now: int) -> None:
        self._store.add_link(note.number, target, relationship, weight, now)
        self._done.updated.add(note.path)

    def _leads_somewhere(self, note: Linked, target: str, link: NoteLink) -> bool:
        try:
            check_names(self._engine.settings.secrets, relationship=link.relationship)
        except InvalidInput as error:
            self._done.errors.append(f"{os.path.join(self._folder, note.path)}: {error.message}")
            return False
        found = self._store.get(target)
        if (found is None and link.unresolved) or (
            found is not None and found.number != note.number and may_read(self._engine, found.entity)
        ):
            return True
        self._done.errors.append(
            f"{os.path.join(self._folder, note.path)}: the link to {link.name} leads to no other memory"
        )
        return False

    def _is_shown(self, entity_id: str) -> bool:
        stored = self._store.get(entity_id)
        return stored is None or may_read(self._engine, stored.entity)


def _name(note: Linked, names: dict[str, str]) -> None:
    """Add the names that links may use for a note that was just read."""
    names[link_name(note.path)] = note.entity_id
    base = link_name(note.path.rpartition("/")[2])
    if "/" not in note.path or base not in names:
        names[base] = note.entity_id
    for name in note.names:
        names.setdefault(link_name(name), note.entity_id)
