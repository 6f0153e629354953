"""Lifecycle: let memories fade, archive what has faded, bind what belongs together, rebuild the index.

A pass reads some memories, decides with the rules of `mimir.rules.layers`, and writes what changes in a transaction of
a few hundredths of a second, so that nobody waits for it.
"""

from __future__ import annotations

import heapq
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from typing import Annotated, Final, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from mimir.engine import Engine, text_of
from mimir.errors import InvalidInput, Unavailable
from mimir.model import Filter, Reindexed, Stored, is_live
from mimir.operation import Doc, operation
from mimir.progress import report
from mimir.rules import layers
from mimir.rules.layers import DAY_MS, Trace
from mimir.rules.similarity import similar_pairs

FAMILY: Final = "Lifecycle"

HOLD_S: Final = 0.02
"""How long a pass means to hold the write lock at a time, in seconds; others wait for it in pauses of that order."""

_FIRST_BATCH: Final = 500
_LEAST_BATCH: Final = 50
_MOST_BATCH: Final = 5_000

_MOVED_AT_ONCE: Final = 64
"""Texts of one transaction: for every 64 that leave it, the text index may merge some hundred pages at the end."""

_MOST_MOVED: Final = 5_000
"""Texts that one pass moves. More are only left behind when many are archived at once; search does not mind them."""

_COHERE_REASON: Final = "auto-archived by coherence daemon (decay < threshold)"
_AUTO_LINK: Final = "auto-related"

DryRun = Annotated[bool, Doc("Only say what would happen.")]

Step = Callable[[Trace], Trace]
"""One thing that a pass does to a memory; one that it leaves alone comes back as the same object."""


class Decayed(Struct, frozen=True, kw_only=True):
    """What a decay pass did; `entities_updated` counts the rows written, those archived included."""

    entities_checked: int
    entities_updated: int
    auto_archived: int
    completed_at_unix_ms: int


class Pruned(Struct, frozen=True, kw_only=True):
    """What prune did; `examined` counts all that match, whatever the limit."""

    archived: int
    examined: int
    dry_run: bool
    reason: str


class Compacted(Struct, frozen=True, kw_only=True):
    """What compact archived, or would archive, of how many."""

    entities_archived: int
    entities_examined: int
    dry_run: bool
    completed_at_unix_ms: int


class Cohered(Struct, frozen=True, kw_only=True):
    """What a grooming pass did, or would do; `decayed` counts the memories that became weaker."""

    promoted: int
    decayed: int
    linked: int
    archived: int
    entities_examined: int
    dry_run: bool
    completed_at_unix_ms: int


class AutoCohered(Struct, frozen=True, kw_only=True):
    """What cohere, decay and compact did, or would do, one after the other.

    `archived_entities` counts those of cohere and compact, `decay_archived_count` those of decay.
    """

    promoted_entities: int
    links_created: int
    archived_entities: int
    decay_updates: int
    decay_archived_count: int
    compact_archived_count: int
    db_size_delta_bytes: int
    dry_run: bool


class Affected(Struct, frozen=True, kw_only=True):
    """A memory that a pass would change: its strength and layer before and after, and whether it would be archived."""

    id: str
    category: str
    key: str
    archived: bool
    strength: float
    strength_after: float
    layer: str
    layer_after: str


class Foreseen(Struct, frozen=True, kw_only=True):
    """What a pass would do: `affected` names the first of those that it would change and that the caller may see."""

    entities_checked: int
    entities_updated: int
    archived: int
    affected: tuple[Affected, ...]


class Tally(NamedTuple):
    """How many memories one step changed, and how many of them it archived."""

    changed: int
    archived: int


class Sweep(NamedTuple):
    """What a sweep saw and did; `tallies` has one entry per step."""

    examined: int
    archived: int
    tallies: tuple[Tally, ...]


@operation(family=FAMILY, effect="archive", title="Recalculate Decay Scores", idempotent=True, long=True)
def decay(engine: Engine) -> Decayed:
    """Let every memory fade by its idle time: episodic ones in days, semantic in weeks, world knowledge in months.

    Faded ones fall to lower layers, and below 0.05 leave recall, except verified, pinned and scored ones. Run it daily,
    or mimir_autocohere, which includes it.
    """
    now = _begin(engine)
    swept = _sweep(engine, decay_steps(now), now)
    _move_texts(engine)
    return Decayed(
        entities_checked=swept.examined,
        entities_updated=swept.tallies[0].changed,
        auto_archived=swept.tallies[0].archived,
        completed_at_unix_ms=now,
    )


