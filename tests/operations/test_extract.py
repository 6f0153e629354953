"""Extract: knowledge out of a text or a stored memory, without changing anything."""

from __future__ import annotations

import pytest

from mimir import Conflict, InvalidInput, Memory, NotFound
from mimir.operations.ai import Extracted, Extraction
from tests.conftest import OpenMemory


def found(result: Extraction) -> list[tuple[str, str]]:
    return [(item.kind, item.text) for item in result.items]


def test_a_text_is_read(memory: Memory) -> None:
    result = memory.extract("I prefer tabs. The port is 5432. Hm.")
    assert found(result) == [("preference", "I prefer tabs"), ("fact", "The port is 5432")]
    assert (result.total, result.strategy) == (2, "rule_based")


def test_the_words_of_a_stored_memory_are_read_not_its_json(memory: Memory) -> None:
    memory.remember("note", "k", {"title": "We shipped it.", "is": ["The port is 5432", 7, True], "was": None})
    assert found(memory.extract(category="note", key="k")) == [
        ("episode", "We shipped it"),
        ("fact", "The port is 5432"),
    ]


def test_a_text_wins_over_a_stored_memory(memory: Memory) -> None:
    memory.remember("note", "k", {"content": "The port is 5432."})
    assert found(memory.extract("I like tea.", category="note", key="k")) == [("preference", "I like tea")]


@pytest.mark.parametrize("strategy", ["none", "llm", ""])
def test_any_other_strategy_finds_nothing(memory: Memory, strategy: str) -> None:
    result = memory.extract("I prefer tabs.", strategy=strategy)
    assert result == Extraction(items=(), total=0, strategy=strategy)


def test_reading_a_memory_leaves_no_trace(memory: Memory) -> None:
    entity_id = memory.remember("note", "k", {"content": "It is so."}).id
    before = memory.get_entity(entity_id)
    assert memory.extract(category="note", key="k").items == (Extracted(kind="fact", text="It is so"),)
    memory.flush_uses()
    assert memory.get_entity(entity_id) == before


@pytest.mark.parametrize(("category", "key"), [(None, None), ("note", None), (None, "k"), ("", "k")])
def test_without_text_a_whole_name_is_needed(memory: Memory, category: str | None, key: str | None) -> None:
    with pytest.raises(InvalidInput) as raised:
        memory.extract(" \n", category=category, key=key)
    assert raised.value.message == "extract requires `text`, or `category` + `key` of a stored entity"


def test_an_unknown_memory_is_named(memory: Memory) -> None:
    with pytest.raises(NotFound, match="Entity not found: note/k"):
        memory.extract(category="note", key="k")


def test_a_workspace_tells_memories_of_one_name_apart(memory: Memory) -> None:
    for workspace in ("a", "b"):
        memory.remember("note", "k", {"content": f"It is in {workspace}."}, workspace_hash=workspace)
    assert memory.extract(category="note", key="k", workspace_hash="b").items[0].text == "It is in b"
    with pytest.raises(Conflict, match="a, b"):
        memory.extract(category="note", key="k")


def test_a_private_memory_of_another_agent_is_not_read(open_memory: OpenMemory) -> None:
    open_memory(agent_id="ann").remember("note", "k", {"content": "It is secret."}, visibility="private")
    with pytest.raises(NotFound):
        open_memory(agent_id="bob").extract(category="note", key="k")
