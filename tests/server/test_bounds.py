"""No reply is longer than a model can read, whatever the store holds; nothing is lost on the way to the whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from mimir import Memory
from mimir.catalogue import load_catalogue
from mimir.config import load_settings
from mimir.rules.bounds import CEILING_BYTES, SHORTEST_REPLY
from mimir.server.dispatch import Dispatcher
from mimir.server.message import Request

CATALOGUE = load_catalogue()
LONG = "A sentence about the größe of rivers. " * 20_000


def told(number: int) -> str:
    """Return a text about brooks that shares few words with those of other numbers."""
    return "a brook " + " ".join(f"word{20 * number + place}" for place in range(20))


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dispatcher]:
    """Return a dispatcher on a store with bodies, trails, lists and tables that are too long for a reply."""
    path = str(tmp_path_factory.mktemp("full") / "m.db")
    with Memory.open(path, embedding="off") as memory:
        for number in range(3):
            memory.remember("book", f"volume{number}", {"content": LONG, "number": number}, always_on=True)
        for number in range(12):
            memory.remember("book", "draft", {"content": f"{number} " + LONG[:40_000], "recall_when": ["reading"]})
        memory.remember_many(
            {
                "category": f"category number {number}",
                "key": f"key {number:04}",
                "body_json": {"content": told(number)},
            }
            for number in range(4_000)
        )
        for number in range(400):
            memory.journal("decided", evaluated={"what": "x" * 2_000, "number": number})
        memory.state_set("big", json.dumps({"value": LONG}))
    dispatcher = Dispatcher(load_settings(db=path, embedding="off"))
    yield dispatcher
    dispatcher.close()


def read(uri: str) -> Request:
    return Request(1, "resources/read", {"uri": uri}, modern=True)


def use(dispatcher: Dispatcher, name: str, **arguments: object) -> dict[str, Any]:
    """Call a tool that must succeed within the ceiling and by its schema, and return its result."""
    payload, failed = dispatcher.call(f"mimir_{name}", arguments)
    assert not failed
    assert len(payload) <= CEILING_BYTES
    result: dict[str, Any] = json.loads(payload)
    Draft202012Validator(CATALOGUE[name]["tool"]["outputSchema"]).validate(result)
    return result


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("recall", {"query": "rivers", "limit": 1_000}),
        ("recall", {"query": "", "limit": 1_000}),
        ("recall_layer", {"layer": "buffer", "limit": 1_000}),
        ("recall_when", {"context": "reading", "limit": 100}),
        ("context", {"limit": 1_000}),
        ("history", {"category": "book", "key": "draft", "limit": 1_000}),
        ("timeline", {"limit": 1_000}),
        ("stats", {}),
        ("workspace_list", {}),
    ],
)
def test_what_is_too_long_is_shortened_and_says_so(full: Dispatcher, name: str, arguments: dict[str, object]) -> None:
    result = use(full, name, **arguments)
    assert result["truncated"].startswith("Shortened")


def test_a_value_that_programs_keep_comes_back_to_the_byte(full: Dispatcher) -> None:
    payload, _ = full.call("mimir_state_get", {"key": "big"})
    assert json.loads(json.loads(payload)["value"]) == {"value": LONG}


def test_an_ordinary_result_says_nothing_of_bounds(full: Dispatcher) -> None:
    assert "truncated" not in use(full, "recall", query="brook", limit=3)
    assert "truncated" not in use(full, "recall", query="brook", limit=3, max_chars=70_000)


def test_a_shortened_body_stays_json_and_its_memory_can_be_had_in_full_page_by_page(full: Dispatcher) -> None:
    (item,) = use(full, "recall", query="volume1", limit=1)["items"]
    entity = use(full, "get_entity", id=item["id"])
    assert json.loads(entity["body_json"])["number"] == 1
    assert "mimir_get_entity" in entity["truncated"]
    text, more = "", True
    while more:
        page = use(full, "get_entity", id=item["id"], offset=len(text))
        text += page["body_json"]
        more = f"offset {len(text)}" in page["truncated"]
    assert json.loads(text) == {"content": LONG, "number": 1}


def test_the_next_page_begins_where_a_shortened_list_ended(full: Dispatcher) -> None:
    first = use(full, "recall", query="brook", limit=1_000, reinforce=False)
    kept = len(first["items"])
    assert 0 < kept < 1_000
    assert f"offset {kept}" in first["truncated"]
    second = use(full, "recall", query="brook", limit=1_000, offset=kept, reinforce=False)
    ids = [item["id"] for item in (*first["items"], *second["items"])]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("most", [SHORTEST_REPLY, 5_000, 20_000])
def test_recall_keeps_within_the_characters_it_is_given(full: Dispatcher, most: int) -> None:
    payload, _ = full.call("mimir_recall", {"query": "rivers", "limit": 50, "max_chars": most})
    assert len(payload.decode()) <= most
    result = json.loads(payload)
    Draft202012Validator(CATALOGUE["recall"]["tool"]["outputSchema"]).validate(result)
    assert result["items"]
    assert "Shortened" in result["truncated"]


def test_context_takes_the_same_word_for_its_budget(full: Dispatcher) -> None:
    for word in ("max_chars", "max_context_chars"):
        markdown = use(full, "context", limit=50, **{word: 800})["markdown"]
        assert len(markdown) <= 800
        assert "entities recalled; raise max_context_chars or use mimir_recall" in markdown


def test_in_python_a_bounded_recall_gives_the_same_kind_of_result(full: Dispatcher) -> None:
    with Memory.open(full.settings.db, embedding="off") as memory:
        recalled = memory.recall("rivers", limit=50, max_chars=5_000)
        assert recalled.items
        assert "Shortened" in str(recalled.truncated)
        assert len(memory.recall("volume1", limit=1).items[0].body_json) > CEILING_BYTES


def test_a_resource_is_bounded_as_the_tool_that_reads_it(full: Dispatcher) -> None:
    (content,) = json.loads(full.answer(read("mimir://always-on")))["result"]["contents"]
    assert len(content["text"].encode()) <= CEILING_BYTES
    assert len(json.loads(content["text"])["items"]) == 3


def test_a_resource_made_of_several_results_is_bounded_and_says_so(db: str) -> None:
    with Memory.open(db, embedding="off") as memory:
        memory.remember_many(
            {
                "category": f"category {number} {'x' * 50}",
                "key": "k",
                "body_json": {"content": told(number)},
                "workspace_hash": f"workspace {number} {'y' * 50}",
            }
            for number in range(900)
        )
    dispatcher = Dispatcher(load_settings(db=db, embedding="off"))
    (content,) = json.loads(dispatcher.answer(read("mimir://schema")))["result"]["contents"]
    dispatcher.close()
    assert len(content["text"].encode()) <= CEILING_BYTES
    words = json.loads(content["text"])
    assert words["categories"]
    assert "of 900" in words["truncated"]


def test_hosts_are_told_which_tools_to_load_at_once_and_which_results_to_show_whole() -> None:
    hints = {name: entry["tool"].get("_meta", {}) for name, entry in CATALOGUE.items()}
    assert [name for name, meta in hints.items() if meta.get("anthropic/alwaysLoad")] == [
        "remember",
        "recall",
        "context",
    ]
    sizes = {meta["anthropic/maxResultSizeChars"] for meta in hints.values() if "anthropic/maxResultSizeChars" in meta}
    assert sizes == {CEILING_BYTES}
