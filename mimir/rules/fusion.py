"""How the arms' scores become one: weights as data, formulas as pure functions.

The ranking formula: relevance is fused to 0..1, sequence neighbours lend a share, then trust, strength and recency
are added with weights that only settle near-ties unless the caller gives its own. Ties go by id.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

DENSE_WEIGHT: Final = 0.5
"""Share of the dense arm in score fusion; the keyword arm has the rest. Chosen on the development sets."""

RRF_K: Final = 60
"""Rank constant of reciprocal rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009)."""

NEIGHBOUR_SHARE: Final = 0.2
"""Part of its score that a memory lends to the one before and after it in a sequence."""

COSINE_PASSAGE_PENALTY: Final = 0.02
KEYWORD_PASSAGE_EXPONENT: Final = 0.2

OFF_TOPIC_COSINE: Final = 0.29
OFF_TOPIC_COVERAGE: Final = 0.5
"""A reply whose best cosine of the bundled model, and whose best share of the question's words, both lie below these
is off topic. Chosen with `python -m benchmarks.asking`, whose figures stand in docs/llm.md."""

NEAR_TIE: Final = 0.01
"""Weight of trust, and half of it of strength, when the caller gives none: enough to settle a near-tie."""

NEAR_TIE_ROOM: Final = 1.0 - 1.5 * NEAR_TIE
"""What relevance is multiplied by, so that with the default weights no score exceeds 1."""

FIRST_POOL: Final = 64
POOL_GROWTH: Final = 8
"""Candidates of each arm that are ranked together, and by how much that grows when a page lies behind them."""


def corrected_cosine(cosine: float, passages: int) -> float:
    """Return the best passage's cosine less 0.02 ln n: n passages have n chances to be the best."""
    return cosine - COSINE_PASSAGE_PENALTY * math.log(passages) if passages > 1 else cosine


def corrected_keyword(score: float, passages: int) -> float:
    """Return the best passage's BM25 divided by n^0.2, for the same reason."""
    return score / passages**KEYWORD_PASSAGE_EXPONENT if passages > 1 else score


def whole_score(frequencies: Mapping[str, int], total: int) -> float:
    """Return about the BM25 of a passage of average length that holds every word of a query once.

    That is the sum of the words' inverse document frequencies, ln((N - n + 0.5) / (n + 0.5)) and at least 1e-6.
    """
    return sum(max(1e-6, math.log(max(total - n, 0) + 0.5) - math.log(n + 0.5)) for n in frequencies.values())


def is_off_topic(best_cosine: float | None, coverage: float) -> bool:
    """Tell whether a question is about something else than all that was found.

    ``coverage`` is the best BM25 divided by that of a passage that holds the whole question. Without a cosine nothing
    can be said.
    """
    return best_cosine is not None and best_cosine < OFF_TOPIC_COSINE and coverage < OFF_TOPIC_COVERAGE


def fuse_scores(keyword: Mapping[int, float], cosine: Mapping[int, float], whole: float = 0.0) -> dict[int, float]:
    """Mix min-max cosine and covered BM25 into relevance 0..1 per entity number.

    BM25 is divided by ``whole``, the score of a passage that holds the whole query (or by the best score, if that is
    greater): one chance word of a long question must not outweigh meaning. With one arm only, its normalised score
    stands alone.
    """
    keyword_part = _over_maximum(keyword, whole if cosine else 0.0)
    cosine_part = _min_max(cosine)
    if not cosine_part:
        return keyword_part
    if not keyword_part:
        return cosine_part
    return {
        number: DENSE_WEIGHT * cosine_part.get(number, 0.0) + (1.0 - DENSE_WEIGHT) * keyword_part.get(number, 0.0)
        for number in keyword_part.keys() | cosine_part.keys()
    }


