"""`MimirStore` keeps what LangGraph's own stores promise, in this process and over a server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.store.base import (
    BaseStore,
    GetOp,
    InvalidNamespaceError,
    ListNamespacesOp,
    MatchCondition,
    PutOp,
    SearchOp,
)
from langgraph.store.memory import InMemoryStore

from mimir import InvalidInput, Memory, MimirError
from mimir.adapters.langgraph import MimirStore, category_of, create_mimir_store, namespace_of
from mimir.adapters.session import open_session
from tests.server.client import SERVE

COMMAND = SERVE[:-1]
MINUTE_S = 60


@pytest.fixture(params=["local", "stdio"])
def store(request: pytest.FixtureRequest, db: str) -> Iterator[MimirStore]:
    command = COMMAND if request.param == "stdio" else ()
    session = open_session(db, command=command, exclude_categories="")
    with MimirStore(session=session) as opened:
        yield opened
    session.close()


@pytest.fixture
def local(db: str) -> Iterator[MimirStore]:
    with MimirStore(db) as opened:
        yield opened


def keys(found: list[Any]) -> list[str]:
    return [item.key for item in found]


def test_what_is_put_is_got_with_its_times(store: MimirStore) -> None:
    value = {"text": "I love pizza", "n": 3, "deep": {"list": [1, 2.5, None, True]}, "ключ": "雪"}
    store.put(("users", "1"), "a", value)
    item = store.get(("users", "1"), "a")
    assert item is not None
    assert (item.value, item.key, item.namespace) == (value, "a", ("users", "1"))
    assert item.created_at <= item.updated_at
    store.put(("users", "1"), "a", {"text": "no more"})
    again = store.get(("users", "1"), "a")
    assert again is not None
    assert again.value == {"text": "no more"}
    assert again.created_at == item.created_at
    assert again.updated_at > item.updated_at


def test_what_was_never_put_or_was_deleted_is_none(store: MimirStore) -> None:
    assert store.get(("users",), "a") is None
    store.put(("users",), "a", {"v": 1})
    store.delete(("users",), "a")
    store.delete(("users",), "never")
    assert store.get(("users",), "a") is None
    assert store.search(("users",)) == []
    store.put(("users",), "a", {"v": 2})
    item = store.get(("users",), "a")
    assert item is not None
    assert item.value == {"v": 2}


def test_namespaces_are_kept_apart_and_searched_by_prefix(store: MimirStore) -> None:
    store.put(("a",), "k", {"v": 1})
    store.put(("a", "b"), "k", {"v": 2})
    store.put(("ab",), "k", {"v": 3})
    store.put(("a/b",), "k", {"v": 4})
    store.put(("conversation",), "k", {"v": 5})
    assert sorted(item.value["v"] for item in store.search(("a",))) == [1, 2]
    assert sorted(item.value["v"] for item in store.search(())) == [1, 2, 3, 4, 5]
    assert [item.namespace for item in store.search(("a/b",))] == [("a/b",)]
    assert [item.value for item in store.search(("conversation",))] == [{"v": 5}]


def test_equal_values_are_stored_twice(store: MimirStore) -> None:
    store.put(("a",), "one", {"text": "the same"})
    store.put(("a",), "two", {"text": "the same"})
    assert sorted(keys(store.search(("a",)))) == ["one", "two"]


def test_a_search_is_paged_without_gaps(store: MimirStore) -> None:
    for number in range(7):
        store.put(("page",), str(number), {"n": number})
    pages = [keys(store.search(("page",), limit=3, offset=offset)) for offset in (0, 3, 6)]
    assert [len(page) for page in pages] == [3, 3, 1]
    assert {key for page in pages for key in page} == {str(number) for number in range(7)}


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"n": 2}, {"2"}),
        ({"n": {"$ne": 2}}, {"0", "1", "3"}),
        ({"n": {"$gt": 1}}, {"2", "3"}),
        ({"n": {"$gte": 1, "$lt": 3}}, {"1", "2"}),
        ({"n": {"$lte": 0}}, {"0"}),
        ({"deep": {"even": True}}, {"0", "2"}),
        ({"list": [3, {"$gt": 2}]}, {"3"}),
        ({"none": None, "n": 1}, {"1"}),
    ],
)
def test_filters_compare_as_upstream_stores_do(local: MimirStore, wanted: dict[str, Any], expected: set[str]) -> None:
    upstream = InMemoryStore()
    for store in (local, upstream):
        for number in range(4):
            store.put(("f",), str(number), {"n": number, "deep": {"even": number % 2 == 0}, "list": [number, number]})
    assert set(keys(local.search(("f",), filter=wanted))) == expected
    assert set(keys(upstream.search(("f",), filter=wanted))) == expected


def test_an_operator_that_does_not_exist_is_refused(local: MimirStore) -> None:
    local.put(("f",), "a", {"n": 1})
    with pytest.raises(InvalidInput, match=r"\$like"):
        local.search(("f",), filter={"n": {"$like": 1}})


def test_a_query_ranks_by_meaning_and_a_filter_holds_on_it(store: MimirStore) -> None:
    store.put(("m",), "food", {"text": "I love pizza with olives", "kind": "taste"})
    store.put(("m",), "pet", {"text": "My dog is called Rex", "kind": "fact"})
    store.put(("m",), "car", {"text": "The car is in the garage", "kind": "fact"})
    found = store.search(("m",), query="what does the user like to eat", limit=2)
    assert found[0].key == "food"
    assert found[0].score is not None
    assert found[0].score >= (found[1].score or 0)
    facts = store.search(("m",), query="what does the user like to eat", filter={"kind": "fact"})
    assert set(keys(facts)) == {"pet", "car"}


def test_an_item_that_is_not_to_be_searched_comes_last_without_a_score(store: MimirStore) -> None:
    store.put(("m",), "hidden", {"text": "I love pizza"}, index=False)
    store.put(("m",), "seen", {"text": "The weather is fine"})
    found = store.search(("m",), query="pizza")
    assert keys(found) == ["seen", "hidden"]
    assert found[1].score is None
    assert set(keys(store.search(("m",)))) == {"seen", "hidden"}
    item = store.get(("m",), "hidden")
    assert item is not None
    assert item.value == {"text": "I love pizza"}


def test_only_the_fields_of_the_index_count_for_a_query(db: str) -> None:
    with MimirStore(db, index={"dims": 384, "embed": "ignored:ignored", "fields": ["title"]}) as store:
        store.put(("m",), "a", {"title": "Pizza recipes", "note": "about a dog"})
        store.put(("m",), "b", {"title": "Dog training", "note": "with pizza"})
        store.put(("m",), "c", {"title": "Nothing", "note": "Italian food"}, index=["note"])
        assert keys(store.search(("m",), query="puppy"))[0] == "b"
        assert keys(store.search(("m",), query="cuisine of Italy"))[0] == "c"


def test_reads_of_a_batch_see_the_state_before_it_and_the_last_write_counts(store: MimirStore) -> None:
    store.put(("b",), "a", {"v": 0})
    results = store.batch(
        [
            PutOp(("b",), "a", {"v": 1}),
            GetOp(("b",), "a"),
            PutOp(("b",), "a", {"v": 2}),
            SearchOp(("b",), limit=5),
            PutOp(("b",), "c", {"v": 3}),
            ListNamespacesOp(match_conditions=(MatchCondition("prefix", ("b",)),)),
            PutOp(("b",), "c", None),
        ]
    )
    assert [results[place] for place in (0, 2, 4, 6)] == [None] * 4
    assert results[1].value == {"v": 0}
    assert [item.value for item in results[3]] == [{"v": 0}]
    assert results[5] == [("b",)]
    item = store.get(("b",), "a")
    assert item is not None
    assert item.value == {"v": 2}
    assert store.get(("b",), "c") is None


def test_namespaces_are_listed_as_upstream_lists_them(local: MimirStore) -> None:
    upstream = InMemoryStore()
    namespaces = [("a", "b", "c"), ("a", "b", "d", "e"), ("a", "b", "f"), ("a", "c", "f"), ("z",), ("a", "x/y")]
    for store in (local, upstream):
        for namespace in namespaces:
            store.put(namespace, "k", {"v": 1})
    for asked in (
        {},
        {"prefix": ("a", "b")},
        {"suffix": ("f",)},
        {"prefix": ("a", "*", "f")},
        {"max_depth": 2},
        {"prefix": ("a", "b"), "max_depth": 3},
        {"limit": 2, "offset": 1},
    ):
        assert local.list_namespaces(**asked) == upstream.list_namespaces(**asked), asked


def test_other_memories_of_the_store_are_neither_items_nor_namespaces(db: str) -> None:
    with Memory.open(db, embedding="off") as memory, MimirStore(session=open_session(memory=memory)) as store:
        memory.remember("decision", "database", {"content": "SQLite"})
        assert store.list_namespaces() == []
        assert store.search(()) == []


def test_an_item_ends_after_its_time_and_leaves_every_door(local: MimirStore) -> None:
    local.put(("t",), "short", {"v": 1}, ttl=0.02 / MINUTE_S)
    local.put(("t",), "long", {"v": 2})
    until = time.monotonic() + 0.05
    while time.monotonic() < until:
        pass
    assert local.get(("t",), "short") is None
    assert keys(local.search(("t",))) == ["long"]
    local.delete(("t",), "long")
    assert local.list_namespaces() == []
    local.put(("t",), "short", {"v": 3})
    item = local.get(("t",), "short")
    assert item is not None
    assert item.value == {"v": 3}


def test_a_read_puts_off_the_end_of_an_item(db: str) -> None:
    with MimirStore(db, ttl={"default_ttl": 1.0, "refresh_on_read": True}) as store:
        store.put(("t",), "a", {"v": 1})

        def end() -> int:
            (item,) = store.session.call("recall", query="", category="t", reinforce=False)["items"]
            return int(item["valid_to_unix_ms"])

        # As if most of its minute had passed.
        now = int(time.time() * 1000)
        store.session.call(
            "remember",
            category="t",
            key="a",
            body_json={"v": 1},
            valid_from_unix_ms=now - 50_000,
            valid_to_unix_ms=now + 10_000,
        )
        store.get(("t",), "a", refresh_ttl=False)
        assert end() == now + 10_000
        store.get(("t",), "a")
        assert end() >= now + 60_000


def test_the_asynchronous_methods_do_the_same(store: MimirStore) -> None:
    async def use() -> None:
        await store.aput(("x",), "a", {"text": "snow"})
        item = await store.aget(("x",), "a")
        assert item is not None
        assert item.value == {"text": "snow"}
        assert keys(await store.asearch(("x",), query="snow")) == ["a"]
        assert await store.alist_namespaces() == [("x",)]
        await asyncio.gather(*(store.aput(("x",), str(number), {"n": number}) for number in range(20)))
        assert len(await store.asearch(("x",), limit=100)) == 21
        await store.adelete(("x",), "a")
        assert await store.aget(("x",), "a") is None

    asyncio.run(use())


def test_threads_may_share_a_store(store: MimirStore) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: store.put(("many",), str(number), {"n": number}), range(40)))
    assert len(store.search(("many",), limit=100)) == 40


def test_what_cannot_be_stored_is_refused_in_words(local: MimirStore) -> None:
    with pytest.raises(InvalidInput, match="not JSON"):
        local.put(("a",), "k", {"v": object()})
    with pytest.raises(MimirError):
        local.put(("a" * 300,), "k", {"v": 1})
    with pytest.raises(InvalidNamespaceError):
        local.put(("a.b",), "k", {"v": 1})


@pytest.mark.parametrize("namespace", [("a",), ("a", "b/c"), ("100%", "%2F"), ("ünï", "日本")])
def test_a_namespace_comes_back_from_its_category(namespace: tuple[str, ...]) -> None:
    assert namespace_of(category_of(namespace)) == namespace


def test_items_are_there_in_the_next_session(db: str) -> None:
    with create_mimir_store(db) as store:
        store.put(("a",), "k", {"v": 1})
    with create_mimir_store(db) as store:
        item = store.get(("a",), "k")
    assert item is not None
    assert item.value == {"v": 1}


def test_a_graph_remembers_between_its_runs(tmp_path: Path) -> None:
    def node(state: MessagesState, *, store: BaseStore) -> dict[str, list[tuple[str, str]]]:
        said = str(state["messages"][-1].content)
        known = store.search(("memories",), query=said, limit=1)
        store.put(("memories",), str(len(said)), {"text": said})
        return {"messages": [("ai", known[0].value["text"] if known else "nothing yet")]}

    builder = StateGraph(MessagesState)
    builder.add_node("node", node)
    builder.add_edge(START, "node")
    with MimirStore(str(tmp_path / "graph.db")) as store:
        graph = builder.compile(store=store)
        first = graph.invoke({"messages": [("user", "My favourite colour is teal")]})
        second = graph.invoke({"messages": [("user", "Which colour do I like?")]})
    assert first["messages"][-1].content == "nothing yet"
    assert second["messages"][-1].content == "My favourite colour is teal"