@operation(
    family=FAMILY,
    effect="archive",
    title="Prune Stale Entities",
    idempotent=True,
    long=True,
    example={"min_decay": 0.2, "older_than_days": 90, "dry_run": True},
)
def prune(
    engine: Engine,
    category: Annotated[str | None, Doc("Only this category.")] = None,
    min_decay: Annotated[float | None, Doc("Only memories weaker than this.")] = None,
    older_than_days: Annotated[int | None, Doc("Only memories created longer ago than this.", 0)] = None,
    limit: Annotated[int, Doc("Most memories to archive, oldest first; 0 for all.", 0)] = 100,
    dry_run: DryRun = False,
    purge_all: Annotated[
        bool, Doc("Archive whatever matches, verified, pinned and scored memories too; no other condition is needed.")
    ] = False,
) -> Pruned:
    """Archive the memories that meet every given condition; verified, pinned and scored ones only with purge_all.

    It needs min_decay, older_than_days or purge_all. Archived memories keep their history; for a single one use
    mimir_forget, to erase for good mimir_purge.

    Raises:
        InvalidInput: no condition is given, or one is negative or no number.
    """
    if min_decay is None and older_than_days is None and not purge_all:
        raise InvalidInput(
            "prune requires min_decay, older_than_days, or purge_all=true to archive the whole category",
            hint="Give min_decay or older_than_days, and try it with dry_run first.",
        )
    _check_finite(min_decay=min_decay)
    for name, value in (("older_than_days", older_than_days), ("limit", limit)):
        if value is not None and value < 0:
            raise InvalidInput(f"'{name}' is {value}.", hint="Give a number of at least 0.")
    now = _begin(engine)
    reason = f"prune: cat={_quoted(category)} decay<{_optional(min_decay)} age>{_optional(older_than_days)}d"
    steps = prune_steps(now, category, min_decay, older_than_days, reason, purge_all=purge_all)
    swept = _sweep(engine, steps, now, dry_run=dry_run, most=limit or None)
    _move_texts(engine, dry_run=dry_run)
    return Pruned(
        archived=swept.archived,
        examined=swept.tallies[0].archived,
        dry_run=dry_run,
        reason=reason,
    )


@operation(
    family=FAMILY,
    effect="archive",
    title="Compact Low-Decay Entities",
    idempotent=True,
    long=True,
    example={"min_decay": 0.1, "dry_run": True},
)
def compact(
    engine: Engine,
    min_decay: Annotated[float, Doc("Archive memories weaker than this.")] = layers.COMPACT_BELOW,
    dry_run: DryRun = False,
) -> Compacted:
    """Archive the weakest memories by the strength they have now, except verified, pinned and scored ones.

    For conditions on category or age use mimir_prune; to let strengths fade first, mimir_decay.

    Raises:
        InvalidInput: min_decay is no number.
    """
    _check_finite(min_decay=min_decay)
    now = _begin(engine)
    swept = _sweep(engine, compact_steps(now, min_decay), now, dry_run=dry_run)
    _move_texts(engine, dry_run=dry_run)
    return Compacted(
        entities_archived=swept.tallies[0].archived,
        entities_examined=swept.examined,
        dry_run=dry_run,
        completed_at_unix_ms=now,
    )


@operation(
    family=FAMILY,
    effect="archive",
    title="Run Coherence Grooming",
    long=True,
    example={"dry_run": True},
)
def cohere(
    engine: Engine,
    dry_run: DryRun = False,
    max_links: Annotated[int, Doc("Most links to make.", 0, layers.MOST_LINKS, clamp=True)] = layers.LINKS,
    promote_threshold: Annotated[int, Doc("Retrievals that lift an episodic memory to semantic.")] = layers.PROMOTE_AT,
    archive_threshold: Annotated[float, Doc("Archive memories weaker than this.")] = layers.ARCHIVE_BELOW,
) -> Cohered:
    """Groom the store: lift what is used often, fade everything by 5 %, link tagged memories that read alike, archive.

    Verified, pinned and scored memories are never archived. mimir_autocohere does this and the decay by idle time.

    Raises:
        InvalidInput: archive_threshold is no number.
    """
    _check_finite(archive_threshold=archive_threshold)
    now = _begin(engine)
    linked = _link_alike(engine, min(max(max_links, 0), layers.MOST_LINKS), dry_run=dry_run)
    swept = _sweep(engine, cohere_steps(promote_threshold, archive_threshold), now, dry_run=dry_run)
    _move_texts(engine, dry_run=dry_run)
    promoted, faded, archived = swept.tallies
    return Cohered(
        promoted=promoted.changed,
        decayed=faded.changed,
        linked=linked,
        archived=archived.archived,
        entities_examined=swept.examined,
        dry_run=dry_run,
        completed_at_unix_ms=now,
    )


