"""The memory as tools of LangChain, Pydantic AI, the OpenAI Agents SDK and Anthropic's tool runner."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from agents import Agent, Runner
from agents.tool_context import ToolContext
from anthropic.lib.tools import ToolError
from pydantic_ai import Agent as PydanticAgent
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from mimir.adapters.langchain import MimirRetriever, mimir_tools
from mimir.adapters.memory_tool import MimirFiles, memory_tool
from mimir.adapters.openai_agents import MimirSession, mimir_function_tools
from mimir.adapters.pydantic_ai import mimir_toolset
from mimir.adapters.session import Session, open_session


@pytest.fixture
def session(db: str) -> Iterator[Session]:
    opened = open_session(db)
    yield opened
    opened.close()


def remember(session: Session, key: str, content: str) -> None:
    session.call("remember", category="note", key=key, body_json={"content": content, "page": 7})


def test_a_retriever_of_langchain_returns_memories_as_documents(session: Session) -> None:
    remember(session, "food", "The user loves pizza.")
    remember(session, "pet", "The dog is called Rex.")
    (document,) = MimirRetriever(session=session, limit=1).invoke("what to eat")
    assert document.page_content == "The user loves pizza."
    assert (document.metadata["key"], document.metadata["page"]) == ("food", 7)
    assert asyncio.run(MimirRetriever(session=session, filters={"category": "none"}).ainvoke("eat")) == []


def test_tools_of_langchain_remember_and_recall(session: Session) -> None:
    tools = {tool.name: tool for tool in mimir_tools(session)}
    assert set(tools) == {"mimir_remember", "mimir_recall", "mimir_context", "mimir_forget"}
    assert tools["mimir_remember"].args["key"]["description"]
    assert tools["mimir_remember"].invoke({"content": "Rex is a dog.", "key": "rex"}) == "created: note/rex"
    assert "Rex is a dog." in tools["mimir_recall"].invoke({"query": "who is Rex"})
    assert "Rex" in tools["mimir_context"].invoke({})
    assert tools["mimir_forget"].invoke({"key": "rex"}) == "forgotten: note/rex"
    assert tools["mimir_forget"].invoke({"key": "rex"}) == "There is no memory note/rex."


def test_a_failure_is_told_to_the_model(session: Session) -> None:
    tools = {tool.name: tool for tool in mimir_tools(session)}
    assert tools["mimir_remember"].invoke({"content": "x", "key": ""}).startswith("Error (invalid_input)")


def test_an_agent_of_pydantic_ai_uses_the_toolset(session: Session) -> None:
    def model(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        assert {tool.name for tool in info.function_tools} >= {"mimir_remember", "mimir_recall"}
        returned = [part for message in messages for part in message.parts if isinstance(part, ToolReturnPart)]
        if not returned:
            return ModelResponse([ToolCallPart("mimir_remember", {"content": "Rex is a dog.", "key": "rex"})])
        if len(returned) == 1:
            return ModelResponse([ToolCallPart("mimir_recall", {"query": "who is Rex"})])
        return ModelResponse([TextPart(str(returned[-1].content))])

    agent = PydanticAgent(FunctionModel(model), toolsets=[mimir_toolset(session)])
    assert "Rex is a dog." in agent.run_sync("Who is Rex?").output


def test_function_tools_of_the_openai_sdk_remember_and_recall(session: Session) -> None:
    tools = {tool.name: tool for tool in mimir_function_tools(session)}

    def invoke(name: str, **arguments: object) -> Any:  # noqa: ANN401 - what the SDK returns
        given = json.dumps(arguments)
        context = ToolContext(context=None, tool_name=name, tool_call_id="1", tool_arguments=given)
        return asyncio.run(tools[name].on_invoke_tool(context, given))

    done = invoke("mimir_remember", content="Rex is a dog.", key="rex", category="note")
    assert done == "created: note/rex"
    assert "Rex is a dog." in invoke("mimir_recall", query="who is Rex", limit=3)


def test_a_session_of_the_openai_sdk_keeps_a_conversation_in_order(session: Session) -> None:
    async def use() -> None:
        talk = MimirSession("talk/1", session)
        other = MimirSession("talk/10", session)
        items: list[Any] = [{"role": "user", "content": f"turn {number}"} for number in range(5)]
        await talk.add_items(items[:2])
        await talk.add_items(items[2:])
        await other.add_items(items[:1])
        assert await talk.get_items() == items
        assert await talk.get_items(limit=2) == items[-2:]
        assert await talk.pop_item() == items[-1]
        assert await MimirSession("talk/1", session).get_items() == items[:-1]
        await talk.clear_session()
        assert await talk.get_items() == []
        assert await talk.pop_item() is None
        assert await other.get_items() == items[:1]

    asyncio.run(use())


def test_an_agent_of_the_openai_sdk_continues_its_conversation(session: Session) -> None:
    from agents import Model, RunConfig, Usage
    from agents import ModelResponse as Response
    from openai.types.responses import ResponseOutputMessage, ResponseOutputText

    heard: list[Any] = []

    class Echo(Model):
        async def get_response(self, *_: object, **given: object) -> Response:
            heard.append(given["input"])
            text = ResponseOutputText(text="noted", type="output_text", annotations=[])
            message = ResponseOutputMessage(
                id="m", content=[text], role="assistant", status="completed", type="message"
            )
            return Response(output=[message], usage=Usage(), response_id=None)

        def stream_response(self, *_: Any, **__: Any) -> Any:  # noqa: ANN401 - never called
            raise NotImplementedError

    async def use() -> None:
        agent = Agent(name="a", model=Echo())
        quiet = RunConfig(tracing_disabled=True)
        talk = MimirSession("talk", session)
        await Runner.run(agent, "My name is Ada.", session=talk, run_config=quiet)
        await Runner.run(agent, "Who am I?", session=talk, run_config=quiet)

    asyncio.run(use())
    assert "Ada" in json.dumps(heard[1])
    assert len(asyncio.run(MimirSession("talk", session).get_items())) == 4


def test_the_memory_tool_of_anthropic_edits_memories_as_files(session: Session) -> None:
    tool = memory_tool(MimirFiles(session))
    assert tool.to_dict()["type"] == "memory_20250818"

    def run(**command: object) -> str:
        return str(tool.call(command))

    assert "created" in run(command="create", path="/memories/a/notes.md", file_text="one\ntwo\n")
    assert "     2\ttwo" in run(command="view", path="/memories/a/notes.md")
    with pytest.raises(ToolError, match="already exists"):
        run(command="create", path="/memories/a/notes.md", file_text="")
    run(command="str_replace", path="/memories/a/notes.md", old_str="two", new_str="three")
    assert "three" in run(command="view", path="/memories/a/notes.md", view_range=[2, 2])
    assert "/memories/a/notes.md" in run(command="view", path="/memories")