def fuse_ranks(keyword: Mapping[int, float], cosine: Mapping[int, float]) -> dict[int, float]:
    """Fuse by reciprocal rank, 1 / (60 + rank) per arm, scaled so that first in both arms gives 1."""
    fused: dict[int, float] = {}
    arms = [arm for arm in (keyword, cosine) if arm]
    for arm in arms:
        ranked = sorted(arm.items(), key=lambda pair: (-pair[1], pair[0]))
        for rank, (number, _) in enumerate(ranked, start=1):
            fused[number] = fused.get(number, 0.0) + 1.0 / (RRF_K + rank)
    most = len(arms) / (RRF_K + 1)
    return {number: score / most for number, score in fused.items()}


def lend_to_neighbours(relevance: Mapping[int, float], neighbours: Mapping[int, tuple[int, ...]]) -> dict[int, float]:
    """Mix into the relevance of every member of a sequence 0.2 of that of each member beside it.

    A weighted mean, (s + 0.2 sum of the k neighbours) / (1 + 0.2 k), so that members of sequences gain nothing over
    memories that stand alone. ``neighbours`` maps an entity number to the numbers before and after it, whether or not
    an arm found those.
    """
    lent: dict[int, float] = dict.fromkeys(relevance, 0.0)
    lenders: dict[int, int] = dict.fromkeys(relevance, 0)
    for number, beside in neighbours.items():
        for other in beside:
            lent[other] = lent.get(other, 0.0) + relevance.get(number, 0.0)
            lenders[other] = lenders.get(other, 0) + 1
    return {
        number: (relevance.get(number, 0.0) + NEIGHBOUR_SHARE * lent[number])
        / (1.0 + NEIGHBOUR_SHARE * lenders[number])
        for number in lent
    }


def recency_factor(age_ms: int, half_life_secs: float | None) -> float:
    """Return 0.5^(age / half-life); 1 when no half-life is given or it is not above zero."""
    if half_life_secs is None or half_life_secs <= 0:
        return 1.0
    return float(0.5 ** (max(age_ms, 0) / 1000.0 / half_life_secs))


def trust(certainty: float, *, verified: bool) -> float:
    """Return 1 for a verified memory, else its certainty within 0..1."""
    return 1.0 if verified else min(1.0, max(0.0, certainty))


def content_boost(text: str, query: str, weight: float) -> float:
    """Return weight / (1 + log10(1 + length / 5000)) if the text holds the whole query, whatever its case; else 0."""
    if query.lower() not in text.lower():
        return 0.0
    return weight / (1.0 + math.log10(1.0 + len(text) / 5_000))


def diversified(booked: Sequence[str], limit: int, halving: float) -> list[int]:
    """Return the places, in order, of a ranking in which each word gets ever fewer places.

    ``booked`` names the word that each place is booked on, or is empty for none; the j-th distinct word gets
    ceil(limit * halving^j) places, counted from 0; places without a word are free.
    """
    left: dict[str, int] = {}
    kept: list[int] = []
    for place, word in enumerate(booked):
        if word:
            if word not in left:
                left[word] = math.ceil(limit * halving ** len(left))
            if left[word] == 0:
                continue
            left[word] -= 1
        kept.append(place)
    return kept


def confidence(position: int, count: int, trust_value: float, decay_score: float) -> float:
    """Return 0.5 place + 0.3 trust + 0.2 strength, rounded to 3 digits; place falls from 1 to 1/count."""
    place = (count - position) / count if count > 1 else 1.0
    return round(0.5 * place + 0.3 * trust_value + 0.2 * decay_score, 3)


def _over_maximum(scores: Mapping[int, float], whole: float) -> dict[int, float]:
    most = max(whole, *scores.values()) if scores else whole
    if most <= 0.0:
        return dict.fromkeys(scores, 0.0)
    return {number: max(0.0, score) / most for number, score in scores.items()}


def _min_max(scores: Mapping[int, float]) -> dict[int, float]:
    if not scores:
        return {}
    least, most = min(scores.values()), max(scores.values())
    if most <= least:
        return dict.fromkeys(scores, 1.0)
    return {number: (score - least) / (most - least) for number, score in scores.items()}
