"""What a model is shown of memories, and what its citations are worth, by examples and for any text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimir.rules.answers import Shown, checked, is_refusal, labels, material, part_around
from mimir.rules.block import part_about

MEMORIES = [
    Shown("database", ("mem-1", "decision/database"), "", "We chose SQLite."),
    Shown("a, b", ("mem-2", "note/a, b"), "", "x"),
    Shown("list(0)", ("mem-3", "note/list(0)"), "", "y"),
]


@pytest.mark.parametrize(
    ("said", "kept", "cited", "unsupported"),
    [
        ("SQLite [database].", "SQLite [database].", (0,), ()),
        ("SQLite [Database] [key: database] [id: mem-1].", "SQLite [Database] [key: database] [id: mem-1].", (0,), ()),
        ("SQLite [decision/database].", "SQLite [decision/database].", (0,), ()),
        ("Both [a, b] and [database; mem-3].", "Both [a, b] and [database; mem-3].", (1, 0, 2), ()),
        ("Nobody said so [roadmap].", "Nobody said so.", (), ("roadmap",)),
        ("Half [database, roadmap].", "Half [database].", (0,), ("roadmap",)),
        ("It is 5 [1].", "It is 5.", (), ("1",)),
        ("See [the page](https://x.example) and items[0].", "See [the page](https://x.example) and items[0].", (), ()),
        ("Run `echo [x]` or\n```\n[section]\n```", "Run `echo [x]` or\n```\n[section]\n```", (), ()),
        ("No citation at all.", "No citation at all.", (), ()),
        ("[]", "[]", (), ()),
    ],
)
def test_citations_are_compared_with_what_was_shown(
    said: str, kept: str, cited: tuple[int, ...], unsupported: tuple[str, ...]
) -> None:
    assert checked(said, MEMORIES) == (kept, cited, unsupported)


@given(st.text(alphabet=st.sampled_from("ab[](),; `\n0"), max_size=60))
def test_what_is_left_of_an_answer_cites_only_what_was_shown(said: str) -> None:
    once = checked(said, MEMORIES)
    assert set(once.cited) <= set(range(len(MEMORIES)))
    assert len(once.answer) <= len(said)


def test_a_label_is_as_short_as_it_can_be_and_names_one_memory() -> None:
    identities = [("k", "a", "1"), ("k", "b", "2"), ("k", "b", "3"), ("other", "b", "4"), ("[x]", "c", "5")]
    assert labels(identities) == ["a/k", "2", "3", "other", "(x)"]


@pytest.mark.parametrize(
    ("answer", "refusal"),
    [("Not in memory.", True), ("not in memory", True), ('"Not in memory."', True), ("It is not in memory.", False)],
)
def test_only_the_agreed_words_are_a_refusal(answer: str, refusal: bool) -> None:
    assert is_refusal(answer) == refusal


@given(st.text(max_size=400), st.integers(0, 350), st.integers(1, 200), st.integers(20, 200))
def test_a_part_holds_the_beginning_of_its_evidence_and_no_more_than_it_may(
    text: str, start: int, length: int, most: int
) -> None:
    evidence = text[start : start + length]
    part = part_around(text, evidence, most)
    assert len(part) <= most + len("...  ...")
    assert evidence[:most] in part or evidence[: most // 2] in part


@given(st.text(max_size=400), st.integers(80, 200))
def test_a_part_about_words_is_of_the_text(text: str, most: int) -> None:
    part = part_about(text, ["a", "b"], most)
    assert part.removeprefix("... ") in text or part in text
    assert len(part) <= most + 4


@given(st.lists(st.text(max_size=80), min_size=1, max_size=4), st.text(max_size=80))
def test_whatever_memories_say_each_begins_at_the_margin_once(texts: list[str], query: str) -> None:
    shown = [Shown(f"k{place}", (), "about", text) for place, text in enumerate(texts)]
    fenced = material(query, shown, 0, "MARK-1").split("MARK-1\n")[1]
    margins = [line for line in fenced.split("\n") if line and not line.startswith("    ")]
    assert margins == [f"[key: k{place}] (about)" for place in range(len(texts))]
