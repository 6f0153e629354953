"""Vault: memories as notes in a folder, and back."""

from __future__ import annotations

import itertools
import json
import os
import stat
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Final, NamedTuple

import msgspec
from msgspec import UNSET, Struct, UnsetType

from mimir.config import expand
from mimir.documents import decode, read_bytes, valid_text
from mimir.drafts import Draft, make_draft
from mimir.engine import Engine
from mimir.errors import Conflict, InvalidInput
from mimir.model import Entity, Filter, Stored
from mimir.operation import Doc, check_texts, operation
from mimir.operations.search import InWorkspace
from mimir.progress import report
from mimir.recording import add, may_read, new_entity, update
from mimir.rules.layers import RANK
from mimir.rules.note import ENDING, Note, NoteLink, note_name, read_note, write_note

FAMILY: Final = "Vault & Workspaces"

_BATCH: Final = 50
"""Notes stored in one transaction: a few tens of milliseconds, so that other writers need not wait long."""

_LONGEST_ID: Final = 200
_NAMED_WARNINGS: Final = 20
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

VaultFolder = Annotated[str, Doc("Folder of the notes.", positional=True)]


class VaultExported(Struct, frozen=True, kw_only=True):
    """How many notes were written; `exported` counts both kinds, notes that were up to date are in neither."""

    files_created: int
    files_updated: int
    exported: int
    errors: tuple[str, ...]
    vault_dir: str
    completed_at_unix_ms: int


class VaultImported(Struct, frozen=True, kw_only=True):
    """How many notes became new memories and how many changed one; those that say what is known are in neither.

    `warnings` name the first notes that seem to hold a secret.
    """

    files_created: int
    files_updated: int
    errors: tuple[str, ...]
    vault_dir: str
    completed_at_unix_ms: int
    warnings: tuple[str, ...] | UnsetType = UNSET


class _Read(NamedTuple):
    """A note with the file it is in, checked."""

    path: str
    note: Note
    draft: Draft


class _Import:
    """What an import has found and done so far: outcomes by path, ids by note name, links still to be made."""

    def __init__(self) -> None:
        self.created: set[str] = set()
        self.updated: set[str] = set()
        self.errors: list[str] = []
        self.warnings: list[str] = []
        self.ids: dict[str, str] = {}
        self.links: list[tuple[str, int, tuple[NoteLink, ...]]] = []


@operation(
    family=FAMILY,
    effect="write",
    title="Export Vault to Files",
    idempotent=True,
    long=True,
    example={"vault_dir": "~/.mimir/vault"},
)
def vault_export(
    engine: Engine, vault_dir: VaultFolder = "~/.mimir/vault", workspace_hash: InWorkspace = None
) -> VaultExported:
    """Write every live memory as a Markdown note with front matter and links, for people, Obsidian and backups.

    Notes that are up to date stay untouched, and none is deleted. mimir_vault_import reads them back.

    Raises:
        InvalidInput: the folder cannot be made.
    """
    folder = _folder(vault_dir)
    check_texts(workspace_hash=workspace_hash)
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise InvalidInput(
            f"Vault export failed: {folder}: {error.strerror}", hint="Name another folder with vault_dir."
        ) from None
    # All that is not archived: drafts and superseded facts have notes as well.
    filter_ = Filter(workspace_hash=workspace_hash, include_archived=True, caller=engine.settings.agent_id)
    keys = {stored.entity.id: stored.entity.key for stored in _unarchived(engine, filter_)}
    names: dict[str, str] = {}
    counts = {"created": 0, "updated": 0, "": 0}
    errors: list[str] = []
    for done, stored in enumerate(_unarchived(engine, filter_), start=1):
        report(done, len(keys))
        entity = _without_hidden_links(engine, stored.entity, keys)
        file = note_name(entity.id) + ENDING
        try:
            # Folders of some systems tell no capitals from small letters.
            if names.setdefault(file.casefold(), entity.id) != entity.id:
                raise InvalidInput(f"the note of {names[file.casefold()]} has the same name as that of {entity.id}")
            counts[_write_file(folder, file, write_note(entity, keys, stored.score_floor), engine)] += 1
        except (OSError, InvalidInput) as error:
            errors.append(f"{file}: {getattr(error, 'strerror', None) or error}")
    return VaultExported(
        files_created=counts["created"],
        files_updated=counts["updated"],
        exported=counts["created"] + counts["updated"],
        errors=tuple(errors),
        vault_dir=folder,
        completed_at_unix_ms=engine.clock.now_ms(),
    )


