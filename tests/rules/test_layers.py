"""Layers and strength: use lifts, idleness fades, and higher layers fade slower."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimir.rules.layers import (
    ALIASES,
    ARCHIVE_BELOW,
    DAY_MS,
    LEAST_MOVE,
    RANK,
    STABILITY_DAYS,
    VERIFIED_FLOOR,
    Trace,
    archived_below,
    boosted,
    canonical_layer,
    decayed,
    faded,
    floor_of,
    is_exempt,
    promoted,
    raised_layer,
    retention,
)

LAYERS = ["buffer", "working", "core"]
SPOKEN = {"episodic": "buffer", "semantic": "working", "world": "core"}

layers = st.sampled_from(LAYERS)
counts = st.integers(0, 1_000)
strengths = st.floats(0, 1)
days = st.floats(0, 1_000)
NOW = 2_000_000_000_000


@pytest.mark.parametrize(("spoken", "stored"), [*SPOKEN.items(), ("core", "core"), ("of my own", "of my own")])
def test_a_layer_has_one_stored_word(spoken: str, stored: str) -> None:
    assert canonical_layer(spoken) == stored
    assert canonical_layer(canonical_layer(spoken)) == stored


def test_the_tables_speak_of_the_same_layers() -> None:
    assert set(STABILITY_DAYS) == set(RANK) == set(ALIASES.values()) == set(LAYERS)
    assert sorted(LAYERS, key=RANK.__getitem__) == sorted(LAYERS, key=STABILITY_DAYS.__getitem__) == LAYERS


@pytest.mark.parametrize(
    ("layer", "count", "after"),
    [
        ("buffer", 0, "buffer"),
        ("buffer", 4, "buffer"),
        ("buffer", 5, "working"),
        ("buffer", 19, "working"),
        ("buffer", 20, "core"),
        ("working", 19, "working"),
        ("working", 20, "core"),
        ("core", 0, "core"),
        ("of my own", 100, "of my own"),
    ],
)
def test_use_raises_a_layer_at_five_and_at_twenty_retrievals(layer: str, count: int, after: str) -> None:
    assert raised_layer(layer, count) == after


@given(layers, counts, counts)
def test_use_never_lowers_a_layer_and_more_use_never_gives_less(layer: str, first: int, second: int) -> None:
    fewer, more = sorted((first, second))
    assert RANK[layer] <= RANK[raised_layer(layer, fewer)] <= RANK[raised_layer(layer, more)]
    assert raised_layer(raised_layer(layer, fewer), fewer) == raised_layer(layer, fewer)


@given(strengths, strengths)
def test_a_boost_strengthens_within_bounds(strength: float, boost: float) -> None:
    assert strength <= boosted(strength, boost) <= 1.0


@given(strengths, strengths)
def test_a_stronger_memory_stays_the_stronger_after_a_boost(left: float, right: float) -> None:
    weaker, stronger = sorted((left, right))
    assert boosted(weaker) <= boosted(stronger)


@pytest.mark.parametrize(("layer", "days"), [("buffer", 7), ("working", 30), ("core", 180)])
def test_after_its_stability_a_memory_keeps_a_third_of_its_strength(layer: str, days: int) -> None:
    assert retention(0, layer) == 1.0
    assert retention(days * DAY_MS, layer) == pytest.approx(1 / math.e)


@given(layers, st.integers(0, 5 * 365 * DAY_MS), st.integers(1, 365 * DAY_MS))
def test_longer_idleness_leaves_less(layer: str, idle: int, longer: int) -> None:
    assert 0.0 < retention(idle + longer, layer) <= retention(idle, layer) <= 1.0


@given(st.integers(DAY_MS, 3 * 365 * DAY_MS))
def test_higher_layers_fade_slower(idle: int) -> None:
    episodic, semantic, world = (retention(idle, layer) for layer in LAYERS)
    assert episodic < semantic < world < 1.0


@given(layers, st.integers(-DAY_MS, 0))
def test_a_clock_that_was_set_back_fades_nothing(layer: str, idle: int) -> None:
    assert retention(idle, layer) == 1.0


def test_a_layer_of_ones_own_fades_like_an_episode() -> None:
    assert retention(DAY_MS, "of my own") == retention(DAY_MS, "buffer")


def trace(
    layer: str = "buffer",
    strength: float = 1.0,
    *,
    idle_days: float = 0.0,
    retrievals: int = 0,
    verified: bool = False,
    always_on: bool = False,
    floor: float | None = None,
) -> Trace:
    return Trace(
        number=1,
        category="c",
        strength=strength,
        layer=layer,
        retrievals=retrievals,
        verified=int(verified),
        always_on=int(always_on),
        floor=floor,
        created_ms=0,
        last_accessed_ms=NOW - round(idle_days * DAY_MS),
        fading_from_ms=None,
    )


anything = st.builds(
    trace,
    st.sampled_from([*LAYERS, "of my own"]),
    strengths,
    idle_days=days | st.floats(-10, 0),
    retrievals=counts,
    verified=st.booleans(),
    always_on=st.booleans(),
    floor=st.none() | strengths,
)


@given(anything)
def test_decay_leaves_what_the_idle_time_leaves_but_never_less_than_the_floor(one: Trace) -> None:
    left = max(floor_of(one), retention(NOW - one.last_accessed_ms, one.layer))
    assert decayed(one, NOW).strength == pytest.approx(left, abs=LEAST_MOVE)


@given(anything)
def test_deciding_again_at_the_same_instant_changes_nothing(one: Trace) -> None:
    once = decayed(one, NOW)
    assert once.reason or decayed(once, NOW) is once


@given(anything, days)
def test_as_time_goes_on_decay_never_strengthens(one: Trace, later: float) -> None:
    first = decayed(one, NOW)
    second = decayed(first, NOW + round(later * DAY_MS))
    assert first.reason or second.strength <= first.strength + LEAST_MOVE
    assert RANK.get(second.layer, 0) <= RANK.get(first.layer, 0)


@given(anything, days, days)
def test_a_longer_idle_time_leaves_no_more(one: Trace, first: float, second: float) -> None:
    shorter, longer = sorted((first, second))
    after = [decayed(one, NOW + round(idle * DAY_MS)) for idle in (shorter, longer)]
    assert after[1].strength <= after[0].strength + 2 * LEAST_MOVE
    assert bool(after[0].reason) <= bool(after[1].reason)


def test_a_move_too_small_to_matter_is_not_written() -> None:
    one = trace("core", retention(DAY_MS, "core"), idle_days=1)
    assert decayed(one, NOW) is one
    assert decayed(one, NOW + 60_000) is one
    assert decayed(one, NOW + DAY_MS) is not one


@pytest.mark.parametrize(
    ("layer", "idle_days", "after"),
    [
        ("core", 124, "core"),
        ("core", 126, "working"),
        ("core", 289, "working"),
        ("core", 291, "buffer"),
        ("working", 47, "working"),
        ("working", 49, "buffer"),
        ("buffer", 20, "buffer"),
        ("of my own", 20, "of my own"),
    ],
)
def test_layers_fall_below_a_half_and_below_a_fifth(layer: str, idle_days: float, after: str) -> None:
    assert decayed(trace(layer, idle_days=idle_days), NOW).layer == after


def test_a_lowered_memory_goes_on_fading_from_where_it_was() -> None:
    lowered = decayed(trace("core", idle_days=130), NOW)
    assert lowered.strength == pytest.approx(math.exp(-130 / 180))
    assert decayed(lowered, NOW + 10 * DAY_MS).strength == pytest.approx(lowered.strength * math.exp(-10 / 30))


@pytest.mark.parametrize(("layer", "most"), [("buffer", 21), ("working", 59), ("core", 163)])
def test_watched_daily_a_memory_lasts_the_longer_the_higher_its_layer(layer: str, most: int) -> None:
    one = trace(layer)
    for day in range(1, most + 1):
        assert not one.reason, day
        one = decayed(one, NOW + day * DAY_MS)
    assert one.reason


@given(anything)
def test_only_what_is_weak_and_not_exempt_is_archived(one: Trace) -> None:
    after = decayed(one, NOW)
    weak = retention(NOW - one.last_accessed_ms, one.layer) < ARCHIVE_BELOW
    assert bool(after.reason) == (weak and not is_exempt(one))


@given(anything)
def test_exempt_memories_keep_their_layer(one: Trace) -> None:
    assert not is_exempt(one) or decayed(one, NOW).layer == one.layer


@pytest.mark.parametrize(
    ("verified", "floor", "least"),
    [(False, None, 0.0), (True, None, VERIFIED_FLOOR), (True, 0.9, 0.9), (True, 0.1, 0.1)],
)
def test_an_explicit_score_comes_before_the_floor_of_verified_ones(
    verified: bool, floor: float | None, least: float
) -> None:
    after = decayed(trace(idle_days=1_000, verified=verified, floor=floor, always_on=True), NOW)
    assert after.strength == pytest.approx(least)


@given(anything, strengths)
def test_fading_alone_never_goes_below_the_floor_or_the_line_of_archival(one: Trace, line: float) -> None:
    after = faded(one, line)
    assert after.strength <= one.strength
    assert after.strength >= min(one.strength, max(line, floor_of(one)))
    assert after.strength >= 0.95 * one.strength - 1e-12
    assert (after is one) == (after.strength == one.strength)


@given(anything, strengths)
def test_fading_again_and_again_archives_nothing(one: Trace, line: float) -> None:
    was_safe = not archived_below(one, line, "faded").reason
    for _ in range(100):
        one = faded(one, line)
    assert not was_safe or not archived_below(one, line, "faded").reason


@pytest.mark.parametrize(
    ("layer", "retrievals", "strength", "after"),
    [
        ("buffer", 2, 1.0, "buffer"),
        ("buffer", 3, 1.0, "working"),
        ("buffer", 3, 0.2, "working"),
        ("buffer", 3, 0.19, "buffer"),
        ("buffer", 50, 1.0, "working"),
        ("working", 50, 1.0, "working"),
        ("core", 50, 1.0, "core"),
        ("of my own", 50, 1.0, "of my own"),
    ],
)
def test_grooming_lifts_one_layer_from_three_retrievals(
    layer: str, retrievals: int, strength: float, after: str
) -> None:
    assert promoted(trace(layer, strength, retrievals=retrievals)).layer == after


@given(anything)
def test_grooming_does_not_lift_what_decay_has_lowered(one: Trace) -> None:
    lowered = decayed(one, NOW)
    assert lowered.layer == one.layer or lowered.layer != "buffer" or promoted(lowered) is lowered
