"""When two memories are one stored twice, and which of them stays."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from mimir.model import Entity
from mimir.rules.duplicates import content_digest, may_yield, staying_rank


def entity(body: object, **fields: Any) -> Entity:  # noqa: ANN401 - fields of any type
    text = body if isinstance(body, str) else json.dumps(body)
    return Entity(**{"id": "a", "category": "c", "key": "k", "body_json": text, **fields})


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ({"content": "We use SQLite."}, {"content": "we  use sqlite"}),
        ({"a": 1, "b": "x"}, {"b": "X!", "a": 1}),
        ({"tags": ["One"]}, {"tags": ["one "]}),
        ("no json", "no json"),
    ],
    ids=["wording", "order", "inside", "no json"],
)
def test_memories_that_say_the_same_share_a_digest(left: object, right: object) -> None:
    assert content_digest(entity(left, id="a", key="one")) == content_digest(entity(right, id="b", key="two"))


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ({"content": "port 5432"}, {"content": "port 5433"}),
        ({"content": "since 2024-01-31"}, {"content": "since 2024-01-30"}),
        ({"use": "SQLite"}, {"avoid": "SQLite"}),
        ({"count": 1}, {"count": "1"}),
        ({"count": 1}, {"count": True}),
        ({"content": "we do"}, {"content": "we do not"}),
        (["a", "b"], ["b", "a"]),
    ],
    ids=["digit", "date", "name", "type", "truth", "negation", "order"],
)
def test_what_differs_in_anything_is_no_duplicate(left: object, right: object) -> None:
    assert content_digest(entity(left)) != content_digest(entity(right))


@pytest.mark.parametrize(
    "changes",
    [
        {"category": "d"},
        {"workspace_hash": "w"},
        {"status": "draft"},
        {"valid_from_unix_ms": 1},
        {"valid_to_unix_ms": 1},
        {"visibility": "private", "agent_id": "ada"},
    ],
    ids="-".join,
)
def test_the_same_words_elsewhere_are_another_memory(changes: dict[str, Any]) -> None:
    body = {"content": "same words"}
    assert content_digest(entity(body)) != content_digest(entity(body, **changes))


def test_private_memories_are_duplicates_only_for_the_same_agent() -> None:
    mine, yours, again = (
        content_digest(entity({"content": "x"}, visibility="private", agent_id=agent)) for agent in ("a", "b", "a")
    )
    assert mine == again != yours


def test_the_verified_the_pinned_the_scored_the_used_and_the_older_stay() -> None:
    plain = entity({}, created_at_unix_ms=5)
    older = entity({}, created_at_unix_ms=4)
    used = entity({}, created_at_unix_ms=9, retrieval_count=1)
    pinned = entity({}, created_at_unix_ms=9, always_on=True)
    verified = entity({}, created_at_unix_ms=9, verified=True)
    ranked = sorted(
        [(staying_rank(one, scored=False), one) for one in (plain, older, used, pinned, verified)],
        key=lambda pair: pair[0],
    )
    assert [one for _, one in ranked] == [verified, pinned, used, older, plain]
    assert staying_rank(pinned, scored=False) < staying_rank(plain, scored=True) < staying_rank(used, scored=False)


@pytest.mark.parametrize(
    ("changes", "scored", "yields"),
    [({}, False, True), ({}, True, False), ({"verified": True}, False, False), ({"always_on": True}, False, False)],
)
def test_what_somebody_vouched_for_never_yields(changes: dict[str, bool], scored: bool, yields: bool) -> None:
    assert may_yield(msgspec.structs.replace(entity({}), **changes), scored=scored) is yields
