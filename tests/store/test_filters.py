"""Filters: the condition on rows says the same as the condition on entities, for any row and any filter."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimir.config import load_settings
from mimir.model import RETIRED_STATUSES, Entity, Filter, Order, Passage, Sort, passes
from mimir.store import Store, open_store

WORDS = ["", "a", "b", "A", "é", "茶", "%", "_", "a\0b", "a'b", 'a"b']
TAGS = [*WORDS, '"a', "a\\", "\\", '","']
CATEGORIES = ["a", "b", "é", "a\0", "%"]
PATHS = ["", "/", "/t", "/t/1", "/t_1", "/T", "/é", "/e\u0301", "/t\0x", "/t\0y", "%", "_"]
INSTANTS = st.none() | st.integers(-3, 3) | st.sampled_from([-(1 << 62), 1 << 62])
STRENGTHS = st.sampled_from([0.0, 0.2, 0.5, 0.7, 1.0]) | st.floats(0, 1)

ORDERS = [Order(by=by, descending=descending) for by in get_args(Sort) for descending in (True, False)]

_names = count()

ENTITIES = st.builds(
    Entity,
    id=st.just(""),
    category=st.sampled_from(CATEGORIES),
    key=st.just(""),
    body_json=st.just("{}"),
    status=st.sampled_from(["active", "draft", "Deprecated", *sorted(RETIRED_STATUSES)]),
    type=st.sampled_from(WORDS),
    tags=st.lists(st.sampled_from(TAGS), max_size=3).map(tuple),
    verified=st.booleans(),
    decay_score=STRENGTHS,
    layer=st.sampled_from(["buffer", "working", "core", ""]),
    topic_path=st.sampled_from(PATHS),
    archived=st.booleans(),
    always_on=st.booleans(),
    workspace_hash=st.sampled_from(WORDS),
    agent_id=st.sampled_from(WORDS),
    visibility=st.sampled_from(["private", "workspace", "public"]),
    valid_from_unix_ms=INSTANTS,
    valid_to_unix_ms=INSTANTS,
)


def perhaps(words: list[str]) -> st.SearchStrategy[str | None]:
    return st.none() | st.sampled_from(words)


FILTERS = st.builds(
    Filter,
    category=perhaps(CATEGORIES),
    excluded_categories=st.lists(st.sampled_from(CATEGORIES), max_size=2).map(tuple),
    type=perhaps(WORDS),
    workspace_hash=perhaps(WORDS),
    agent_id=perhaps(WORDS),
    layer=perhaps(["buffer", "working", "core", ""]),
    topic_path=perhaps(PATHS),
    min_decay=st.just(0.0) | STRENGTHS,
    always_on=st.none() | st.booleans(),
    include_archived=st.booleans(),
    caller=st.sampled_from(WORDS),
    every_caller=st.booleans(),
    valid_at=INSTANTS,
    past_versions=st.booleans(),
    left_recall=st.booleans(),
    tag=perhaps(TAGS),
    status=perhaps(["active", "deprecated"]),
    verified=st.none() | st.booleans(),
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    path: Path = tmp_path_factory.mktemp("filters") / "memory.db"
    store = open_store(load_settings(db=str(path), durability="normal"))
    yield store
    store.close()


@given(st.lists(ENTITIES, min_size=1, max_size=10), st.lists(FILTERS, min_size=1, max_size=10))
def test_rows_and_entities_pass_the_same_filters(store: Store, entities: list[Entity], filters: list[Filter]) -> None:
    with store.writing():
        numbers = {
            store.insert(
                msgspec.structs.replace(entity, id=(name := f"mem-{next(_names)}"), key=name),
                "tea",
                (Passage(start=0, length=3),),
            ): entity
            for entity in entities
        }
    for filter_ in filters:
        expected = {number for number, entity in numbers.items() if passes(entity, filter_)}
        assert store.passing(filter_, numbers) == expected


@given(FILTERS)
def test_every_door_of_the_store_applies_the_same_filter(store: Store, filter_: Filter) -> None:
    scanned = [stored.number for batch in store.scan(filter_, batch=7) for stored in batch]
    assert scanned == sorted(scanned)
    browsed = store.browse(filter_, limit=-1, offset=0)
    assert {stored.number for stored in browsed} == set(scanned)
    assert all(passes(stored.entity, filter_) for stored in browsed)
    for order in ORDERS:
        listed, total = store.listing(filter_, order, limit=1_000_000, offset=0)
        assert {stored.number for stored in listed} == set(scanned)
        assert total == store.count(filter_) == len(scanned)
    waiting = store.pending_in(filter_, limit=-1)
    assert list(waiting) == scanned
