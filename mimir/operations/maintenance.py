"""Maintenance: duplicates, orphans, free space and the index, each when asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Final, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from mimir.engine import Engine
from mimir.errors import MimirError
from mimir.model import Filter, Stored, is_live
from mimir.operation import Doc, operation
from mimir.operations.lifecycle import reindex as rebuild_index
from mimir.recording import change
from mimir.rules.duplicates import Rank, content_digest, may_yield, staying_rank

FAMILY: Final = "Operations"

_ARCHIVED_AT_ONCE: Final = 20
_READER_PATIENCE_S: Final = 2.0


class Maintained(Struct, frozen=True, kw_only=True):
    """What maintenance did, or found in a dry run; `errors` has a sentence for each part that failed."""

    dedup_archived: int
    orphan_journal_entries_found: int
    orphan_links_found: int
    vacuum_reclaimed_bytes: int
    reindex_rows_affected: int
    dry_run: bool
    errors: tuple[str, ...]


class Duplicate(NamedTuple):
    """A memory that says the same as another: the numbers of both."""

    number: int
    kept: int


@operation(
    family=FAMILY,
    effect="archive",
    title="Run Database Maintenance",
    idempotent=True,
    long=True,
    example={"all": True, "dry_run": True},
)
def maintenance(
    engine: Engine,
    dedup: Annotated[bool, Doc("Archive what says the same as another.")] = False,
    orphans: Annotated[bool, Doc("Count journal rows and links without their memory.")] = False,
    vacuum: Annotated[bool, Doc("Give free space back.")] = False,
    reindex: Annotated[bool, Doc("Rebuild the search index.")] = False,
    all: Annotated[bool, Doc("All four.")] = False,
    dry_run: Annotated[bool, Doc("Only count.")] = False,
) -> Maintained:
    """Do the chosen housekeeping; without a choice nothing is done, and a part that fails does not stop the others.

    Of memories that say the same in one category and workspace, the verified, pinned or most used one stays. Fading is
    mimir_autocohere's, erasing mimir_purge's.
    """
    store = engine.store
    errors: list[str] = []

    def run(part: str, work: Callable[[], int]) -> int:
        try:
            return work()
        except MimirError as error:
            errors.append(f"{part}: {error.message}")
            return 0

    return Maintained(
        dedup_archived=run("dedup", lambda: _dedup(engine, dry_run=dry_run)) if dedup or all else 0,
        orphan_journal_entries_found=run("orphans", store.orphaned_events) if orphans or all else 0,
        orphan_links_found=run("orphans", store.orphaned_links) if orphans or all else 0,
        reindex_rows_affected=run("reindex", lambda: rebuild_index(engine).reindexed)
        if (reindex or all) and not dry_run
        else 0,
        vacuum_reclaimed_bytes=run("vacuum", lambda: _vacuum(engine)) if (vacuum or all) and not dry_run else 0,
        dry_run=dry_run,
        errors=tuple(errors),
    )


def _dedup(engine: Engine, *, dry_run: bool) -> int:
    found = _duplicates(engine)
    if dry_run:
        return len(found)
    archived = 0
    for first in range(0, len(found), _ARCHIVED_AT_ONCE):
        with engine.writing() as now:
            for duplicate in found[first : first + _ARCHIVED_AT_ONCE]:
                archived += _archive(engine, duplicate, now)
    return archived


def _duplicates(engine: Engine) -> list[Duplicate]:
    """Return every live memory that says the same as one that ranks before it and may be archived for that."""
    alike: dict[bytes, tuple[Rank, int]] = {}
    yielding: list[tuple[bytes, int]] = []
    for batch in engine.store.scan(Filter(every_caller=True)):
        for stored in batch:
            digest, rank = content_digest(stored.entity), _rank(stored)
            if may_yield(stored.entity, scored=stored.score_floor is not None):
                yielding.append((digest, stored.number))
            if digest not in alike or rank < alike[digest][0]:
                alike[digest] = (rank, stored.number)
    return [Duplicate(number, alike[digest][1]) for digest, number in yielding if alike[digest][1] != number]


def _archive(engine: Engine, duplicate: Duplicate, now: int) -> bool:
    """Archive a duplicate if it still is one, whatever others have written since it was found."""
    loaded = engine.store.load(duplicate)
    gone, kept = loaded.get(duplicate.number), loaded.get(duplicate.kept)
    if gone is None or kept is None or not (is_live(gone.entity) and is_live(kept.entity)):
        return False
    if content_digest(gone.entity) != content_digest(kept.entity) or _rank(gone) < _rank(kept):
        return False
    reason = f"duplicate of {kept.entity.id}"
    change(engine, gone, replace(gone.entity, archived=True, archive_reason=reason), now, amends=True)
    return True


def _rank(stored: Stored) -> Rank:
    return staying_rank(stored.entity, scored=stored.score_floor is not None)


def _vacuum(engine: Engine) -> int:
    store = engine.store
    before = store.file_size()
    store.vacuum()
    store.truncate_log(_READER_PATIENCE_S)
    return before - store.file_size()