@operation(
    family=FAMILY,
    effect="archive",
    title="Atomic Coherence Pass",
    profile="standard",
    long=True,
    example={"dry_run": True},
)
def autocohere(engine: Engine, dry_run: DryRun = False) -> AutoCohered:
    """Do the daily upkeep at once: mimir_cohere, then mimir_decay, then mimir_compact below 0.05.

    Each memory is written once, in short transactions that let others write. Single steps have tools of their own.
    """
    now = _begin(engine)
    size = engine.store.size_bytes()
    linked = _link_alike(engine, layers.LINKS, dry_run=dry_run)
    # Cohere's fading is left out: decay, which follows, finds the strength anew from the idle time.
    steps: list[Step] = [
        layers.promoted,
        lambda trace: layers.archived_below(trace, layers.ARCHIVE_BELOW, _COHERE_REASON),
        *decay_steps(now),
        *compact_steps(now, layers.ARCHIVE_BELOW),
    ]
    swept = _sweep(engine, steps, now, dry_run=dry_run)
    _move_texts(engine, dry_run=dry_run)
    promoted, cohered, decayed, compacted = swept.tallies
    return AutoCohered(
        promoted_entities=promoted.changed,
        links_created=linked,
        archived_entities=cohered.archived + compacted.archived,
        decay_updates=decayed.changed,
        decay_archived_count=decayed.archived,
        compact_archived_count=compacted.archived,
        db_size_delta_bytes=0 if dry_run else size - engine.store.size_bytes(),
        dry_run=dry_run,
    )


@operation(family=FAMILY, effect="write", title="Rebuild Search Index", idempotent=True, long=True)
def reindex(engine: Engine) -> Reindexed:
    """Rebuild the text index from the memories; needed only when mimir_health or doctor says so.

    Memories whose vectors come from another model are embedded again in the background.
    """
    model = None
    # Before the transaction, since an embedding service may take its time; it need not be there for the text index.
    with suppress(Unavailable):
        if engine.embedder is not None:
            model = engine.store.model_number(engine.embedder.model_id, engine.embedder.dimensions)
    with engine.writing():
        count = engine.store.rebuild_index(text_of)
        if model is not None:
            engine.store.make_foreign_pending(model)
    engine.note_pending()
    return Reindexed(reindexed=count)


def _begin(engine: Engine) -> int:
    """Write down the uses held in memory, which a pass must see, and return the instant of the pass."""
    engine.flush_uses()
    return engine.clock.now_ms()


def foresee(engine: Engine, steps: Sequence[Step], limit: int) -> Foreseen:
    """Tell what a pass of these steps would do now, and to which memories: those it would archive first."""
    store = engine.store
    affected: list[tuple[Trace, Trace]] = []
    examined = changed = archived = last = 0
    readable = Filter(include_archived=True, caller=engine.settings.agent_id)
    with store.reading():
        while traces := store.traces(last, _MOST_BATCH):
            after = [_through(steps, trace) for trace in traces]
            batch = [(was, now) for was, now in zip(traces, after, strict=True) if now is not was]
            examined, changed, last = examined + len(traces), changed + len(batch), traces[-1].number
            archived += sum(1 for _, now in batch if now.reason)
            affected = heapq.nsmallest(
                limit, [*affected, *batch], key=lambda pair: (not pair[1].reason, pair[1].strength)
            )
        visible = store.passing(readable, [was.number for was, _ in affected])
        outlines = store.outlines(visible)
    return Foreseen(
        entities_checked=examined,
        entities_updated=changed,
        archived=archived,
        affected=tuple(
            Affected(
                id=outlines[was.number].id,
                category=was.category,
                key=outlines[was.number].key,
                archived=bool(now.reason),
                strength=round(was.strength, 4),
                strength_after=round(now.strength, 4),
                layer=was.layer,
                layer_after=now.layer,
            )
            for was, now in affected
            if was.number in outlines
        ),
    )


