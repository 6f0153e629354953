"""Mimir as a tool of a crew, and as the backend of CrewAI's own memory."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from crewai import Memory
from crewai.memory.types import MemoryRecord

from mimir import InvalidInput
from mimir.adapters.crewai import MimirMemoryTool
from mimir.adapters.crewai_storage import MimirStorage
from mimir.adapters.session import Session, open_session
from tests.server.client import SERVE


@pytest.fixture(params=["local", "stdio"])
def session(request: pytest.FixtureRequest, db: str) -> Iterator[Session]:
    opened = open_session(db, command=SERVE[:-1] if request.param == "stdio" else ())
    yield opened
    opened.close()


@pytest.fixture
def storage(session: Session) -> MimirStorage:
    return MimirStorage(session)


def record(content: str, scope: str = "/", **fields: object) -> MemoryRecord:
    return MemoryRecord.model_validate({"content": content, "scope": scope, **fields})


def test_the_tool_remembers_recalls_journals_and_gives_its_context(session: Session) -> None:
    tool = MimirMemoryTool(session=session)
    done = tool.run(action="remember", content="The budget is 40 euros.", key="budget")
    assert done == "created: crewai/budget"
    assert "40 euros" in tool.run(action="recall", query="how much money is there")
    assert tool.run(action="recall", query="anything", category="empty") == "Nothing is remembered about that."
    assert tool.run(action="journal", description="ordered lunch", context="hungry").startswith("noted: decision")
    assert "40 euros" in tool.run(action="context")
    (event,) = [one for one in session.call("timeline")["items"] if one["category"] == "crewai"]
    assert "ordered lunch" in event["acted_json"]


def test_the_tool_tells_an_agent_its_arguments() -> None:
    fields = MimirMemoryTool.model_fields["args_schema"].default.model_fields
    assert set(fields) >= {"action", "content", "key", "query", "limit"}
    assert all(field.description for field in fields.values())


def test_a_failure_of_the_tool_comes_back_as_text(session: Session) -> None:
    tool = MimirMemoryTool(session=session)
    assert tool.run(action="remember", content="x", key="a", category="c" * 300).startswith("Error (invalid_input)")


def test_the_tool_opens_and_closes_a_store_of_its_own(db: str) -> None:
    tool = MimirMemoryTool(db)
    tool.run(action="remember", content="kept", key="a")
    tool.close()
    again = MimirMemoryTool(db)
    assert "kept" in again.run(action="recall", query="kept")
    again.close()


def test_the_memory_of_crewai_remembers_and_recalls_through_mimir(storage: MimirStorage) -> None:
    memory = Memory(storage=storage, embedder=storage.embed)
    for content in ("The user loves pizza.", "The server listens on port 8767."):
        memory.remember(content, scope="/facts", categories=["fact"], importance=0.7)
    found = memory.recall("what does the user like to eat", scope="/facts", depth="shallow", limit=1)
    assert [match.record.content for match in found] == ["The user loves pizza."]


def test_records_are_found_by_meaning_within_scope_category_and_metadata(storage: MimirStorage) -> None:
    storage.save(
        [
            record("Rex is a dog.", "/a/b", categories=["pet"], metadata={"age": 3}),
            record("Tom is a cat.", "/a", categories=["pet"]),
            record("The car is red.", "/ab"),
        ]
    )
    (vector,) = storage.embed(["a puppy"])
    assert next(one.content for one, _ in storage.search(vector)) == "Rex is a dog."
    assert {one.content for one, _ in storage.search(vector, "/a")} == {"Rex is a dog.", "Tom is a cat."}
    assert [one.content for one, _ in storage.search(vector, metadata_filter={"age": 3})] == ["Rex is a dog."]
    assert {one.content for one, _ in storage.search(vector, categories=["pet"])} == {"Rex is a dog.", "Tom is a cat."}
    assert storage.search(vector, min_score=0.99) == []
    assert len(storage.search(vector, limit=1)) == 1
    with pytest.raises(InvalidInput, match="embedder"):
        storage.search([0.0] * 384)


def test_scopes_categories_and_records_are_listed(storage: MimirStorage) -> None:
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    storage.save(
        [
            record(f"fact {number}", scope, categories=[name], created_at=begin + timedelta(days=number))
            for number, (scope, name) in enumerate([("/a/b", "x"), ("/a/c/d", "x"), ("/e", "y")])
        ]
    )
    assert storage.list_scopes() == ["/a", "/e"]
    assert storage.list_scopes("/a") == ["/a/b", "/a/c"]
    assert storage.list_categories() == {"x": 2, "y": 1}
    assert [one.content for one in storage.list_records(limit=2)] == ["fact 2", "fact 1"]
    info = storage.get_scope_info("/a")
    assert (info.record_count, info.categories, info.child_scopes) == (2, ["x"], ["/a/b", "/a/c"])
    assert info.oldest_record == begin
    assert (storage.count(), storage.count("/a")) == (3, 2)


def test_records_are_replaced_and_deleted(storage: MimirStorage) -> None:
    first, second = record("one", "/a"), record("two", "/b", categories=["x"])
    storage.save([first, second])
    storage.update(first.model_copy(update={"content": "one and a half"}))
    kept = storage.get_record(first.id)
    assert kept is not None
    assert kept.content == "one and a half"
    assert storage.delete(record_ids=[first.id]) == 1
    assert storage.get_record(first.id) is None
    assert storage.delete(categories=["y"]) == 0
    storage.reset()
    assert storage.count() == 0
