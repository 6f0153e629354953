"""Queries: what a user typed becomes words, and no syntax of any index is left in them."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimir.rules.query import MAXIMUM_TERMS, STOP_WORDS, Query, parse_query, without_common
from mimir.store.sqlite.text import match_string

OPERATORS = [*"\"*():^+-{}\0'", " AND ", " OR ", " NOT ", " NEAR(a, 2)", "key:"]
TYPED = st.lists(st.sampled_from(OPERATORS) | st.text(max_size=8), max_size=12).map("".join)


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("Which database did we choose?", ("database", "choose")),
        ("the user's own OFFICE", ("own", "office")),
        ("it's what we don't", ("don",)),
        ("port 5432", ("port", "5432")),
        ("tea tea TEA", ("tea",)),
        ("who is it", ("who", "is", "it")),
        ("Überraschung im Café", ("überraschung", "im", "café")),
        ("数据库", ("数据", "据库")),
        ("茶", ("茶",)),
        ("?!", ()),
        ("", ()),
    ],
)
def test_a_question_becomes_its_telling_words(typed: str, words: tuple[str, ...]) -> None:
    query = parse_query(typed)
    assert query.words == words
    assert query.is_empty == (not words)


def test_joined_words_are_a_phrase_beside_their_parts() -> None:
    query = parse_query("where is auth_token kept")
    assert query.words == ("auth", "token", "kept")
    assert query.phrases == (("auth", "token"),)


def test_the_exact_text_is_kept_for_the_key() -> None:
    assert parse_query("  auth_token (v2) \n").exact == "auth_token (v2)"


@given(TYPED)
def test_no_operator_is_left(typed: str) -> None:
    query = parse_query(typed)
    terms = [*query.words, *(word for phrase in query.phrases for word in phrase)]
    for term in terms:
        assert term
        assert not set(term) & set('"*():^+-{}\0 \t\n,._')
    expression = match_string(query)
    assert expression.count('"') == 2 * (len(query.words) + len(query.phrases))


@given(TYPED)
def test_terms_are_distinct_and_bounded(typed: str) -> None:
    query = parse_query(typed * 20)
    assert len(set(query.words)) == len(query.words) <= MAXIMUM_TERMS
    assert len(set(query.phrases)) == len(query.phrases) <= MAXIMUM_TERMS // 2


def test_a_pasted_page_is_cut_to_its_first_terms() -> None:
    query = parse_query(" ".join(f"word{n} joined_{n}" for n in range(1_000)))
    assert len(query.words) == MAXIMUM_TERMS
    assert query.words[0] == "word0"
    assert len(query.phrases) == MAXIMUM_TERMS // 2


@given(st.lists(st.sampled_from(sorted(STOP_WORDS)), max_size=5), st.sampled_from(["tea", "cup", "港"]))
def test_stop_words_go_when_another_word_stays(stopped: list[str], word: str) -> None:
    assert parse_query(" ".join([*stopped, word])).words == (word,)
    assert parse_query(" ".join(stopped)).words == tuple(dict.fromkeys(stopped))


@given(TYPED)
def test_case_makes_no_difference_to_ascii_words(typed: str) -> None:
    typed = typed.encode("ascii", "ignore").decode()
    assert parse_query(typed.upper()).words == parse_query(typed.lower()).words


# --- common words

BIG = 40_000


def query_of(*words: str) -> Query:
    return Query(words=words, phrases=(("a", "b"),), exact=" ".join(words))


def test_common_words_go_when_rarer_ones_stay() -> None:
    frequencies = {"common": BIG // 4 + 1, "telling": BIG // 4, "rare": 1}
    kept = without_common(query_of("common", "telling", "rare"), frequencies, BIG)
    assert kept == msgspec.structs.replace(query_of("common", "telling", "rare"), words=("telling", "rare"))


def test_common_words_stay_when_nothing_else_is_known() -> None:
    query = query_of("common", "unknown")
    assert without_common(query, {"common": BIG, "unknown": 0}, BIG) == query


def test_in_a_small_store_nothing_is_dropped() -> None:
    query = query_of("common", "rare")
    assert without_common(query, {"common": 19_999, "rare": 1}, 19_999) == query


@given(st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, BIG), min_size=1))
def test_dropping_words_never_empties_a_query(frequencies: dict[str, int]) -> None:
    kept = without_common(query_of(*frequencies), frequencies, BIG)
    assert kept.words
    assert set(kept.words) <= set(frequencies)
