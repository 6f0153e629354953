"""The older transport: a stream for the answers and a route of its own for what is asked."""

from __future__ import annotations

import asyncio
import json
import signal
from contextlib import closing
from pathlib import Path

import httpx2
import pytest
from mcp import ClientSession
from mcp.client.sse import sse_client

from mimir import Memory
from tests.server.client import PATIENCE_S, call, remember, request
from tests.server.web import Serve, StreamClient, WebServer

TOKEN = "correct-horse"
INITIALIZE = request(
    0, "initialize", protocolVersion="2025-11-25", capabilities={}, clientInfo={"name": "test", "version": "1"}
)


def test_what_is_posted_to_a_session_is_answered_on_its_stream(web: WebServer) -> None:
    with closing(StreamClient(web)) as client:
        assert client.ask(INITIALIZE)["result"]["protocolVersion"] == "2025-11-25"
        assert client.ask(remember(1, "k"))["result"]["structuredContent"]["action"] == "created"


def test_each_session_hears_its_own_answers_only(web: WebServer) -> None:
    with closing(StreamClient(web)) as first, closing(StreamClient(web)) as second:
        assert first.endpoint != second.endpoint
        assert first.ask(remember("first", "a"))["id"] == "first"
        assert second.ask(remember("second", "b"))["id"] == "second"


def test_a_stream_needs_no_handshake(web: WebServer) -> None:
    with closing(StreamClient(web)) as client:
        assert client.ask(request(1, "ping"))["result"] == {}
        assert client.ask(call(2, "mimir_state_get", key="none"))["result"]["structuredContent"]["found"] is False


def test_both_words_for_the_transport_serve_the_stream(serve: Serve) -> None:
    with closing(StreamClient(serve("--transport", "sse"))) as client:
        assert client.ask(request(1, "ping"))["result"] == {}


def test_a_session_that_has_ended_is_not_found(web: WebServer) -> None:
    client = StreamClient(web)
    client.close()
    # The server notices when it next writes or reads; until then what is posted is accepted and lost.
    replies = (web.post(request(1, "ping"), client.endpoint).status for _ in range(10_000))
    assert 404 in replies


def test_a_message_that_is_no_json_is_refused_and_the_session_goes_on(web: WebServer) -> None:
    with closing(StreamClient(web)) as client:
        assert web.post(b"{", client.endpoint).status == 400
        assert client.ask(request(1, "ping"))["result"] == {}


def test_a_signal_lets_a_call_on_a_stream_finish(web: WebServer, tmp_path: Path, db: str) -> None:
    vault = tmp_path / "vault"
    vault.mkdir()
    for number in range(600):
        text = f"---\ncategory: note\nkey: n{number:03}\n---\ntext {number}\n"
        (vault / f"note-n{number:03}.md").write_text(text, encoding="utf-8")
    with closing(StreamClient(web)) as client:
        assert web.post(call(1, "mimir_vault_import", vault_dir=str(vault)), client.endpoint).status == 202
        web.process.send_signal(signal.SIGTERM)
        reply = json.loads(client.next_event("message"))
        assert reply["result"]["structuredContent"]["files_created"] == 600
        assert web.process.wait(PATIENCE_S) == 0
    with Memory.open(db, embedding="off") as memory:
        assert memory.stats().total_entities == 600


async def list_and_remember(url: str, token: str) -> tuple[int, object]:
    async with (
        sse_client(f"{url}/sse", headers={"Authorization": f"Bearer {token}"}) as (source, sink),
        ClientSession(source, sink) as session,
    ):
        await session.initialize()
        tools = await session.list_tools()
        stored = await session.call_tool("mimir_remember", {"category": "c", "key": "k", "body_json": "{}"})
        return len(tools.tools), getattr(stored, "structured_content", None)


def test_the_official_client_works_with_the_token(serve: Serve) -> None:
    count, stored = asyncio.run(list_and_remember(serve(MIMIR_MCP_TOKEN=TOKEN).url, TOKEN))
    assert count
    assert isinstance(stored, dict)
    assert stored["action"] == "created"


def test_the_official_client_is_refused_with_a_wrong_token(serve: Serve) -> None:
    web = serve(MIMIR_MCP_TOKEN=TOKEN)
    with pytest.raises(httpx2.HTTPStatusError, match="401 Unauthorized"):
        asyncio.run(list_and_remember(web.url, "wrong"))
    assert web.is_alive()