def _leaving_first(change: tuple[Trace, Trace]) -> tuple[bool, float]:
    _, after = change
    return not after.reason, after.strength


def decay_steps(now_ms: int) -> list[Step]:
    """Return what `decay` does to a memory."""
    return [lambda trace: layers.decayed(trace, now_ms)]


def compact_steps(now_ms: int, below: float) -> list[Step]:
    """Return what `compact` does to a memory."""

    def archived(trace: Trace) -> Trace:
        after = layers.archived_below(trace, below, layers.ARCHIVE_REASON)
        return trace if after is trace else replace(after, last_accessed_ms=now_ms)

    return [archived]


def cohere_steps(promote_threshold: int, archive_threshold: float) -> list[Step]:
    """Return what `cohere` does to a memory, beside linking."""
    return [
        lambda trace: layers.promoted(trace, promote_threshold),
        lambda trace: layers.faded(trace, archive_threshold),
        lambda trace: layers.archived_below(trace, archive_threshold, _COHERE_REASON),
    ]


def prune_steps(
    now_ms: int,
    category: str | None,
    min_decay: float | None,
    older_than_days: int | None,
    reason: str,
    *,
    purge_all: bool = False,
) -> list[Step]:
    """Return what `prune` does to a memory."""
    created_before = None if older_than_days is None else now_ms - older_than_days * DAY_MS

    def archived(trace: Trace) -> Trace:
        matches = (
            (category is None or trace.category == category)
            and (min_decay is None or trace.strength < min_decay)
            and (created_before is None or trace.created_ms < created_before)
            and (purge_all or not layers.is_exempt(trace))
        )
        return replace(trace, reason=reason) if matches else trace

    return [archived]


def _through(steps: Sequence[Step], trace: Trace) -> Trace:
    for step in steps:
        trace = step(trace)
        if trace.reason:
            break
    return trace


def _sweep(
    engine: Engine, steps: Sequence[Step], now_ms: int, *, dry_run: bool = False, most: int | None = None
) -> Sweep:
    """Take every memory that is not archived through the steps, until one archives it, and write what becomes of it.

    ``most`` bounds how many are archived. A batch is decided before the write lock is taken, so that others find it
    free in between; when anything was written meanwhile, the batch is decided again under the lock.
    """
    store = engine.store
    size, last = _FIRST_BATCH, 0
    examined = archived = 0
    tallies = [Tally(0, 0)] * len(steps)
    with store.reading() if dry_run else nullcontext():
        while True:
            room = None if most is None else most - archived
            with store.reading():
                mark = store.change_mark()
                batch = _decide(engine, steps, last, size, room)
            if not batch.examined:
                return Sweep(examined, archived, tuple(tallies))
            if not dry_run and (batch.kept or batch.leaving):
                with engine.writing():
                    start = time.monotonic()
                    if store.change_mark() != mark:
                        batch = _decide(engine, steps, last, size, room)
                    store.write_traces(batch.kept)
                    store.archive_traces(batch.leaving, now_ms)
                held = max(1e-4, time.monotonic() - start)
                size = max(_LEAST_BATCH, min(_MOST_BATCH, int(size * HOLD_S / held)))
                archived += len(batch.leaving)
            last = batch.last
            examined += batch.examined
            report(examined)
            tallies = [
                Tally(one.changed + more.changed, one.archived + more.archived)
                for one, more in zip(tallies, batch.tallies, strict=True)
            ]


class _Batch(NamedTuple):
    """What becomes of some memories: those that stay with changes, and those that are archived."""

    examined: int
    last: int
    tallies: Sequence[Tally]
    kept: Sequence[Trace]
    leaving: Sequence[Trace]


