"""The two axes of time: what was recorded by an instant, and what held at one."""

from __future__ import annotations

import time
from collections.abc import Sequence

from mimir.model import Entity, Stored, Version


def holds_at(entity: Entity, valid_at_ms: int) -> bool:
    """Tell whether a fact's half-open validity [from, to) contains an instant; a missing bound is open."""
    start, end = entity.valid_from_unix_ms, entity.valid_to_unix_ms
    return (start is None or start <= valid_at_ms) and (end is None or valid_at_ms < end)


def in_force(
    current: Entity, versions: Sequence[Version], as_of_ms: int, valid_at_ms: int | None
) -> Entity | Version | None:
    """Return what was believed at ``as_of_ms``: the current entity, one of its versions (newest first), or None.

    Without ``valid_at_ms`` it is the newest that had been recorded. With it, the newest of those still asserted whose
    validity contains that instant: an assertion ends when a change amended it, and stays beside a later one that was
    recorded for another period.
    """
    chain: list[tuple[Entity, Entity | Version, bool]] = [(current, current, False)]
    chain += [(version.entity, version, version.amended) for version in versions]
    successor_known = False
    for entity, owner, amended in chain:
        if entity.recorded_at_unix_ms > as_of_ms:
            continue
        replaced = amended and successor_known
        successor_known = True
        if valid_at_ms is None or (not replaced and holds_at(entity, valid_at_ms)):
            return owner
    return None


def was_archived(stored: Stored, versions: Sequence[Version], as_of_ms: int) -> bool:
    """Tell whether a memory was archived at an instant, whichever of its assertions is looked at."""
    then = in_force(stored.entity, versions, as_of_ms, None)
    left = then.archived_at_unix_ms if isinstance(then, Version) else stored.archived_at_unix_ms
    return left is not None and left <= as_of_ms


def day(unix_ms: int) -> str:
    """Return the date of an instant in UTC; one that no calendar reaches as its number."""
    try:
        return time.strftime("%Y-%m-%d", time.gmtime(unix_ms // 1000))
    except (OverflowError, OSError, ValueError):
        return f"{unix_ms} ms"
