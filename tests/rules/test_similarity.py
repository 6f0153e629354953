"""When two texts are the same: digits, signs and negations always count."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mimir.rules.similarity import (
    SIMILAR_FROM,
    normalised,
    same_content,
    similar_pairs,
    sketch,
    trigram_similarity,
)

TEXTS = st.text(alphabet=st.characters(codec="utf-8"), max_size=60)
SENTENCES = st.lists(
    st.sampled_from(["the", "port", "is", "5432", "not", "open", "a", "café", "-3", ".5"]), max_size=8
).map(" ".join)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("The port is open.", "the port  is open"),
        ('"quoted"', "quoted"),
        ("STRASSE", "straße"),
        ("caf\u00e9", "cafe\u0301"),
        ("line\nbreak", "line break"),
    ],
)
def test_case_spaces_quotes_and_a_closing_mark_do_not_count(left: str, right: str) -> None:
    assert normalised(left) == normalised(right)
    assert same_content(left, right, loosely=False)


@pytest.mark.parametrize("loosely", [False, True])
@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("port 5432", "port 5433"),
        ("10²", "102"),
        (".5 percent", "5 percent"),
        ("-3 degrees", "3 degrees"),
        ("it is open", "it is not open"),
        ("on 2024-05-01", "on 2024-05-02"),
        ("dog bites man", "man bites dog"),
        ("version 1.2", "version 12"),
        ("a+b", "a-b"),
        ("C", "C++"),
        ("yes", ""),
    ],
)
def test_what_says_something_else_is_never_the_same(left: str, right: str, loosely: bool) -> None:
    assert not same_content(left, right, loosely=loosely)


@pytest.mark.parametrize(
    ("left", "right"),
    [("The port is open", "a port is open!"), ("open (always)", "open always"), ("tea, coffee", "tea coffee")],
)
def test_articles_and_punctuation_count_only_strictly(left: str, right: str) -> None:
    assert same_content(left, right, loosely=True)
    assert not same_content(left, right, loosely=False)


@given(TEXTS)
def test_a_text_is_the_same_as_itself(text: str) -> None:
    assert same_content(text, text, loosely=False)
    assert same_content(text, text, loosely=True)
    assert trigram_similarity(text, text) == 1.0


@given(SENTENCES, SENTENCES)
def test_sameness_and_similarity_have_no_direction(left: str, right: str) -> None:
    for loosely in (False, True):
        assert same_content(left, right, loosely=loosely) == same_content(right, left, loosely=loosely)
    assert trigram_similarity(left, right) == trigram_similarity(right, left)


@given(TEXTS, TEXTS)
def test_similarity_lies_between_nought_and_one(left: str, right: str) -> None:
    assert 0.0 <= trigram_similarity(left, right) <= 1.0


@given(SENTENCES, SENTENCES)
def test_strict_sameness_includes_loose_sameness(left: str, right: str) -> None:
    if same_content(left, right, loosely=False):
        assert same_content(left, right, loosely=True)


@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_numbers_never_merge(left: int, right: int) -> None:
    assume(left != right)
    assert not same_content(f"the limit is {left}", f"the limit is {right}", loosely=True)


def test_a_small_change_is_similar_and_another_topic_is_not() -> None:
    text = "the production database listens on port 5432 behind the proxy"
    assert trigram_similarity(text, text.replace("5432", "5433")) >= SIMILAR_FROM
    assert trigram_similarity(text, "green tea is brewed at eighty degrees") < 0.2
    assert trigram_similarity("ab", "cd") == 0.0


# --- marks


@given(TEXTS, TEXTS)
def test_a_text_has_two_marks_of_32_bits(text: str, scope: str) -> None:
    marks = sketch(text, scope, "")
    assert len(marks) == 2
    assert all(0 <= mark < 1 << 32 for mark in marks)


@given(SENTENCES)
def test_texts_with_one_normal_form_have_the_same_marks(text: str) -> None:
    assert sketch(f"  {text.upper()}. ", "here", "") == sketch(text, "here", "")


def one_word_edits(words: list[str]) -> list[str]:
    return [" ".join([*words[:at], f"other{at}", *words[at + 1 :]]) for at in range(len(words))]


@pytest.mark.parametrize(("length", "least"), [(40, 38), (12, 9)])
def test_most_edits_of_one_word_leave_a_mark_in_common(length: int, least: int) -> None:
    words = [f"word{number}" for number in range(length)]
    marks = set(sketch(" ".join(words), "here", ""))
    assert sum(not marks.isdisjoint(sketch(text, "here", "")) for text in one_word_edits(words)) >= least


def test_strangers_share_no_mark_though_they_share_function_words() -> None:
    marks = set(sketch("the port of the server is not open to all of us", "here", ""))
    assert marks.isdisjoint(sketch("the taste of the tea is not bitter to all of us", "here", ""))


@given(SENTENCES)
def test_texts_of_different_scopes_share_no_mark(text: str) -> None:
    assert set(sketch(text, "here", "")).isdisjoint(sketch(text, "there", ""))


@given(st.lists(TEXTS | SENTENCES, max_size=8), st.floats(0.01, 1))
def test_comparing_many_at_once_finds_the_same_pairs_as_one_by_one(texts: list[str], least: float) -> None:
    each = [
        (left, right, trigram_similarity(texts[left], texts[right]))
        for left in range(len(texts))
        for right in range(left + 1, len(texts))
    ]
    assert list(similar_pairs(texts, least)) == [pair for pair in each if pair[2] >= least]