def _decide(engine: Engine, steps: Sequence[Step], after: int, size: int, room: int | None) -> _Batch:
    traces = engine.store.traces(after, size)
    changed, archived = [0] * len(steps), [0] * len(steps)
    kept: list[Trace] = []
    leaving: list[Trace] = []
    for trace in traces:
        now = trace
        for place, step in enumerate(steps):
            before, now = now, step(now)
            if now is not before:
                changed[place] += 1
                if now.reason:
                    archived[place] += 1
                    break
        if now.reason:
            leaving.append(now)
        elif now is not trace:
            kept.append(now)
    return _Batch(
        examined=len(traces),
        last=traces[-1].number if traces else after,
        tallies=list(map(Tally, changed, archived)),
        kept=kept,
        leaving=leaving[:room],
    )


def _move_texts(engine: Engine, *, dry_run: bool = False) -> None:
    """Move the texts of memories that passes have archived from the index of live ones into that of past ones."""
    store = engine.store
    for _ in range(0 if dry_run else _MOST_MOVED // _MOVED_AT_ONCE):
        with engine.writing():
            start = time.monotonic()
            numbers = store.take_leaving(_MOVED_AT_ONCE)
            entities = {number: one.entity for number, one in store.load(numbers).items() if not is_live(one.entity)}
            store.move_to_past(entities, {number: text_of(entity) for number, entity in entities.items()})
        if len(numbers) < _MOVED_AT_ONCE:
            return
        # Others look for the lock in pauses of about a quarter of the time that they have waited.
        time.sleep((time.monotonic() - start) / 2)


class _Pair(NamedTuple):
    """Two memories to be linked, so that the most alike pair is the least one; ties go by id."""

    minus_similarity: float
    source_id: str
    target_id: str
    source: int
    target: int


def _link_alike(engine: Engine, most: int, *, dry_run: bool) -> int:
    """Link the tagged memories that read most alike and are not linked yet; return how many links that makes."""
    store = engine.store
    with store.reading():
        candidates = store.load(store.tagged_by_use(Filter(every_caller=True), layers.CANDIDATES_PER_LINK * most))
    pairs = heapq.nsmallest(most, _alike(candidates))
    if dry_run or not pairs:
        return len(pairs)
    with engine.writing() as now:
        present = store.load({number for pair in pairs for number in (pair.source, pair.target)})
        # Comparing takes too long for the write lock: what has changed meanwhile is left to the next pass.
        steady = {number for number, one in present.items() if _grounds(one) == _grounds(candidates[number])}
        pairs = [
            pair
            for pair in pairs
            if {pair.source, pair.target} <= steady and not _are_linked(present[pair.source], present[pair.target])
        ]
        for pair in pairs:
            store.add_link(pair.source, pair.target_id, _AUTO_LINK, -pair.minus_similarity, now)
    return len(pairs)


def _alike(candidates: Mapping[int, Stored]) -> Iterator[_Pair]:
    """Yield the pairs that may be linked: within a category and workspace, private memories among their agent's."""
    groups: dict[tuple[str, ...], list[Stored]] = {}
    for stored in sorted(candidates.values(), key=lambda stored: stored.entity.id):
        entity = stored.entity
        private = (entity.agent_id,) if entity.visibility == "private" else ()
        groups.setdefault((entity.category, entity.workspace_hash, *private), []).append(stored)
    for group in groups.values():
        for left, right, similarity in similar_pairs([text_of(stored.entity) for stored in group], layers.LINK_FROM):
            source, target = group[left], group[right]
            if not _are_linked(source, target):
                yield _Pair(-similarity, source.entity.id, target.entity.id, source.number, target.number)


def _are_linked(one: Stored, other: Stored) -> bool:
    return any(
        link.target_id == target.entity.id
        for source, target in ((one, other), (other, one))
        for link in source.entity.links
    )


def _grounds(stored: Stored) -> tuple[object, ...]:
    """Return what linking looks at in a memory and may change."""
    entity = stored.entity
    return entity.body_json, entity.tags, entity.archived, entity.status, entity.visibility, entity.agent_id


def _check_finite(**numbers: float | None) -> None:
    for name, value in numbers.items():
        if value is not None and not math.isfinite(value):
            raise InvalidInput(f"'{name}' is {value}, not a number.", hint="Give a finite number.")


def _quoted(text: str | None) -> str:
    return "None" if text is None else f"Some({json.dumps(text, ensure_ascii=False)})"


def _optional(number: float | None) -> str:
    return "None" if number is None else f"Some({number})"
