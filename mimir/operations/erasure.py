"""Erasure: what was archived goes for good, and so do its words, wherever the file still held them."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Struct

from mimir.engine import Engine
from mimir.errors import Busy, StorageFailure
from mimir.model import Erased
from mimir.operation import Doc, operation
from mimir.progress import report

FAMILY: Final = "Lifecycle"

ERASED_AT_ONCE: Final = 50
"""Entities that one transaction erases: about ten milliseconds, so that no writer waits long."""

READER_PATIENCE_S: Final = 2.0
"""How long a purge waits for readers that keep an older state of the store, in seconds."""


class Purged(Struct, frozen=True, kw_only=True):
    """What was erased, or would be, and what could not be reached.

    `bytes_freed` is by how much the file and its log shrank, 0 in a dry run and when they did not. `unreachable` says
    in sentences where words of what was erased may still stand, and what to do.
    """

    entities_deleted: int
    versions_deleted: int
    journal_payloads_erased: int
    bytes_freed: int
    unreachable: tuple[str, ...]
    dry_run: bool
    completed_at_unix_ms: int


@operation(
    family=FAMILY,
    effect="destroy",
    title="Purge Archived Entities",
    idempotent=True,
    long=True,
    example={"dry_run": True},
)
def purge(engine: Engine, dry_run: Annotated[bool, Doc("Only count.")] = False) -> Purged:
    """Erase every archived memory for good, with its history and the payloads of its journal rows.

    mimir_forget and mimir_prune archive. unreachable names what was not erased, such as backups beside the file; call
    it again when that is gone.
    """
    store = engine.store
    with store.reading():
        count, numbers, unswept = store.count_erasable(), store.archived(), store.unswept()
    if dry_run:
        return _purged(engine, count, dry_run=True)
    if not numbers and not unswept:
        return _purged(engine, count)
    before = store.file_size()
    parts = []
    for first in range(0, len(numbers), ERASED_AT_ONCE):
        with engine.writing():
            parts.append(store.erase(numbers[first : first + ERASED_AT_ONCE]))
        report(min(first + ERASED_AT_ONCE, len(numbers)), len(numbers))
    erased = Erased(
        entities=sum(part.entities for part in parts),
        versions=sum(part.versions for part in parts),
        payloads=sum(part.payloads for part in parts),
    )
    unreachable = _sweep(engine)
    return _purged(engine, erased, freed=max(0, before - store.file_size()), unreachable=unreachable)


def _sweep(engine: Engine) -> list[str]:
    """Remove what is left of erased rows in the file, and say in sentences what could not be."""
    store = engine.store
    number = store.unswept()
    unreachable = [
        f"The file {path} is named as a copy of the store and may hold what was erased: delete it if so."
        for path in store.copies()
    ]
    try:
        store.sweep_index()
        store.sweep_marks()
        store.vacuum()
    except (Busy, StorageFailure) as error:
        return [f"The memories are gone, but words of them may be left in the file: {error.message}", *unreachable]
    if not store.truncate_log(READER_PATIENCE_S):
        pinned = (
            f"Somebody still reads an older state of {store.path}, so that its log keeps words of what was erased:"
            " call mimir_purge again when the processes that use the store have ended."
        )
        return [pinned, *unreachable]
    with engine.writing():
        store.note_swept(number)
    return unreachable


def _purged(
    engine: Engine, erased: Erased, *, freed: int = 0, unreachable: list[str] | None = None, dry_run: bool = False
) -> Purged:
    return Purged(
        entities_deleted=erased.entities,
        versions_deleted=erased.versions,
        journal_payloads_erased=erased.payloads,
        bytes_freed=freed,
        unreachable=tuple(unreachable or ()),
        dry_run=dry_run,
        completed_at_unix_ms=engine.clock.now_ms(),
    )