@operation(
    family=FAMILY,
    effect="write",
    title="Import Vault from Files",
    idempotent=True,
    long=True,
    example={"vault_dir": "~/.mimir/vault"},
)
def vault_import(
    engine: Engine,
    vault_dir: VaultFolder = "~/.mimir/vault",
    workspace_hash: Annotated[str | None, Doc("Only notes of this workspace.")] = None,
) -> VaultImported:
    """Read notes of a folder into memory: new ones are added, edited ones leave the former text in history.

    A note of a forgotten memory brings it back. Links are added, none is removed.

    Raises:
        InvalidInput: there is no such folder.
    """
    folder = _folder(vault_dir)
    check_texts(workspace_hash=workspace_hash)
    try:
        files = sorted(os.listdir(folder))
    except OSError as error:
        reason = error.strerror if os.path.isdir(folder) else "is not a directory"
        raise InvalidInput(
            f"Vault import failed: {folder} {reason}", hint="Run mimir_vault_export first, or name another folder."
        ) from None
    run = _Import()
    paths = [os.path.join(folder, file) for file in files if file.endswith(ENDING) and not file.startswith(".")]
    notes = _notes(engine, paths, workspace_hash, run)
    done = 0
    while batch := tuple(itertools.islice(notes, _BATCH)):
        with engine.writing() as now:
            for read in batch:
                _store(engine, read, now, run)
        done += len(batch)
        report(done, len(paths))
    for start in range(0, len(run.links), _BATCH):
        with engine.writing() as now:
            for path, number, links in run.links[start : start + _BATCH]:
                _link(engine, path, number, links, now, run)
    engine.note_pending()
    return VaultImported(
        files_created=len(run.created),
        files_updated=len(run.updated - run.created),
        errors=tuple(map(valid_text, run.errors)),
        vault_dir=folder,
        completed_at_unix_ms=engine.clock.now_ms(),
        warnings=tuple(map(valid_text, run.warnings[:_NAMED_WARNINGS])) or UNSET,
    )


def _folder(vault_dir: str) -> str:
    check_texts(vault_dir=vault_dir)
    if not vault_dir or "\0" in vault_dir:
        raise InvalidInput("'vault_dir' names no folder.", hint="Leave it out for ~/.mimir/vault.")
    return os.path.abspath(expand(vault_dir))


def _unarchived(engine: Engine, filter_: Filter) -> Iterator[Stored]:
    for batch in engine.store.scan(filter_):
        for stored in batch:
            if not stored.entity.archived:
                yield stored


def _without_hidden_links(engine: Engine, entity: Entity, keys: dict[str, str]) -> Entity:
    """Leave out links to private memories of other agents; what has a note is none of them."""
    targets = {link.target_id: engine.store.get(link.target_id) for link in entity.links if link.target_id not in keys}
    hidden = {target for target, stored in targets.items() if stored and not may_read(engine, stored.entity)}
    shown = tuple(link for link in entity.links if link.target_id not in hidden)
    return msgspec.structs.replace(entity, links=shown) if hidden else entity


def _write_file(folder: str, file: str, text: str, engine: Engine) -> str:
    """Write a file whole or not at all, unless it holds that text already; return what was done, if anything."""
    path = os.path.join(folder, file)
    data = text.encode()
    try:
        former = os.lstat(path)
    except FileNotFoundError:
        former = None
    if former is not None:
        if not stat.S_ISREG(former.st_mode):
            raise InvalidInput("it is no regular file, and was left alone")
        if former.st_size == len(data) and read_bytes(path, len(data), follow=False) == data:
            return ""
    partial = os.path.join(folder, engine.clock.new_id(f".{file}.", 16))
    try:
        with open(partial, "xb") as note:
            note.write(data)
        os.replace(partial, path)
    except BaseException:
        if os.path.lexists(partial):
            os.remove(partial)
        raise
    return "created" if former is None else "updated"


def _notes(engine: Engine, paths: Sequence[str], workspace_hash: str | None, run: _Import) -> Iterator[_Read]:
    """Yield the notes among files; what is none is put among the errors."""
    for path in paths:
        try:
            linked = os.path.islink(path)
            if linked and not _is_inside(path):
                raise InvalidInput("the link leads out of the folder")
            data = read_bytes(path, engine.settings.max_ingest_bytes, follow=linked)
            note = read_note(decode(path, data))
            if workspace_hash is None or note.fields.get("workspace_hash", "") == workspace_hash:
                yield _Read(path, note, _draft(path, note, engine.settings.secrets))
        except InvalidInput as error:
            run.errors.append(f"{path}: {error.message.removeprefix(f'{path}: ')}")


