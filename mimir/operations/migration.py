"""Migration: what a file of the Rust Mimir holds, brought into this store."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import islice
from typing import Annotated, Final, TypeVar

from msgspec import Struct

from mimir.config import expand
from mimir.crypto import load_keys
from mimir.engine import Engine
from mimir.operation import Doc, operation
from mimir.progress import report
from mimir.store import Store, open_original

FAMILY: Final = "Operations"

MOVED_AT_ONCE: Final = 100
"""Rows of one transaction, a long text counting as several: some tens of milliseconds, so that no writer waits long."""

_NO_TABLE: Final = "No v0.1.x memories table found in source DB"
_NAMED_ERRORS: Final = 100

Item = TypeVar("Item")


class Migrated(Struct, frozen=True, kw_only=True):
    """What was found and what was added; nothing is ever updated. `errors` names rows that could not be read."""

    total_old_memories: int
    entities_created: int
    entities_updated: int
    errors: tuple[str, ...]
    completed_at_unix_ms: int


@operation(
    family=FAMILY,
    effect="write",
    title="Migrate Legacy Database",
    idempotent=True,
    long=True,
    example={"from_path": "~/old.db"},
)
def migrate(
    engine: Engine,
    from_path: Annotated[str, Doc("The former file, 0.1 or 2.x; ~ is the home folder. It is only read.")],
) -> Migrated:
    """Add everything that a file of the Rust Mimir holds to this store: memories, versions, links, journal, state.

    What is here already stays as it is, so running it again adds nothing. To go on with an old file alone, open it
    with --db instead: it is converted after a backup.

    Raises:
        NotFound: there is no such file.
        InvalidInput: it is a store of this Mimir.
        StorageFailure: it is no database, damaged, or of a format newer than known.
        Locked: its bodies are encrypted, and this store has no key or another.
    """
    total = created = 0
    errors = [_NO_TABLE]
    with open_original(expand(from_path), load_keys(engine.settings.encryption_key)) as source:
        if source is not None:
            renamed = _renamed(engine.store, source.identities())
            for wholes in source.memories(MOVED_AT_ONCE, renamed):
                with engine.writing():
                    created += engine.store.add_wholes(wholes)
                total += len(wholes)
                report(total)
            for events in _chunks(source.events(renamed)):
                with engine.writing():
                    engine.store.add_former_events(events)
            for entries in _chunks(source.state()):
                with engine.writing():
                    engine.store.add_former_state(entries)
            errors = list(source.unreadable.values())
            total += source.count_unreadable()
    engine.note_pending()
    more = len(errors) - _NAMED_ERRORS
    return Migrated(
        total_old_memories=total,
        entities_created=created,
        entities_updated=0,
        errors=(*errors[:_NAMED_ERRORS], *([f"And {more} more."] if more > 0 else ())),
        completed_at_unix_ms=engine.clock.now_ms(),
    )


def _renamed(store: Store, identities: Iterator[tuple[str, int]]) -> dict[str, str]:
    """Return new ids for those that mean another memory here, the same ones whenever it is asked.

    The same memory is told by its id together with the time at which it was made.
    """
    renamed: dict[str, str] = {}
    for entity_id, created in identities:
        held = store.get(entity_id)
        if held is not None and held.entity.created_at_unix_ms != created:
            renamed[entity_id] = "mem-" + hashlib.sha256(f"{entity_id}\0{created}".encode()).hexdigest()[:12]
    return renamed


def _chunks(items: Iterator[Item]) -> Iterator[list[Item]]:
    while chunk := list(islice(items, MOVED_AT_ONCE)):
        yield chunk
