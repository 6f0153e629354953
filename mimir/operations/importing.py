"""Imports: what other programs have kept becomes memories, once however often it is imported."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec
from msgspec import UNSET, Struct, UnsetType

from mimir.config import expand
from mimir.drafts import Draft, check_names, make_draft
from mimir.engine import Engine
from mimir.errors import Conflict, InvalidInput
from mimir.importing import Edge, File, Item, Problem, detect, files_of
from mimir.importing.formats import FORMATS
from mimir.operation import check_texts
from mimir.operations.graph import DEFAULT_WEIGHT
from mimir.progress import report
from mimir.recording import new_entity, update
from mimir.rules.secrets import masked

ANY_FORMAT: Final = "auto"

_BATCH: Final = 500
_NAMED: Final = 100


class Imported(Struct, frozen=True, kw_only=True):
    """What an import brought, or in a dry run would have.

    `unchanged` were there already, also when they have been archived since; `links` are new ones; `failed` counts what
    could not be read or stored, and `errors` names the first of it. `warnings` name the first that seem to hold a
    secret.
    """

    format: str
    files: int
    conversations: int
    created: int
    updated: int
    unchanged: int
    links: int
    failed: int
    dry_run: bool
    errors: tuple[str, ...]
    warnings: tuple[str, ...] | UnsetType = UNSET


def import_from(
    engine: Engine, path: str, *, format: str = ANY_FORMAT, workspace_hash: str = "", dry_run: bool = False
) -> Imported:
    """Remember what another program has kept at ``path``: a file, a zip archive or a folder of one format.

    The formats are those of `mimir.importing.formats.FORMATS`; ``auto`` finds out which it is. Nothing that is as it
    was imported before is written again.

    Raises:
        InvalidInput: there is nothing at ``path``, it is in no known format, or the format's name is not known.
        Busy, StorageFailure: the store cannot be written; whole batches are kept.
    """
    check_texts(path=path, format=format, workspace_hash=workspace_hash)
    if format not in (ANY_FORMAT, *FORMATS):
        raise InvalidInput(f"There is no format {format!r}.", hint="Use one of: " + ", ".join(FORMATS) + ".")
    files = list(files_of(os.path.abspath(expand(path)), engine.settings.max_ingest_bytes))
    chosen = detect(files, FORMATS) if format == ANY_FORMAT else format
    if len(files) > 1:
        files = [file for file in files if FORMATS[chosen].is_named_so(file.name)]
    run = _Run(engine, chosen, workspace_hash, dry_run=dry_run)
    for number, file in enumerate(files, start=1):
        run.read(file)
        report(number, len(files))
    return run.finish(len(files))


class _Run:
    """One import: what was seen so far, what waits to be stored, and the counts."""

    def __init__(self, engine: Engine, format: str, workspace_hash: str, *, dry_run: bool) -> None:
        self._engine = engine
        self._format = format
        self._workspace_hash = workspace_hash
        self._dry_run = dry_run
        self._waiting: list[tuple[Item, Draft]] = []
        self._seen: dict[tuple[str, str], str] = {}
        self._names: dict[str, tuple[str, str]] = {}
        self._edges: list[Edge] = []
        self._conversations: set[str] = set()
        self._created = self._updated = self._unchanged = self._links = self._failed = 0
        self._errors: list[str] = []
        self._warnings: list[str] = []

    def read(self, file: File) -> None:
        """Read one file; what cannot be read is noted, and the rest is stored in batches."""
        try:
            data = file.read()
        except InvalidInput as error:
            self._fail(error.message)
            return
        for found in FORMATS[self._format].read(file.name, data):
            if isinstance(found, Problem):
                self._fail(f"{found.place}: {found.reason}")
            elif isinstance(found, Edge):
                self._edges.append(found)
            else:
                self._take(found)

    def finish(self, files: int) -> Imported:
        """Store what still waits, link what is to be linked, and return what there is to tell."""
        self._store()
        for first in range(0, len(self._edges), _BATCH):
            self._link(self._edges[first : first + _BATCH])
        if not self._dry_run:
            self._engine.note_pending()
        return Imported(
            format=self._format,
            files=files,
            conversations=len(self._conversations),
            created=self._created,
            updated=self._updated,
            unchanged=self._unchanged,
            links=self._links,
            failed=self._failed,
            dry_run=self._dry_run,
            errors=tuple(self._errors),
            warnings=tuple(self._warnings) or UNSET,
        )

    def _fail(self, reason: str) -> None:
        self._failed += 1
        if len(self._errors) < _NAMED:
            # What is refused for a secret in its name is told by that name.
            self._errors.append(masked(reason)[0])

    def _take(self, item: Item) -> None:
        place = f"{item.category}/{item.key}"
        try:
            draft = make_draft(
                item.category,
                item.key,
                item.body,
                secrets=self._engine.settings.secrets,
                workspace_hash=self._workspace_hash,
                source=f"import:{self._format}",
                changes={
                    "type": item.kind,
                    "topic_path": item.topic_path or None,
                    "tags": item.tags or None,
                    "valid_from_unix_ms": item.at_unix_ms,
                },
            )
        except InvalidInput as error:
            self._fail(f"{place}: {error.message}")
            return
        identity = (draft.category, draft.key)
        if self._seen.setdefault(identity, draft.body_json) != draft.body_json:
            self._fail(f"{place}: another one of this import has the same name")
            return
        if item.topic_path:
            self._conversations.add(item.topic_path)
        for name in item.names:
            self._names.setdefault(name.casefold(), identity)
        self._warnings += (f"{place}: {one}" for one in draft.warnings[: _NAMED - len(self._warnings)])
        self._waiting.append((item, draft))
        if len(self._waiting) >= _BATCH:
            self._store()

    def _store(self) -> None:
        waiting, self._waiting = self._waiting, []
        if self._dry_run:
            with self._engine.store.reading():
                self._compare([draft for _, draft in waiting])
        elif waiting:
            with self._engine.writing() as now:
                self._write(waiting, now)

    def _compare(self, drafts: Sequence[Draft]) -> None:
        for draft in drafts:
            stored = self._engine.store.find(draft.category, draft.key, draft.workspace_hash)
            self._created += not stored
            self._unchanged += bool(stored) and stored[0].entity.body_json == draft.body_json
            self._updated += bool(stored) and stored[0].entity.body_json != draft.body_json

    def _write(self, waiting: Sequence[tuple[Item, Draft]], now: int) -> None:
        store = self._engine.store
        # In order, so that what was said in sequence stands in sequence.
        ids = sorted(self._engine.clock.new_ids("mem-", len(waiting)))
        entities = [
            msgspec.structs.replace(
                new_entity(self._engine, draft, entity_id, now),
                created_at_unix_ms=now if item.at_unix_ms is None else min(now, item.at_unix_ms),
            )
            for (item, draft), entity_id in zip(waiting, ids, strict=True)
        ]
        drafts = [draft for _, draft in waiting]
        taken = store.insert_new(entities, [draft.text for draft in drafts], [draft.passages for draft in drafts])
        self._created += len(drafts) - len(taken)
        for place in taken:
            draft = drafts[place]
            (stored, *_) = store.find(draft.category, draft.key, draft.workspace_hash)
            if stored.entity.body_json == draft.body_json:
                self._unchanged += 1
                continue
            try:
                update(self._engine, stored, draft, now)
            except Conflict as error:
                self._fail(error.message)
            else:
                self._updated += 1

    def _link(self, edges: Sequence[Edge]) -> None:
        known = [edge for edge in edges if self._is_known(edge)]
        if self._dry_run:
            with self._engine.store.reading():
                self._links += len(set(self._new_links(known)))
        elif known:
            with self._engine.writing() as now:
                for number, target_id, relationship in dict.fromkeys(self._new_links(known)):
                    self._engine.store.add_link(number, target_id, relationship, DEFAULT_WEIGHT, now)
                    self._links += 1

    def _is_known(self, edge: Edge) -> bool:
        missing = [name for name in (edge.source, edge.target) if name.casefold() not in self._names]
        for name in missing:
            self._fail(f"{edge.source} {edge.relationship} {edge.target}: there is no {name!r} in this import")
        try:
            check_names(self._engine.settings.secrets, relationship=edge.relationship)
        except InvalidInput as error:
            self._fail(f"{edge.source} to {edge.target}: {error.message}")
            return False
        return not missing

    def _new_links(self, edges: Sequence[Edge]) -> Iterator[tuple[int, str, str]]:
        """Yield the links that are not there yet; in a dry run also those of memories that are not there yet."""
        for edge in edges:
            names = [self._names[name.casefold()] for name in (edge.source, edge.target)]
            found = [self._engine.store.find(*name, self._workspace_hash) for name in names]
            if not all(found):
                yield from [(0, "/".join(names[0]) + " " + "/".join(names[1]), edge.relationship)] * self._dry_run
                continue
            source, target = (one[0] for one in found)
            links = {(link.target_id, link.relationship) for link in source.entity.links}
            if source.number != target.number and (target.entity.id, edge.relationship) not in links:
                yield source.number, target.entity.id, edge.relationship
