"""What is known of each note since it and its memory were last the same; kept in the store, by folder."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from mimir.documents import decode, read_bytes
from mimir.engine import Engine
from mimir.errors import InvalidInput
from mimir.model import Entity
from mimir.rules.note import ENDING, Note, NoteLink, note_name, read_note
from mimir.rules.wiki import link_name
from mimir.vault.files import Seen

_HEADER: Final = ""
_LISTED: Final = "/"
_SAVED_AT_ONCE: Final = 500
_DIGITS: Final = 12
_REST: Final = (
    "agent_id",
    "always_on",
    "certainty",
    "layer",
    "score_floor",
    "source",
    "status",
    "topic_path",
    "type",
    "valid_from_unix_ms",
    "valid_to_unix_ms",
    "verified",
    "visibility",
)

LinkTo = tuple[str, str, float]
"""A link as both sides tell it: the id of its target, or a name that leads nowhere; relationship and weight."""


class Parts(NamedTuple):
    """Marks of what a note or a memory says, one for each part that can change by itself."""

    body: str
    tags: str
    links: str
    rest: str


class Known(NamedTuple):
    """A note when it and its memory were last the same; the id is empty for a file that stands for none."""

    entity_id: str
    seen: Seen
    parts: Parts


NOTHING: Final = Parts("-", "-", "-", "-")
"""Stands for the parts of a file that is no note of a memory."""

_BEFORE_ID: Final = len(Seen._fields) + len(Parts._fields)
_DOUBTED_NS: Final = -1


class Ledger:
    """The notes of one vault by their path in it.

    `paths` are those of memories, by id; `doubted` are the ids of memories whose notes the next export has to look at.
    `header` says up to where all memories have notes, `listed` up to which header overviews name all notes; `unlisted`
    are the ids of memories whose notes came, went or moved since.
    """

    def __init__(self, engine: Engine, folder: str) -> None:
        self._engine = engine
        self._connector = f"vault:{os.path.realpath(folder)}"
        self._rows = engine.store.positions(self._connector)
        self._changed: dict[str, str | None] = {}
        self.header = self._rows.pop(_HEADER, "")
        self.listed = self._rows.pop(_LISTED, "")
        self.paths: dict[str, str] = {}
        self.doubted: set[str] = set()
        self.unlisted: set[str] = set()
        for path, row in self._rows.items():
            _, changed_ns, *_, entity_id = row.split(" ", _BEFORE_ID)
            if entity_id:
                self.paths[entity_id] = path
            if changed_ns == str(_DOUBTED_NS):
                self.doubted.add(entity_id)

    def __contains__(self, path: object) -> bool:
        """Tell whether a file is known."""
        return path in self._rows

    def __iter__(self) -> Iterator[str]:
        """Return the paths of the files that are known."""
        return iter(self._rows)

    def __len__(self) -> int:
        """Return how many files are known."""
        return len(self._rows)

    def get(self, path: str) -> Known | None:
        """Return what is known of a file."""
        row = self._rows.get(path)
        return None if row is None else _read_row(row)

    def is_memory(self, path: str) -> bool:
        """Tell whether a file is known as the note of a memory."""
        return path in self._rows and not self._rows[path].endswith(" ")

    def is_same(self, path: str, seen: Seen | None) -> bool:
        """Tell whether a file is like it was when it was known last."""
        return seen is not None and self._rows.get(path, "").startswith(f"{seen.size} {seen.changed_ns} ")

    def missing(self, files: Container[str]) -> list[tuple[str, Known]]:
        """Return the notes of memories that are not among files, each with what is known of it."""
        missing = [(path, _read_row(self._rows[path])) for path in self.paths.values() if path not in files]
        return [(path, known) for path, known in missing if known.parts != NOTHING]

    def put(self, path: str, known: Known) -> None:
        """Note that a file and its memory are the same now; saved with the next `save`."""
        former = self.paths.get(known.entity_id)
        if known.entity_id and former not in (None, path):
            self.remove(str(former))
        row = " ".join(map(str, (*known.seen, *known.parts, known.entity_id)))
        if self._rows.get(path) != row:
            self._rows[path] = self._changed[path] = row
        if known.entity_id:
            if former != path:
                self.unlisted.add(known.entity_id)
            self.paths[known.entity_id] = path
        if known.seen.changed_ns == _DOUBTED_NS:
            self.doubted.add(known.entity_id)
        else:
            self.doubted.discard(known.entity_id)
        if len(self._changed) >= _SAVED_AT_ONCE:
            self.save()

    def rename(self, path: str, known: Known) -> None:
        """Note that a note was moved to ``path``; notes that link to it have to be looked at again."""
        self.put(path, known._replace(seen=in_doubt(known.seen)))
        for links in self._engine.store.links_to([known.entity_id]).values():
            for link in links:
                if link.target_id in self.paths:
                    self.doubt(self.paths[link.target_id], link.target_id)

    def doubt(self, path: str, entity_id: str) -> None:
        """Note that the note of a memory has to be looked at again, or was not written yet."""
        known = self.get(path) or Known(entity_id, Seen(0, 0), NOTHING)
        self.put(path, known._replace(entity_id=entity_id, seen=in_doubt(known.seen)))

    def remove(self, path: str) -> None:
        """Forget a file."""
        row = self._rows.pop(path, None)
        if row is not None:
            self._changed[path] = None
            entity_id = _read_row(row).entity_id
            if self.paths.get(entity_id) == path:
                del self.paths[entity_id]
                self.unlisted.add(entity_id)
                self.doubted.discard(entity_id)

    def name_of(self, entity_id: str) -> str:
        """Return the name that leads to the note of a memory, without ending."""
        path = self.paths.get(entity_id)
        return note_name(entity_id) if path is None else path.removesuffix(ENDING)

    def save(self, header: str | None = None, *, listed: bool = False) -> None:
        """Keep in the store what was noted; ``header`` says up to where all is, ``listed`` that overviews are too."""
        if header is not None and header != self.header:
            self.header = self._changed[_HEADER] = header
        if listed:
            self.unlisted.clear()
        now_listed = self.header if listed else "" if self.unlisted else self.listed
        if now_listed != self.listed:
            self.listed = self._changed[_LISTED] = now_listed
        if self._changed:
            with self._engine.writing() as now:
                self._engine.store.set_positions(self._connector, self._changed, now)
            self._changed.clear()

    def names(self) -> dict[str, str]:
        """Return the ids that links lead to by the names they may use: the path of a note, its file, or its id."""
        names: dict[str, str] = {}
        whole: dict[str, str] = {}
        for entity_id, path in self.paths.items():
            name = link_name(path)
            folder, _, base = name.rpartition("/")
            # Two notes of one name: which is meant cannot be told, unless one lies at the top.
            names[base] = entity_id if base not in names or not folder else names[base]
            names.setdefault(note_name(entity_id).lower(), entity_id)
            whole[name] = entity_id
        return names | whole


def follow_renames(folder: str, ledger: Ledger, files: Mapping[str, Seen], most_bytes: int) -> None:
    """Find the notes that are missing where they were among the files that are not known."""
    missing = {known.entity_id: known for _, known in ledger.missing(files)}
    strange = [path for path in files if path not in ledger] if missing else []
    for path in strange:
        try:
            note = read_file(folder, path, most_bytes)
        except InvalidInput:
            continue
        told = note.fields.get("id", "")
        if told not in missing:
            # Without an id it is one that was moved as it is.
            body = parts_of_note(note, ()).body
            size = files[path].size
            same = (one for one, known in missing.items() if (known.seen.size, known.parts.body) == (size, body))
            told = next(same, "")
        if told in missing:
            ledger.rename(path, missing.pop(told))


def read_file(folder: str, path: str, most_bytes: int) -> Note:
    """Return what the note at a path in a vault says.

    Raises:
        InvalidInput: it cannot be read; the message begins with what is wrong.
    """
    whole = os.path.join(folder, path)
    try:
        return read_note(decode(whole, read_bytes(whole, most_bytes, follow=os.path.islink(whole))))
    except InvalidInput as error:
        raise InvalidInput(error.message.removeprefix(f"{whole}: "), hint=error.hint) from None


def resolved(links: Iterable[NoteLink], names: Mapping[str, str]) -> list[LinkTo]:
    """Return links of a note by the ids that their names stand for; a name that stands for none stays."""
    return [(names.get(link_name(one.name), one.name), one.relationship, one.weight) for one in links]


def parts_of(entity: Entity, score_floor: float | None, links: Iterable[LinkTo]) -> Parts:
    """Return the marks of a memory with the links that its note shows."""
    fields = {name: getattr(entity, name) for name in _REST if name != "score_floor"}
    return _parts({**fields, "score_floor": score_floor}, entity.body_json, entity.tags, links)


def parts_of_note(note: Note, links: Iterable[LinkTo]) -> Parts:
    """Return the marks of what a note says."""
    return _parts(note.fields, note.body_json, note.fields.get("tags", ()), links)


def says_nothing_else(note: Note, entity: Entity, links: Iterable[LinkTo], shown: Iterable[LinkTo]) -> bool:
    """Tell whether all that a note says is so in a memory, of which ``shown`` are the links."""
    fields = {name: told for name, told in note.fields.items() if name in _REST or name == "tags"}
    return (
        value_of(note.body_json) == value_of(entity.body_json)
        and all(getattr(entity, name, told) == told for name, told in fields.items())
        and {*links} == {*shown}
    )


def _parts(fields: Mapping[str, Any], body_json: str, tags: Iterable[str], links: Iterable[LinkTo]) -> Parts:
    rest = {name: fields[name] for name in _REST if fields.get(name) not in (None, "")}
    return Parts(_mark(value_of(body_json)), _mark(list(tags)), mark_of_links(links), _mark(rest))


def mark_of_links(links: Iterable[LinkTo]) -> str:
    """Return the mark of links, in whatever order they come."""
    return _mark(sorted(map(list, links)))


def value_of(body_json: str) -> str:
    """Return JSON text in a form that is equal for equal values."""
    try:
        return json.dumps(json.loads(body_json), sort_keys=True)
    except (ValueError, RecursionError):
        return body_json


def _mark(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:_DIGITS]


def in_doubt(seen: Seen) -> Seen:
    """Return what a file is like whose note the next export has to look at."""
    return Seen(seen.size, _DOUBTED_NS)


def _read_row(row: str) -> Known:
    size, changed_ns, *parts, entity_id = row.split(" ", _BEFORE_ID)
    return Known(entity_id, Seen(int(size), int(changed_ns)), Parts(*parts))
