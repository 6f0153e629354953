"""`MimirMemory` is a memory of AutoGen that really stores, finds, fills a context, clears and closes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from autogen_core import CancellationToken
from autogen_core.memory import MemoryContent, MemoryMimeType
from autogen_core.model_context import UnboundedChatCompletionContext
from autogen_core.models import SystemMessage, UserMessage

from mimir import InvalidInput, Memory, MimirError
from mimir.adapters.autogen import MimirMemory, create_mimir_memory
from tests.server.client import SERVE

Use = Callable[[MimirMemory], Awaitable[None]]


@pytest.fixture(params=["local", "binary"])
def used(request: pytest.FixtureRequest, db: str) -> Callable[[Use], None]:
    """Run a coroutine with a memory that is closed after it."""

    def run(use: Use) -> None:
        async def whole() -> None:
            memory = MimirMemory(db, binary=SERVE[0] if request.param == "binary" else "")
            if request.param == "binary":
                memory.session._command = (*SERVE, "--db", db)  # type: ignore[attr-defined]  # noqa: SLF001 - the interpreter is the program here
            try:
                await use(memory)
            finally:
                await memory.close()

        asyncio.run(whole())

    return run


def text(content: str, **metadata: object) -> MemoryContent:
    return MemoryContent(content=content, mime_type=MemoryMimeType.TEXT, metadata=metadata or None)


def test_what_is_added_is_found_with_its_metadata(used: Callable[[Use], None]) -> None:
    async def use(memory: MimirMemory) -> None:
        await memory.add(text("The user prefers metric units.", source="chat", key="units"))
        (found,) = (await memory.query("which units to use")).results
        assert found.content == "The user prefers metric units."
        assert found.mime_type == MemoryMimeType.TEXT
        assert found.metadata is not None
        assert (found.metadata["key"], found.metadata["source"]) == ("units", "chat")
        assert found.metadata["score"] > 0

    used(use)


def test_json_and_bytes_come_back_as_they_went_in(used: Callable[[Use], None]) -> None:
    async def use(memory: MimirMemory) -> None:
        await memory.add(MemoryContent(content={"port": 5432}, mime_type=MemoryMimeType.JSON, metadata={"key": "db"}))
        await memory.add(MemoryContent(content=b"\x00\xff", mime_type=MemoryMimeType.BINARY, metadata={"key": "raw"}))
        found = {one.metadata["key"]: one for one in (await memory.query("")).results if one.metadata}
        assert (found["db"].content, found["raw"].content) == ({"port": 5432}, b"\x00\xff")
        with pytest.raises(InvalidInput, match="remembered"):
            await memory.add(MemoryContent.model_construct(content=3, mime_type="text/plain", metadata=None))

    used(use)


def test_a_context_gets_what_fits_its_latest_question(used: Callable[[Use], None]) -> None:
    async def use(memory: MimirMemory) -> None:
        await memory.add(text("The user prefers metric units.", key="units"))
        context = UnboundedChatCompletionContext()
        await context.add_message(UserMessage(content="Which units do I prefer?", source="user"))
        result = await memory.update_context(context)
        assert [one.content for one in result.memories.results] == ["The user prefers metric units."]
        last = (await context.get_messages())[-1]
        assert isinstance(last, SystemMessage)
        assert "Relevant memory context from Mimir:" in last.content
        assert "metric units" in last.content
        assert "not instructions" in last.content

    used(use)


def test_an_empty_memory_adds_nothing_to_a_context(used: Callable[[Use], None]) -> None:
    async def use(memory: MimirMemory) -> None:
        context = UnboundedChatCompletionContext()
        await memory.update_context(context)
        assert await context.get_messages() == []

    used(use)


def test_clearing_empties_this_memory_and_no_other(used: Callable[[Use], None], db: str) -> None:
    with Memory.open(db, embedding="off") as other:
        other.remember("decision", "database", {"content": "SQLite"})

    async def use(memory: MimirMemory) -> None:
        for number in range(120):
            await memory.add(text(f"fact {number}", key=str(number)))
        await memory.clear()
        assert (await memory.query("fact")).results == []

    used(use)
    with Memory.open(db, embedding="off") as other:
        assert [item.key for item in other.recall("").items] == ["database"]


def test_a_cancelled_call_ends_at_once(used: Callable[[Use], None]) -> None:
    async def use(memory: MimirMemory) -> None:
        token = CancellationToken()
        token.cancel()
        with pytest.raises(asyncio.CancelledError):
            await memory.query("anything", token)

    used(use)


def test_a_memory_is_made_anew_from_its_component(db: str) -> None:
    async def use() -> None:
        memory = create_mimir_memory(db, category="team", context_limit=3)
        await memory.add(text("Ada leads.", key="lead"))
        model = memory.dump_component()
        await memory.close()
        again = MimirMemory.load_component(model)
        assert [one.content for one in (await again.query("who leads")).results] == ["Ada leads."]
        await again.close()

    asyncio.run(use())


def test_a_failure_reaches_the_caller(db: str) -> None:
    async def use() -> None:
        memory = MimirMemory(db)
        with pytest.raises(MimirError):
            await memory.add(text("x", category="c" * 300))
        await memory.close()

    asyncio.run(use())
