"""Layers and strength: how use lifts a memory and how idleness fades it. One table for every door.

The strength of a memory is Ebbinghaus' retention curve exp(-t / S): t is the idle time, S a stability that depends on
the layer (H. Ebbinghaus, "Memory", 1885; the exponential form as in SuperMemo's two-component model).
"""

from __future__ import annotations

import math
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

DAY_MS: Final = 86_400_000

STABILITY_DAYS: Final = {"buffer": 7.0, "working": 30.0, "core": 180.0}
"""Time constant S per layer, in days: after S idle days 0.368 of the strength is left."""

PROMOTION: Final = (("core", 20), ("working", 5))
"""Retrievals from which a memory belongs to a layer, highest first."""

RANK: Final = {"buffer": 0, "working": 1, "core": 2}
ALIASES: Final = {"world": "core", "episodic": "buffer", "semantic": "working"}

RECALL_BOOST: Final = 0.25
MERGE_BOOST: Final = 0.15
VERIFIED_FLOOR: Final = 0.2

LAYER_BELOW: Final = (("buffer", 0.2), ("working", 0.5))
"""Strengths below which a pass lowers a memory to a layer, lowest first."""

ARCHIVE_BELOW: Final = 0.05
COMPACT_BELOW: Final = 0.1
ARCHIVE_REASON: Final = "decay threshold"

LEAST_MOVE: Final = 0.001
"""Change of strength that is worth a write."""

PROMOTE_AT: Final = 3
"""Retrievals from which grooming lifts a memory out of the lowest layer, sooner than use alone does."""

PROMOTE_FROM: Final = 0.2
"""Strength that this takes as well: else grooming would lift again and again what decay has lowered."""

FADE: Final = 0.95
FADE_ABOVE: Final = 0.01

LINK_FROM: Final = 0.3
"""Jaccard index of trigrams from which grooming links two memories."""

LINKS: Final = 20
MOST_LINKS: Final = 100
CANDIDATES_PER_LINK: Final = 50


class Trace(Struct, frozen=True, gc=False):
    """What the passes look at in a memory that is not archived, and what they make of it.

    `fading_from_ms` is set where a pass has lowered the layer: the strength it had then is what the pace of the lower
    layer leaves since this instant. `floor` is an explicit score. A `reason` archives the memory.
    """

    number: int
    category: str
    strength: float
    layer: str
    retrievals: int
    verified: int
    always_on: int
    floor: float | None
    created_ms: int
    last_accessed_ms: int
    fading_from_ms: int | None
    reason: str = ""


def canonical_layer(name: str) -> str:
    """Return the stored word for a layer: world is core, semantic is working, episodic is buffer."""
    return ALIASES.get(name, name)


def raised_layer(layer: str, retrieval_count: int) -> str:
    """Return the layer after use: the one the count has earned, if that is higher.

    A layer outside the known three was chosen by hand and stays.
    """
    if layer not in RANK:
        return layer
    for name, least in PROMOTION:
        if retrieval_count >= least and RANK[name] > RANK[layer]:
            return name
    return layer


def boosted(decay_score: float, boost: float = RECALL_BOOST) -> float:
    """Return the strength after a use, at most 1."""
    return min(1.0, decay_score + boost)


def retention(idle_ms: int, layer: str) -> float:
    """Return the strength 0..1 left after ``idle_ms`` milliseconds without use."""
    if idle_ms <= 0:
        return 1.0
    return math.exp(-idle_ms / (STABILITY_DAYS.get(layer, STABILITY_DAYS["buffer"]) * DAY_MS))


def floor_of(trace: Trace) -> float:
    """Return the strength below which no pass takes a memory: an explicit score, else that of verified ones, else 0."""
    if trace.floor is not None:
        return trace.floor
    return VERIFIED_FLOOR if trace.verified else 0.0


def is_exempt(trace: Trace) -> bool:
    """Tell whether no pass may lower or archive a memory: it is verified, pinned or explicitly scored."""
    return bool(trace.verified or trace.always_on) or trace.floor is not None


def decayed(trace: Trace, now_ms: int) -> Trace:
    """Return a memory with the strength that its idle time leaves, lowered or archived accordingly.

    The very same object comes back when nothing is worth a write, so that deciding twice at one instant writes once.
    """
    since = trace.last_accessed_ms
    if trace.fading_from_ms is not None:
        since = max(since, trace.fading_from_ms)
    strength = retention(now_ms - since, trace.layer)
    if is_exempt(trace):
        strength = max(strength, floor_of(trace))
    elif strength < ARCHIVE_BELOW:
        return replace(trace, strength=strength, reason=ARCHIVE_REASON)
    elif (layer := _lowered_layer(trace.layer, strength)) != trace.layer:
        # The lower layer's pace must go on from this strength: by the whole idle time it would be next to nothing.
        idle = int(-STABILITY_DAYS[layer] * DAY_MS * math.log(strength))
        return replace(trace, strength=strength, layer=layer, fading_from_ms=now_ms - idle)
    return replace(trace, strength=strength) if abs(strength - trace.strength) >= LEAST_MOVE else trace


def promoted(trace: Trace, least_retrievals: int = PROMOTE_AT) -> Trace:
    """Return a memory one layer above the lowest, if it was retrieved often enough and has not faded since."""
    if trace.layer == "buffer" and trace.retrievals >= least_retrievals and trace.strength >= PROMOTE_FROM:
        return replace(trace, layer="working")
    return trace


def faded(trace: Trace, archive_below: float = ARCHIVE_BELOW) -> Trace:
    """Return a memory a little weaker; neither below its floor, nor so weak that this alone would archive it."""
    if trace.strength <= FADE_ABOVE:
        return trace
    strength = min(trace.strength, max(FADE * trace.strength, floor_of(trace), archive_below))
    return replace(trace, strength=strength) if strength < trace.strength else trace


def archived_below(trace: Trace, strength: float, reason: str) -> Trace:
    """Return a memory archived for ``reason`` if it is weaker than ``strength`` and not exempt."""
    return replace(trace, reason=reason) if trace.strength < strength and not is_exempt(trace) else trace


def _lowered_layer(layer: str, strength: float) -> str:
    if strength < LAYER_BELOW[-1][1]:
        for name, below in LAYER_BELOW:
            if strength < below and RANK[name] < RANK.get(layer, 0):
                return name
    return layer
