"""Maintenance from the pages: each pass says first what it would do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from mimir.engine import Engine
from mimir.errors import InvalidInput
from mimir.journaling import append_event
from mimir.model import Json
from mimir.operations import erasure, lifecycle, quality
from mimir.operations.lifecycle import Foreseen
from mimir.rules import layers
from mimir.web import editing
from mimir.web.asked import Asked
from mimir.web.editing import ACTOR, Actions
from mimir.web.shapes import readable

NAMED: Final = 200
"""Memories that a preview names."""

Pass = Callable[[Engine, Asked, bool], Json]


def maintain(engine: Engine, asked: Asked, actions: Actions) -> Json:
    """Preview a pass, or run it and say so in the journal.

    Raises:
        InvalidInput: there is no such pass, or a purge is not confirmed.
    """
    name = asked.required("name")
    if name not in _PASSES:
        raise InvalidInput(f"There is no {name!r:.40}.", hint=f"Use one of: {', '.join(_PASSES)}.")
    dry_run = asked.flag("dry_run") is not False
    if name == "conflicts" and not dry_run:
        return editing.merge(engine, asked, actions)
    report = _PASSES[name](engine, asked, dry_run)
    if not dry_run:
        with engine.writing() as now:
            append_event(engine, now, "maintenance", acted={"action": name}, agent_id=ACTOR)
        if name == "purge":
            # What they would put back may be gone.
            actions.clear()
    return {**msgspec.to_builtins(report), "dry_run": dry_run}


def _decay(engine: Engine, _: Asked, dry_run: bool) -> Json:
    if dry_run:
        return _foreseen(engine, lifecycle.decay_steps(engine.clock.now_ms()))
    return lifecycle.decay(engine)


def _compact(engine: Engine, asked: Asked, dry_run: bool) -> Json:
    below = asked.share("min_decay")
    below = layers.COMPACT_BELOW if below is None else below
    if dry_run:
        return _foreseen(engine, lifecycle.compact_steps(engine.clock.now_ms(), below))
    return lifecycle.compact(engine, below)


def _cohere(engine: Engine, asked: Asked, dry_run: bool) -> Json:
    below = asked.share("archive_threshold")
    below = layers.ARCHIVE_BELOW if below is None else below
    most_links = asked.number("max_links", layers.LINKS, 0, layers.MOST_LINKS)
    report = lifecycle.cohere(engine, dry_run, max_links=most_links, archive_threshold=below)
    if not dry_run:
        return report
    return {**msgspec.to_builtins(report), **_foreseen(engine, lifecycle.cohere_steps(layers.PROMOTE_AT, below))}


def _prune(engine: Engine, asked: Asked, dry_run: bool) -> Json:
    category, weaker, older = asked.text("category") or None, asked.share("min_decay"), asked.instant("older_than_days")
    limit = asked.number("limit", 100)
    report = lifecycle.prune(engine, category, weaker, older, limit, dry_run=dry_run)
    if not dry_run:
        return report
    steps = lifecycle.prune_steps(engine.clock.now_ms(), category, weaker, older, report.reason)
    return {**msgspec.to_builtins(report), "affected": _foreseen(engine, steps)["affected"]}


def _purge(engine: Engine, asked: Asked, dry_run: bool) -> Json:
    if not dry_run and asked.text("confirm") != "purge":
        raise InvalidInput("A purge cannot be undone.", hint='Confirm it with "confirm": "purge".')
    with engine.store.reading():
        going = engine.store.passing(readable(engine), engine.store.archived()[:NAMED]) if dry_run else ()
        outlines = engine.store.outlines(going)
    report: dict[str, Json] = msgspec.to_builtins(erasure.purge(engine, dry_run))
    affected = [{"id": one.id, "category": one.category, "key": one.key} for one in outlines.values()]
    return {**report, "affected": affected} if dry_run else report


def _conflicts(engine: Engine, asked: Asked, _: bool) -> Json:
    return quality.conflicts(engine, asked.required("category"), limit=asked.number("limit", 20, 1, 100))


def _reindex(engine: Engine, _: Asked, dry_run: bool) -> Json:
    if dry_run:
        with engine.store.reading():
            return {"reindexed": engine.store.count(msgspec.structs.replace(readable(engine), include_archived=False))}
    return lifecycle.reindex(engine)


def _foreseen(engine: Engine, steps: list[lifecycle.Step]) -> dict[str, Json]:
    foreseen: Foreseen = lifecycle.foresee(engine, steps, NAMED)
    plain: dict[str, Json] = msgspec.to_builtins(foreseen)
    return plain


_PASSES: Final[Mapping[str, Pass]] = {
    "decay": _decay,
    "compact": _compact,
    "cohere": _cohere,
    "conflicts": _conflicts,
    "prune": _prune,
    "purge": _purge,
    "reindex": _reindex,
}
"""Each pass, with whether it only tells what it would do."""
