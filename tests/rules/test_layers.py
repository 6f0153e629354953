"""Layers and strength: use lifts, idleness fades, and higher layers fade slower."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimir.rules.layers import ALIASES, DAY_MS, RANK, STABILITY_DAYS, boosted, canonical_layer, raised_layer, retention

LAYERS = ["buffer", "working", "core"]
SPOKEN = {"episodic": "buffer", "semantic": "working", "world": "core"}

layers = st.sampled_from(LAYERS)
counts = st.integers(0, 1_000)
strengths = st.floats(0, 1)


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