def _is_inside(path: str) -> bool:
    return os.path.dirname(os.path.realpath(path)) == os.path.realpath(os.path.dirname(path))


def _name(path: str) -> str:
    return valid_text(os.path.basename(path)).removesuffix(ENDING)


def _draft(path: str, note: Note, secrets: str) -> Draft:
    fields = note.fields
    draft = make_draft(
        fields.get("category", "general"),
        fields.get("key", _name(path)),
        note.body_json,
        secrets=secrets,
        workspace_hash=fields.get("workspace_hash", ""),
        importance=fields.get("decay_score", 1.0),
        source=fields.get("source", "vault-import"),
        changes={name: fields.get(name) for name in _APPLIED},
    )
    if "verified" in fields:
        draft = msgspec.structs.replace(draft, changes={**draft.changes, "verified": fields["verified"]})
    return draft


def _store(engine: Engine, read: _Read, now: int, run: _Import) -> None:
    """Make a note a memory, or bring the memory it is of up to it; what is refused is refused before any change."""
    note, draft = read.note, read.draft
    found = engine.store.find(draft.category, draft.key, draft.workspace_hash)
    try:
        if found:
            stored = found[0]
            number, entity_id = stored.number, stored.entity.id
            if _renew(engine, stored, draft, now):
                run.updated.add(read.path)
        else:
            number, entity_id = _add(engine, note, draft, now)
            run.created.add(read.path)
    except (InvalidInput, Conflict) as error:
        run.errors.append(f"{read.path}: {error.message}")
        return
    run.ids[_name(read.path)] = entity_id
    run.warnings += [f"{read.path}: {warning}" for warning in draft.warnings]
    if "id" in note.fields:
        run.ids[note_name(note.fields["id"])] = entity_id
    if note.links:
        run.links.append((read.path, number, note.links))


def _add(engine: Engine, note: Note, draft: Draft, now: int) -> tuple[int, str]:
    entity_id = note.fields.get("id", "")
    if not entity_id or len(entity_id) > _LONGEST_ID or any(part in entity_id for part in ("/", "\\", "..")):
        entity_id = engine.clock.new_id(draft.prefix)
    elif engine.store.get(entity_id) is not None:
        raise Conflict(f"the id {entity_id} belongs to another memory")
    restored: dict[str, Any] = {name: min(note.fields[name], now) for name in _TIMES if name in note.fields}
    if "retrieval_count" in note.fields:
        restored["retrieval_count"] = note.fields["retrieval_count"]
    number = add(engine, msgspec.structs.replace(new_entity(engine, draft, entity_id, now), **restored))
    if "score_floor" in note.fields:
        stored = engine.store.load([number])[number]
        engine.store.update(msgspec.structs.replace(stored, score_floor=note.fields["score_floor"]))
    return number, entity_id


def _renew(engine: Engine, stored: Stored, draft: Draft, now: int) -> bool:
    """Change a memory to what a note says of it, and tell whether there was anything to change."""
    before = stored.entity
    changes = dict(draft.changes)
    if RANK.get(changes.get("layer", ""), len(RANK)) <= RANK.get(before.layer, -1):
        # A note that was written before the memory was used much must not take back what use has earned.
        del changes["layer"]
    same = _value(before.body_json) == _value(draft.body_json)
    draft = msgspec.structs.replace(draft, changes=changes, body_json=before.body_json if same else draft.body_json)
    known = same and not before.archived and all(getattr(before, name) == told for name, told in changes.items())
    if known and may_read(engine, before):
        return False
    update(engine, stored, draft, now)
    return True


def _value(body_json: str) -> str:
    """Return JSON text in a form that is equal for equal values."""
    try:
        return json.dumps(json.loads(body_json), sort_keys=True)
    except ValueError:
        return body_json


def _link(engine: Engine, path: str, number: int, links: tuple[NoteLink, ...], now: int, run: _Import) -> None:
    known = {(link.target_id, link.relationship): link.weight for link in engine.store.links([number]).get(number, ())}
    for link in links:
        target = engine.store.get(run.ids.get(link.name, link.name))
        if target is None or target.number == number or not may_read(engine, target.entity):
            run.errors.append(f"{path}: the link to {link.name} leads to no other memory")
        elif known.get((target.entity.id, link.relationship)) != link.weight:
            engine.store.add_link(number, target.entity.id, link.relationship, link.weight, now)
            run.updated.add(path)
