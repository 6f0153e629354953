"""What counts as a contradiction, and what does not."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimir.model import Entity
from mimir.rules.conflicts import DENIED, LOOSE, NEAR, REPLACED, REVALUED, agreement_of, disagreements, read_memory
from mimir.rules.statements import read_statements

SAID = st.sampled_from(
    [
        "The port is 5432.",
        "The port is not 5432.",
        "The port is 5433 since May.",
        "Lena's port",
        "Never call him before 10 in the morning, but write.",
        "Half past nine, over 2 GB, 20k EUR, 3 pm, 14 March 2025",
        "$5.20 a month; 1,200 euros per year!",
        "Prefers tabs over spaces.",
        "5432",
        "",
    ]
)


def memory(body: Any, key: str = "port", **fields: Any) -> Entity:  # noqa: ANN401 - a body and any fields
    content = {"content": body} if isinstance(body, str) else body
    return Entity(id="x", category="c", key=key, body_json=json.dumps(content), **fields)


def agreement(left: Any, right: Any, cosine: float | None = None, **fields: Any) -> float:  # noqa: ANN401 - bodies
    return agreement_of(read_memory(memory(left)), read_memory(memory(right, **fields)), cosine)


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ("The port is open.", "The port is not open.", DENIED),
        ("Writes to the port are synchronous.", "Writes to the port are asynchronous.", DENIED),
        ("The port is 5432.", "The port is 5433.", REVALUED),
        ("The port opens at 9 am.", "The port opens at 10:30.", REVALUED),
        ("The port opens on Monday.", "The port opens on Tuesdays.", REVALUED),
        ("The port log is kept for 30 days.", "The port log is kept for one year.", REVALUED),
        ("The port log is kept in Oslo.", "The port log is kept in Bergen.", REPLACED),
        ("The port takes tabs over spaces.", "The port takes spaces over tabs.", REPLACED),
        ("The main port is Oslo.", "The main port is Bergen.", REPLACED),
        ("Oslo is the main port.", "Bergen is the main port.", REPLACED),
        ("Two boats met in the port on Monday.", "Two boats met in the port on Friday.", LOOSE),
    ],
)
def test_one_slot_of_a_shared_frame_filled_in_two_ways_is_a_contradiction(
    left: str, right: str, expected: float
) -> None:
    assert agreement(left, right) == expected


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("The port is 5432.", "The port is 5432 on every host."),
        ("The port is closed for 90 days.", "The port is closed for three months."),
        ("The port takes ships of 2 GB.", "The port does not take ships over 2048 MB."),
        ("The port opens at 3 pm.", "The port opens at 15:00."),
        ("The port is not open.", "The port is never open."),
        ("The port is private.", "The port is not public."),
        ("Anna likes the port.", "Anna likes the sea at the port."),
        ("The port of Oslo is open.", "The port of Bergen is not open."),
        ("Sprint 12 of the port ended with 34 points.", "Sprint 13 of the port ended with 29 points."),
        ("Anna's port is open.", "Anna's brother's port is not open."),
        ("The road to the port takes an hour.", "The road from the port takes two hours."),
        ("The port uses cranes.", "The port uses trucks."),
        ("The port is used for fish.", "The port is used for coal."),
        ("The port is open.", "The port is open since 4 March 2025."),
        ("Ships run into the port.", "Ships do not run into the port in winter."),
    ],
)
def test_what_can_be_true_together_is_none(left: str, right: str) -> None:
    assert agreement(left, right) == 1.0


def test_disagreeing_texts_about_different_topics_are_not_compared() -> None:
    statement, denial = "The port is open.", "The port is not open."
    assert agreement(statement, denial, key="port") < 1.0
    assert agreement(statement, denial, key="garden", cosine=NEAR - 0.01) == 1.0
    assert agreement(statement, denial, key="garden", cosine=NEAR) < 1.0


def test_a_shared_tag_makes_one_topic() -> None:
    left = read_memory(memory("The port is open.", key="a", tags=("Harbour",)))
    right = read_memory(memory("The port is not open.", key="b", tags=("harbour",)))
    other = read_memory(memory("The port is not open.", key="b", tags=("garden",)))
    assert agreement_of(left, right, 0.0) < 1.0
    assert agreement_of(left, other, 0.0) == 1.0


def test_memories_of_different_workspaces_are_not_compared() -> None:
    assert agreement("The port is 1.", "The port is 2.", workspace_hash="elsewhere") == 1.0


@pytest.mark.parametrize(
    ("start", "end", "compared"),
    [
        (None, None, True),
        (None, 100, False),
        (None, 101, True),
        (200, None, False),
        (199, None, True),
        (150, 160, True),
    ],
)
def test_facts_that_hold_at_different_times_do_not_contradict(
    start: int | None, end: int | None, compared: bool
) -> None:
    left = read_memory(memory("The port is 1.", valid_from_unix_ms=100, valid_to_unix_ms=200))
    right = read_memory(memory("The port is 2.", valid_from_unix_ms=start, valid_to_unix_ms=end))
    assert (agreement_of(left, right) < 1.0) is compared


def test_a_bare_value_is_said_of_what_the_key_names() -> None:
    def of(left: str, right: str) -> float:
        return agreement_of(read_memory(memory("5432", key=left)), read_memory(memory("5433", key=right)))

    assert of("db-port", "database-port") == REVALUED
    assert of("staging-port", "production-port") == 1.0


def test_short_fields_of_the_same_name_are_compared() -> None:
    assert agreement({"host": "db1", "port": 5432}, {"host": "db1", "port": 6432}) == REVALUED
    assert agreement({"host": "db1", "port": 5432}, {"host": "db1", "port": 5432}) == 1.0
    assert agreement({"host": "db1", "port": 5432}, {"region": "eu"}) == 1.0


def test_fields_of_things_with_different_names_are_not_compared() -> None:
    assert agreement({"name": "Anna", "phone": "1"}, {"name": "Ben", "phone": "2"}) == 1.0
    assert agreement({"port": 80}, {"port": 5432}, key="port-of-web") == REVALUED
    left = read_memory(memory({"port": 80}, key="web-port"))
    assert agreement_of(left, read_memory(memory({"port": 5432}, key="db-port"))) == 1.0


@given(left=SAID, right=SAID)
def test_agreement_is_mutual_and_between_nought_and_one(left: str, right: str) -> None:
    ours, theirs = read_memory(memory(left)), read_memory(memory(right))
    assert agreement_of(ours, theirs) == agreement_of(theirs, ours)
    assert 0.0 <= agreement_of(ours, theirs) <= 1.0
    assert agreement_of(ours, ours) == 1.0


@given(text=st.text(max_size=200), key=st.text(max_size=20))
def test_any_text_can_be_read(text: str, key: str) -> None:
    read = read_memory(memory(text, key=key))
    assert agreement_of(read, read) == 1.0


@given(
    body=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=6,
    )
)
def test_any_body_can_be_read(body: object) -> None:
    read = read_memory(Entity(id="x", category="c", key="k", body_json=json.dumps(body)))
    assert agreement_of(read, read) == 1.0


def test_a_damaged_body_is_read_as_text() -> None:
    left = read_memory(Entity(id="x", category="c", key="port", body_json="The port is 1."))
    assert agreement_of(left, read_memory(memory("The port is 2."))) == REVALUED


def test_only_the_beginning_of_a_long_text_is_read() -> None:
    assert len(read_statements("The port is open. " * 10_000)) <= 12


def test_pairs_are_found_by_words_and_by_vectors() -> None:
    texts = ["The port is 1.", "Nothing like it.", "The port is 2."]
    memories = [read_memory(memory(text, key=f"port-{place}")) for place, text in enumerate(texts)]
    found = [(one.left, one.right) for one in disagreements(memories)]
    vectors = np.eye(3, dtype=np.float32)
    vectors[2] = vectors[0]
    near = [(one.left, one.right) for one in disagreements(memories, [0, 1, 2], vectors)]
    assert near == [(0, 2)]
    assert found in ([], [(0, 2)])


def test_vectors_of_some_memories_only_are_matched_to_their_places() -> None:
    texts = ["Nothing like it.", "The port is 1.", "The port is 2."]
    memories = [read_memory(memory(text, key=key)) for text, key in zip(texts, "abc", strict=True)]
    vectors = np.array([[1.0, 0.0], [1.0, 0.0]], np.float32)
    assert [(one.left, one.right) for one in disagreements(memories, [2, 1], vectors)] == [(1, 2)]


def test_very_many_near_vectors_are_cut_to_the_nearest() -> None:
    count = 600
    memories = [read_memory(memory(f"The port is {place}.", key=f"{place}")) for place in range(count)]
    vectors = np.full((count, 4), 0.5, np.float32)
    found = disagreements(memories, range(count), vectors)
    assert 0 < len(found) <= 8 * count
