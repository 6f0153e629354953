"""Ingestion: what connectors and documents bring becomes memories."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Annotated, Final

import msgspec
from msgspec import UNSET, Struct, UnsetType

from mimir.config import expand
from mimir.connectors import Bookmark, Document, Found, Sources, Unreadable, files, load_sources
from mimir.documents import read_document, valid_text
from mimir.drafts import Draft, make_draft
from mimir.engine import Engine
from mimir.errors import Conflict, InvalidInput
from mimir.model import Entity, Json, Stored
from mimir.operation import Doc, check_texts, operation
from mimir.progress import report
from mimir.recording import change, may_read, store_draft

FAMILY: Final = "Search & Retrieval"

_FULL_STRENGTH: Final = 1.0
_NAMED_WARNINGS: Final = 20


class Ingested(Struct, frozen=True, kw_only=True):
    """How many documents were read, or in a dry run would have been, and what could not be.

    `warnings` name the first that seem to hold a secret; `archived` counts memories of files that are gone.
    """

    ingested: int
    dry_run: bool
    errors: tuple[str, ...]
    archived: int | UnsetType = UNSET
    warnings: tuple[str, ...] | UnsetType = UNSET


class IngestedFile(Struct, frozen=True, kw_only=True):
    """The memory that a file became; `chars` counts the characters of its text, `warnings` tell of secrets in it."""

    id: str
    action: str
    category: str
    key: str
    chars: int
    warnings: tuple[str, ...] | UnsetType = UNSET


@operation(
    family=FAMILY,
    effect="write",
    title="Ingest External Data",
    idempotent=True,
    open_world=True,
    long=True,
    example={"connector": "file_watcher", "dry_run": True},
)
def ingest(
    engine: Engine,
    connector: Annotated[str | None, Doc("Only this one: github or file_watcher.")] = None,
    dry_run: Annotated[bool, Doc("Only count what would be read.")] = False,
) -> Ingested:
    """Remember what the connectors of --connectors-config bring: new and changed files, GitHub issues, pull requests.

    For one document use mimir_ingest_file.

    Raises:
        InvalidInput: no connector is configured, or the configuration cannot be read.
    """
    check_texts(connector=connector)
    path = engine.settings.connectors_config
    sources = load_sources(path) if path else Sources()
    if not sources.enabled:
        raise InvalidInput(
            "Ingest failed: No connectors configured. Add connectors to enable ingestion.",
            hint="Name a YAML file with --connectors-config that enables file_watcher and gives its paths.",
        )
    names = [name for name in sources.enabled if connector in (None, name)]
    ingested = ingest_from(engine, sources, names, dry_run=dry_run)
    if names:
        return ingested
    return msgspec.structs.replace(ingested, errors=(f"{connector}: no such connector is enabled in {path}",))


@operation(
    family=FAMILY,
    effect="write",
    title="Ingest Document File",
    profile="standard",
    idempotent=True,
    example={"path": "~/notes/deploy.md", "tags": ["runbook"]},
)
def ingest_file(
    engine: Engine,
    path: Annotated[str, Doc("File of text, Markdown, HTML, JSON, YAML, CSV, PDF or Word.")],
    category: Annotated[str, Doc("Category of the memory.")] = "document",
    key: Annotated[str | None, Doc("Key of the memory. Left out: the file's name.")] = None,
    tags: Annotated[Sequence[str], Doc("Words to find it by; empty keeps those it has.")] = (),
) -> IngestedFile:
    """Remember the text of one document file; the same file again updates its memory.

    For folders use mimir_ingest.

    Raises:
        InvalidInput: it cannot be read, is too large, or of an unknown kind.
        Unavailable: the library for its kind is not installed.
    """
    check_texts(path=path, category=category, key=key)
    whole = os.path.abspath(expand(path))
    text = read_document(whole, engine.settings.max_ingest_bytes)
    draft = make_draft(
        category or "document",
        key or os.path.basename(whole),
        {"content": text, "source_path": whole},
        secrets=engine.settings.secrets,
        importance=_FULL_STRENGTH,
        source="ingest_file",
        changes={"type": "document", "tags": tuple(tags) or None},
    )
    stored = store_draft(engine, draft)
    return IngestedFile(
        id=stored.id,
        action=stored.action,
        category=stored.category,
        key=stored.key,
        chars=len(text),
        warnings=stored.warnings,
    )


def ingest_from(
    engine: Engine,
    sources: Sources,
    names: Sequence[str],
    *,
    dry_run: bool = False,
    only: Collection[str] | None = None,
) -> Ingested:
    """Remember what the named connectors bring; given ``only``, of files just those at these paths.

    Raises:
        Busy, StorageFailure: the store cannot be written; what was read before is kept.
    """
    ingested = archived = 0
    errors: list[str] = []
    warnings: list[str] = []
    for name in names:
        kept = {item: position.split("\n") for item, position in engine.store.positions(name).items()}
        known = {item: position for item, (position, *_) in kept.items()}
        ids = {item: ids for item, (_, *ids) in kept.items()}
        complete = True
        for found in _found(engine, name, sources, known, ids, only):
            try:
                gone, warned = _take(engine, name, found, ids, complete=complete, dry_run=dry_run)
            except (Conflict, InvalidInput) as error:
                complete = False
                errors.append(f"{name}/{_key(found)}: {error.message}")
            else:
                complete = complete or isinstance(found, Bookmark)
                ingested += isinstance(found, Document) and bool(found.texts)
                archived += gone
                warnings += (f"{name}/{_key(found)}: {one}" for one in warned)
            report(ingested)
    return Ingested(
        ingested=ingested,
        dry_run=dry_run,
        errors=tuple(map(valid_text, errors)),
        archived=archived or UNSET,
        warnings=tuple(warnings[:_NAMED_WARNINGS]) or UNSET,
    )


def _found(
    engine: Engine,
    name: str,
    sources: Sources,
    known: Mapping[str, str],
    ids: Mapping[str, Sequence[str]],
    only: Collection[str] | None,
) -> Iterator[Found]:
    """Yield what a connector finds."""
    if name == files.NAME:

        def path_of(item: str) -> str | None:
            for entity_id in ids[item]:
                stored = engine.store.get(entity_id)
                path = _path(stored.entity) if stored is not None else None
                if isinstance(path, str):
                    return path
            return None

        most = engine.settings.max_ingest_bytes
        yield from files.scan(sources.file_watcher, known, most, path_of=path_of, only=only)
    elif engine.settings.offline:
        yield Unreadable(key="connectors", reason="--offline (MIMIR_OFFLINE) keeps it from being asked.")
    else:
        from mimir.connectors import github

        yield from github.fetch(sources.github, known, engine.clock.now_ms())


def _take(
    engine: Engine, name: str, found: Found, ids: Mapping[str, Sequence[str]], *, complete: bool, dry_run: bool
) -> tuple[int, tuple[str, ...]]:
    """Store what a connector found, unless this is a dry run; return how many memories go and what to warn of."""
    if isinstance(found, Unreadable):
        raise InvalidInput(found.reason)
    if isinstance(found, Document):
        if not dry_run:
            return _remember(engine, name, found, ids.get(found.item, ()))
        return (0 if found.texts else len(ids[found.item])), ()
    if complete and not dry_run:
        # Otherwise something was not stored, and is to be found again.
        with engine.writing() as now:
            engine.store.set_position(name, found.item, found.position, now)
    return 0, ()


def _remember(engine: Engine, connector: str, document: Document, ids: Sequence[str]) -> tuple[int, tuple[str, ...]]:
    """Store a document and how far its connector has read, both or neither.

    The position also keeps the ids of the memories, since nothing else ties them to a document that is gone. Returns
    how many memories were archived, and what to warn of.
    """
    drafts = [
        make_draft(
            text.category,
            text.key,
            text.body,
            secrets=engine.settings.secrets,
            importance=_FULL_STRENGTH,
            source=f"connector:{connector}",
            prefix="ingest-",
            changes={"tags": text.tags, "topic_path": text.topic_path or None},
        )
        for text in document.texts
    ]
    kept: list[str] = []
    archived = 0
    with engine.writing() as now:
        for draft, entity_id in zip_longest(drafts, ids):
            stored = engine.store.get(entity_id) if entity_id else None
            if draft is None:
                archived += stored is not None and _archive(engine, stored, now)
            else:
                kept.append(store_draft(engine, _placed(engine, draft, stored, document.item)).id)
        position = "\n".join((document.position, *kept))
        engine.store.set_position(connector, document.item, position, now)
    return archived, tuple(warning for draft in drafts for warning in draft.warnings)


def _placed(engine: Engine, draft: Draft, stored: Stored | None, item: str) -> Draft:
    """Return a draft as the memory that stands for its document, or under a name that is free for it."""
    if stored is None:
        stored = next(iter(engine.store.find(draft.category, draft.key, "")), None)
        if stored is not None and _path(stored.entity) != _path(draft):
            # a/b.md and a-b.md would take turns as one memory.
            draft = msgspec.structs.replace(draft, key=f"{draft.key}-{item[:8]}")
            stored = next(iter(engine.store.find(draft.category, draft.key, "")), None)
    if stored is None:
        return draft
    entity = stored.entity
    labels = _body(entity).get("labels")
    # Tags that were given since are not taken away; labels come and go as they do where they are from.
    own = [tag for tag in entity.tags if tag not in labels] if isinstance(labels, list) else entity.tags
    tags = (*draft.changes["tags"], *own) if isinstance(labels, list) else None
    return msgspec.structs.replace(
        draft,
        category=entity.category,
        key=entity.key,
        workspace_hash=entity.workspace_hash,
        changes={} if tags is None else {"tags": tuple(dict.fromkeys(tags))},
    )


def _archive(engine: Engine, stored: Stored, now: int) -> bool:
    """Archive the memory of a document that is gone, and tell whether it was live."""
    if stored.entity.archived or not may_read(engine, stored.entity):
        return False
    archived = msgspec.structs.replace(stored.entity, archived=True, archive_reason="its source is gone")
    change(engine, stored, archived, now, amends=True)
    return True


def _key(found: Found) -> str:
    if isinstance(found, Document):
        return found.texts[0].key if found.texts else found.item
    return found.key if isinstance(found, Unreadable) else found.item


def _path(memory: Entity | Draft) -> object:
    return _body(memory).get("path")


def _body(memory: Entity | Draft) -> dict[str, Json]:
    try:
        body = msgspec.json.decode(memory.body_json)
    except msgspec.DecodeError:
        return {}
    return body if isinstance(body, dict) else {}
