"""Layers and strength: how use lifts a memory and how idleness fades it. One table for every door.

The strength of a memory is Ebbinghaus' retention curve exp(-t / S): t is the idle time, S a stability that depends on
the layer (H. Ebbinghaus, "Memory", 1885; the exponential form as in SuperMemo's two-component model).
"""

from __future__ import annotations

import math
from typing import Final

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
