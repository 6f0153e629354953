"""Ingestion: what connectors and documents bring becomes memories."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Annotated, Final

import msgspec
from msgspec import UNSET, Struct, UnsetType

from mimir.config import expand
from mimir.connectors import Document, Sources, Unreadable, files, load_sources
from mimir.documents import read_document, valid_text
from mimir.drafts import make_draft
from mimir.engine import Engine
from mimir.errors import InvalidInput, MimirError
from mimir.operation import Doc, check_texts, operation
from mimir.progress import report
from mimir.recording import store_draft

FAMILY: Final = "Search & Retrieval"

_FULL_STRENGTH: Final = 1.0
_NAMED_WARNINGS: Final = 20


class Ingested(Struct, frozen=True, kw_only=True):
    """How many documents were read, or in a dry run would have been, and what could not be.

    `warnings` name the first that seem to hold a secret.
    """

    ingested: int
    dry_run: bool
    errors: tuple[str, ...]
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
    """Remember what the connectors of --connectors-config bring: files of folders that are new or have changed.

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
    errors: list[str] = []
    warnings: list[str] = []
    ingested = 0
    if connector is not None and connector not in sources.enabled:
        errors.append(f"{connector}: no such connector is enabled in {path}")
    for name in sources.enabled:
        if connector in (None, name):
            for error, warned in _run(engine, name, sources, dry_run=dry_run):
                if error:
                    errors.append(error)
                else:
                    ingested += 1
                warnings += warned[: _NAMED_WARNINGS - len(warnings)]
                report(ingested)
    return Ingested(
        ingested=ingested,
        dry_run=dry_run,
        errors=tuple(map(valid_text, errors)),
        warnings=tuple(warnings) or UNSET,
    )


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


def _run(engine: Engine, name: str, sources: Sources, *, dry_run: bool) -> Iterator[tuple[str, list[str]]]:
    """Yield, for each document of a connector, what went wrong with it, or nothing, and what to warn of."""
    if name != files.NAME:
        yield f"{name}: this connector is not available in this version", []
        return
    known = engine.store.positions(name)
    for found in files.scan(sources.file_watcher, known, engine.settings.max_ingest_bytes):
        if isinstance(found, Unreadable):
            yield f"{name}/{found.key}: {found.reason}", []
        elif dry_run:
            yield "", []
        else:
            try:
                yield "", [f"{name}/{found.key}: {warning}" for warning in _remember(engine, name, found)]
            except MimirError as error:
                yield f"{name}/{found.key}: {error.message}", []


def _remember(engine: Engine, connector: str, document: Document) -> tuple[str, ...]:
    """Store a document and how far its connector has read, both or neither; return what to warn of."""
    draft = make_draft(
        files.CATEGORY,
        document.key,
        document.body,
        secrets=engine.settings.secrets,
        importance=_FULL_STRENGTH,
        source=f"connector:{connector}",
        prefix="ingest-",
        changes={"tags": document.tags},
    )
    with engine.writing() as now:
        stored = engine.store.find(draft.category, draft.key, "")
        if stored and _path_of(stored[0].entity.body_json) != document.body["path"]:
            # a/b.md and a-b.md would take turns as one memory.
            draft = msgspec.structs.replace(draft, key=f"{draft.key}-{document.item[:8]}")
            stored = engine.store.find(draft.category, draft.key, "")
        if stored:
            # Tags that were given since are not taken away.
            draft = msgspec.structs.replace(draft, changes={})
        store_draft(engine, draft)
        engine.store.set_position(connector, document.item, document.position, now)
    return draft.warnings


def _path_of(body_json: str) -> object:
    try:
        body = msgspec.json.decode(body_json)
    except msgspec.DecodeError:
        return None
    return body.get("path") if isinstance(body, dict) else None
