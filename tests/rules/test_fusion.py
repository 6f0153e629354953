"""Fusion: the arms' scores become one relevance in 0..1, whatever the order they come in."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mimir.rules import fusion

NUMBERS = st.integers(1, 30)
KEYWORD = st.dictionaries(NUMBERS, st.floats(0, 100), max_size=20)
COSINE = st.dictionaries(NUMBERS, st.floats(-1, 1), max_size=20)
UNIT = st.floats(0, 1)
RELEVANCE = st.dictionaries(NUMBERS, UNIT, max_size=20)


def turned(scores: dict[int, float]) -> dict[int, float]:
    return dict(reversed(scores.items()))


# --- score fusion


@given(KEYWORD, COSINE, st.floats(0, 200))
def test_relevance_lies_between_nought_and_one(
    keyword: dict[int, float], cosine: dict[int, float], whole: float
) -> None:
    fused = fusion.fuse_scores(keyword, cosine, whole)
    assert fused.keys() == keyword.keys() | cosine.keys()
    assert all(0.0 <= score <= 1.0 for score in fused.values())


@given(KEYWORD, COSINE, st.floats(0, 200))
def test_the_order_of_candidates_does_not_change_relevance(
    keyword: dict[int, float], cosine: dict[int, float], whole: float
) -> None:
    assert fusion.fuse_scores(turned(keyword), turned(cosine), whole) == fusion.fuse_scores(keyword, cosine, whole)
    assert fusion.fuse_ranks(turned(keyword), turned(cosine)) == fusion.fuse_ranks(keyword, cosine)


@given(KEYWORD, COSINE)
def test_who_is_first_in_both_arms_is_first_with_the_whole_relevance(
    keyword: dict[int, float], cosine: dict[int, float]
) -> None:
    assume(cosine)
    keyword[99], cosine[99] = 101.0, 1.0
    fused = fusion.fuse_scores(keyword, cosine)
    assert fused[99] == pytest.approx(1.0)
    assert max(fused.values()) == fused[99]
    ranked = fusion.fuse_ranks(keyword, {**cosine, 99: 1.1})
    assert ranked[99] == pytest.approx(1.0)
    assert max(ranked.values()) == ranked[99]


@given(KEYWORD, COSINE)
def test_who_is_no_worse_in_either_arm_is_no_worse_together(
    keyword: dict[int, float], cosine: dict[int, float]
) -> None:
    fused = fusion.fuse_scores(keyword, cosine)
    both = sorted(keyword.keys() & cosine.keys())
    for left in both:
        for right in both:
            if keyword[left] >= keyword[right] and cosine[left] >= cosine[right]:
                assert fused[left] >= fused[right] - 1e-12


def test_one_arm_alone_keeps_its_own_scale() -> None:
    assert fusion.fuse_scores({1: 8.0, 2: 4.0}, {}) == {1: 1.0, 2: 0.5}
    assert fusion.fuse_scores({1: 8.0, 2: 4.0}, {}, whole=16.0) == {1: 1.0, 2: 0.5}
    assert fusion.fuse_scores({}, {1: 0.9, 2: 0.1}) == {1: 1.0, 2: 0.0}
    assert fusion.fuse_scores({}, {}) == {}


def test_a_chance_word_of_a_long_question_weighs_little() -> None:
    covered = fusion.fuse_scores({1: 2.0}, {1: 0.1, 2: 0.9}, whole=20.0)
    alone = fusion.fuse_scores({1: 2.0}, {1: 0.1, 2: 0.9})
    assert covered[1] < covered[2]
    assert alone[1] > covered[1]


def test_equal_scores_in_an_arm_settle_nothing() -> None:
    fused = fusion.fuse_scores({1: 3.0, 2: 3.0}, {1: 0.5, 2: 0.5})
    assert fused[1] == fused[2] == pytest.approx(1.0)


def test_keyword_scores_of_nought_are_no_error() -> None:
    assert fusion.fuse_scores({1: 0.0}, {}) == {1: 0.0}


# --- the score of the whole query


@given(st.integers(1, 10_000), st.lists(st.integers(0, 10_000), min_size=1, max_size=8), st.integers(0, 7))
def test_a_query_of_rarer_words_asks_for_more(total: int, frequencies: list[int], place: int) -> None:
    named = {f"w{at}": min(count, total) for at, count in enumerate(frequencies)}
    word = f"w{place % len(frequencies)}"
    commoner = {**named, word: min(named[word] + 1, total)}
    assert 0.0 < fusion.whole_score(commoner, total) <= fusion.whole_score(named, total)


def test_the_whole_score_is_the_sum_of_the_words_inverse_frequencies() -> None:
    expected = math.log((1_000 - 10 + 0.5) / 10.5) + math.log((1_000 - 100 + 0.5) / 100.5)
    assert fusion.whole_score({"a": 10, "b": 100}, 1_000) == pytest.approx(expected)
    assert fusion.whole_score({}, 1_000) == 0


# --- ranks


def test_ranks_fuse_by_their_reciprocals() -> None:
    fused = fusion.fuse_ranks({1: 9.0, 2: 8.0}, {2: 0.9, 3: 0.8})
    most = 2 / 61
    assert fused == {
        1: pytest.approx(1 / 61 / most),
        2: pytest.approx((1 / 62 + 1 / 61) / most),
        3: pytest.approx(1 / 62 / most),
    }


@given(KEYWORD, COSINE)
def test_fused_ranks_lie_above_nought_and_at_most_at_one(keyword: dict[int, float], cosine: dict[int, float]) -> None:
    assert all(0.0 < score <= 1.0 + 1e-12 for score in fusion.fuse_ranks(keyword, cosine).values())


# --- long memories


@given(st.floats(-1, 1), st.integers(1, 500))
def test_more_passages_never_help_a_memory(cosine: float, passages: int) -> None:
    assert fusion.corrected_cosine(cosine, passages + 1) < fusion.corrected_cosine(cosine, passages) <= cosine
    assert fusion.corrected_keyword(5.0, passages + 1) < fusion.corrected_keyword(5.0, passages) <= 5.0


def test_passages_are_corrected_as_published() -> None:
    assert fusion.corrected_cosine(0.5, 1) == 0.5
    assert fusion.corrected_cosine(0.5, 10) == pytest.approx(0.5 - 0.02 * math.log(10))
    assert fusion.corrected_keyword(8.0, 1) == 8.0
    assert fusion.corrected_keyword(8.0, 32) == pytest.approx(8.0 / 32**0.2)


# --- sequences


def chain(length: int) -> dict[int, tuple[int, ...]]:
    return {
        number: tuple(other for other in (number - 1, number + 1) if 1 <= other <= length)
        for number in range(1, length + 1)
    }


@given(UNIT, st.integers(1, 10))
def test_members_of_a_sequence_gain_nothing_over_equals_that_stand_alone(score: float, length: int) -> None:
    relevance = dict.fromkeys(range(1, length + 1), score) | {99: score}
    lent = fusion.lend_to_neighbours(relevance, chain(length))
    assert lent == pytest.approx(relevance)


@given(RELEVANCE, st.integers(1, 30))
def test_lending_stays_within_the_best_relevance(relevance: dict[int, float], length: int) -> None:
    lent = fusion.lend_to_neighbours(relevance, chain(length))
    assert lent.keys() == relevance.keys() | (chain(length).keys() if length > 1 else set())
    most = max(relevance.values(), default=0.0)
    assert all(0.0 <= score <= most + 1e-12 for score in lent.values())


def test_a_neighbour_that_no_arm_found_joins_with_its_share() -> None:
    lent = fusion.lend_to_neighbours({1: 1.0}, {1: (2,)})
    assert lent == {1: 1.0, 2: pytest.approx(0.2 / 1.2)}


def test_lending_is_a_weighted_mean() -> None:
    lent = fusion.lend_to_neighbours({1: 0.9, 2: 0.3, 3: 0.6}, chain(3))
    assert lent[2] == pytest.approx((0.3 + 0.2 * (0.9 + 0.6)) / 1.4)
    assert lent[1] == pytest.approx((0.9 + 0.2 * 0.3) / 1.2)


@given(RELEVANCE)
def test_without_sequences_nothing_is_lent(relevance: dict[int, float]) -> None:
    assert fusion.lend_to_neighbours(relevance, {}) == relevance


# --- what settles near-ties


def test_by_default_no_score_can_exceed_one() -> None:
    assert fusion.NEAR_TIE_ROOM + fusion.NEAR_TIE * fusion.trust(1.0, verified=True) + fusion.NEAR_TIE / 2 <= 1.0


@given(st.floats(-2, 2), st.booleans())
def test_trust_lies_between_nought_and_one(certainty: float, verified: bool) -> None:
    assert 0.0 <= fusion.trust(certainty, verified=verified) <= fusion.trust(certainty, verified=True) == 1.0


def test_recency_halves_per_half_life() -> None:
    assert fusion.recency_factor(0, 60.0) == 1.0
    assert fusion.recency_factor(60_000, 60.0) == pytest.approx(0.5)
    assert fusion.recency_factor(120_000, 60.0) == pytest.approx(0.25)


@pytest.mark.parametrize("half_life", [None, 0.0, -1.0])
def test_without_a_half_life_age_does_not_count(half_life: float | None) -> None:
    assert fusion.recency_factor(1 << 50, half_life) == 1.0


@given(st.integers(-(1 << 40), 1 << 40), st.integers(0, 1 << 40), st.floats(0.001, 1e9))
def test_older_is_never_more_recent(age: int, older: int, half_life: float) -> None:
    assert 0.0 <= fusion.recency_factor(age + older, half_life) <= fusion.recency_factor(age, half_life) <= 1.0


@given(st.text(max_size=30), st.text(max_size=30), UNIT)
def test_a_content_boost_lies_within_its_weight(before: str, after: str, weight: float) -> None:
    short = fusion.content_boost(f"{before}Green Tea{after}", "green tea", weight)
    long = fusion.content_boost(f"{before}Green Tea{after}" + "x" * 10_000, "green tea", weight)
    assert 0.0 <= long <= short <= weight
    assert weight == 0.0 or long > 0.0


def test_only_a_text_with_the_whole_query_is_boosted() -> None:
    assert fusion.content_boost("tea that is green", "green tea", 1.0) == 0.0


@given(st.integers(1, 100), UNIT, UNIT)
def test_confidence_lies_between_nought_and_one_and_falls_with_place(count: int, trust: float, decay: float) -> None:
    row = [fusion.confidence(place, count, trust, decay) for place in range(count)]
    assert all(0.0 <= one <= 1.0 for one in row)
    assert row == sorted(row, reverse=True)


# --- diversity

BOOKED = st.lists(st.sampled_from(["", "tea", "coffee", "milk"]), max_size=40)


@given(BOOKED, st.integers(1, 10), UNIT)
def test_each_further_word_gets_fewer_places(booked: list[str], limit: int, halving: float) -> None:
    kept = fusion.diversified(booked, limit, halving)
    assert kept == sorted(set(kept))
    assert [place for place, word in enumerate(booked) if not word] == [place for place in kept if not booked[place]]
    words = list(dict.fromkeys(word for word in booked if word))
    for rank, word in enumerate(words):
        places = [place for place, one in enumerate(booked) if one == word]
        allowed = math.ceil(limit * halving**rank)
        assert [place for place in kept if booked[place] == word] == places[:allowed]


def test_the_second_word_gets_half_the_places() -> None:
    assert fusion.diversified(["tea"] * 5 + ["coffee"] * 5, 4, 0.5) == [0, 1, 2, 3, 5, 6]
