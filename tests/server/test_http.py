"""HTTP: real processes, real requests, the official client, and everything a stranger may send."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import apsw
import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client

from mimir import Memory, __version__
from mimir.config import load_settings
from mimir.server.auth import MAXIMUM_REQUEST_BYTES
from mimir.server.call import Call
from mimir.server.dispatch import Dispatcher
from mimir.server.front import Front, Traffic, bind
from mimir.server.http import READ_THREADS, WRITE_THREADS
from mimir.server.message import Request
from tests.server.client import MODERN_META, PATIENCE_S, SERVE, Run, call, remember, request, wire
from tests.server.web import JSON, Serve, StreamClient, WebServer, free_port, trusting

TOKEN = "correct-horse"
OPENING = request(
    0, "initialize", protocolVersion="2025-11-25", capabilities={}, clientInfo={"name": "test", "version": "1"}
)


def note(folder: Path, name: str) -> None:
    folder.mkdir(exist_ok=True)
    text = f"---\ncategory: note\nkey: {name}\n---\n{name} text\n"
    (folder / f"note-{name}.md").write_text(text, encoding="utf-8")


def modern(message: dict[str, Any]) -> dict[str, Any]:
    return {**message, "params": {**message["params"], "_meta": MODERN_META}}


# Serving


def test_a_reply_does_not_wait_for_the_acknowledgement_of_its_head() -> None:
    with bind("127.0.0.1", free_port()) as listener:
        assert listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_the_address_is_printed_once_it_can_be_used(web: WebServer) -> None:
    assert web.address == f"mimir: serving {web.url}/mcp"
    reply = web.send("GET", "/healthz")
    assert (reply.status, json.loads(reply.body)) == (200, {"status": "ok", "version": __version__})


def test_a_session_of_the_handshake_era_remembers_and_recalls(web: WebServer) -> None:
    session = web.open_session()
    assert web.ask(remember(1, "day", "We deploy on Tuesdays."), session)["result"]["structuredContent"]["key"] == "day"
    found = web.ask(call(2, "mimir_recall", query="deploy tuesdays"), session)
    assert found["result"]["structuredContent"]["items"][0]["content"] == "We deploy on Tuesdays."
    assert web.send("DELETE", "/mcp", headers={"Mcp-Session-Id": session}).status == 200
    assert web.post(request(3, "tools/list"), "/mcp", Mcp_Session_Id=session).status == 404


def test_a_request_of_the_stateless_era_needs_no_session(web: WebServer) -> None:
    reply = web.ask(modern(remember(1, "day")))
    assert reply["result"]["structuredContent"]["action"] == "created"
    assert reply["result"]["resultType"] == "complete"


def test_one_message_is_answered_without_a_handshake(web: WebServer) -> None:
    assert web.post(remember("a", "k")).message()["result"]["structuredContent"]["key"] == "k"
    assert web.post({"jsonrpc": "2.0", "method": "notifications/initialized"}).status == 202


def test_calls_of_many_clients_run_side_by_side_and_none_is_lost(web: WebServer, db: str) -> None:
    def store(number: int) -> str:
        result = web.ask(modern(remember(number, f"key-{number}")))["result"]
        action: str = result["structuredContent"]["action"]
        return action

    with ThreadPoolExecutor(16) as clients:
        assert list(clients.map(store, range(64))) == ["created"] * 64
    with Memory.open(db, embedding="off") as memory:
        assert memory.stats().total_entities == 64


def test_nothing_that_reads_waits_for_writes_that_wait_for_another_process(web: WebServer, db: str) -> None:
    web.post(remember(0, "first"))
    other = apsw.Connection(db)
    other.execute("BEGIN IMMEDIATE")
    connections = [web.connect() for _ in range(2 * (READ_THREADS + WRITE_THREADS))]
    for number, connection in enumerate(connections):
        connection.request("POST", "/message", json.dumps(remember(number, f"k{number}")), {"Content-Type": JSON})
    found = web.post(call(1, "mimir_recall", query="first", reinforce=False)).message()
    assert [item["key"] for item in found["result"]["structuredContent"]["items"]] == ["first"]
    other.close()
    for connection in connections:
        reply = json.loads(connection.getresponse().read())
        assert reply["result"]["structuredContent"]["action"] == "created"
        connection.close()


def test_a_signal_lets_accepted_calls_finish(web: WebServer, tmp_path: Path, db: str) -> None:
    for number in range(600):
        note(tmp_path / "vault", f"n{number:03}")
    body = json.dumps(call(1, "mimir_vault_import", vault_dir=str(tmp_path / "vault")))
    with closing(web.connect()) as connection:
        connection.request("POST", "/message", body, {"Content-Type": "application/json"})
        # An answer on a second connection, opened later, tells that the first request has been read.
        assert web.is_alive()
        web.process.send_signal(signal.SIGTERM)
        reply = json.loads(connection.getresponse().read())
    assert reply["result"]["structuredContent"]["files_created"] == 600
    assert web.process.wait(PATIENCE_S) == 0
    with Memory.open(db, embedding="off") as memory:
        assert memory.stats().total_entities == 600


@pytest.mark.parametrize("turns", [0, 1, 5, 20])
def test_a_request_on_its_way_from_one_task_to_the_next_keeps_the_server_from_stopping(turns: int) -> None:
    traffic = Traffic()

    async def hand_on() -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        traffic.accepted += 1

    async def stop(front: Front) -> tuple[bool, bool]:
        front.handle_exit(signal.SIGTERM, None)
        task = asyncio.create_task(hand_on())
        early = await front.on_tick(1)
        await task
        traffic.accepted -= 1
        return early, await front.on_tick(2)

    with bind("127.0.0.1", free_port()) as listener:
        front = Front(load_settings(), [], traffic, listener, lambda _: None)
        front.servers = []
        assert asyncio.run(stop(front)) == (False, True)


def test_an_open_stream_does_not_keep_the_server_from_stopping(web: WebServer) -> None:
    session = web.open_session()
    with closing(web.connect()) as connection:
        connection.request("GET", "/mcp", headers={"Accept": "text/event-stream", "Mcp-Session-Id": session})
        with connection.getresponse() as stream:
            assert stream.status == 200
            web.close()


# Progress and cancellation


def test_long_work_tells_how_far_it_has_come(web: WebServer, tmp_path: Path) -> None:
    for mode in ("legacy", "2026-07-28"):  # notes that have come in already are passed over without a report
        for number in range(300):
            note(tmp_path / mode, f"{mode}-{number:03}")
    heard: list[tuple[float, float | None]] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:  # noqa: ARG001 - the name is part of the protocol
        heard.append((progress, total))

    async def use(mode: str) -> None:
        async with Client(f"{web.url}/mcp", mode=mode) as client:
            arguments = {"vault_dir": str(tmp_path / mode)}
            result = await client.call_tool("mimir_vault_import", arguments, progress_callback=hear)
            assert not result.is_error

    for mode in ("legacy", "2026-07-28"):
        heard.clear()
        asyncio.run(use(mode))
        assert heard
        assert heard == sorted(heard)
        assert {total for _, total in heard} == {300}


def test_a_cancelled_call_ends_at_its_next_report_and_keeps_what_was_committed(db: str, tmp_path: Path) -> None:
    for number in range(600):
        note(tmp_path / "vault", f"n{number:03}")
    dispatcher = Dispatcher(load_settings(db=db, embedding="off"))
    parameters = {"name": "mimir_vault_import", "arguments": {"vault_dir": str(tmp_path / "vault")}}
    import_call = Call(Request(1, "tools/call", parameters, modern=False), lambda *_: cancel())

    def cancel() -> None:
        import_call.cancelled = True

    assert import_call.run(dispatcher) is None
    (reply,) = [json.loads(dispatcher.answer(Request(2, "tools/call", {"name": "mimir_stats"}, modern=False)))]
    assert 0 < reply["result"]["structuredContent"]["total_entities"] < 600
    dispatcher.close()


def test_a_client_that_goes_away_does_not_harm_the_server(web: WebServer, tmp_path: Path) -> None:
    for number in range(300):
        note(tmp_path / "vault", f"n{number:03}")
    message = modern(call(1, "mimir_vault_import", vault_dir=str(tmp_path / "vault")))
    headers = {
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": "tools/call",
        "Mcp-Name": "mimir_vault_import",
    }
    with closing(web.connect()) as connection:
        connection.request("POST", "/mcp", json.dumps(message), headers)
    assert web.ask(modern(remember(2, "after")))["result"]["structuredContent"]["action"] == "created"


# Tokens


@pytest.mark.parametrize("mode", ["auto", "legacy", "2026-07-28"])
def test_the_official_client_works_with_the_token(serve: Serve, mode: str) -> None:
    web = serve(MIMIR_MCP_TOKEN=TOKEN)

    async def use() -> list[Any]:
        async with (
            httpx2.AsyncClient(headers={"Authorization": f"Bearer {TOKEN}"}) as http,
            Client(streamable_http_client(f"{web.url}/mcp", http_client=http), mode=mode) as client,
        ):
            tools = await client.list_tools()
            stored = await client.call_tool("mimir_remember", {"category": "c", "key": mode, "body_json": "{}"})
            return [len(tools.tools), stored.structured_content]

    count, stored = asyncio.run(use())
    assert count == len(Dispatcher(load_settings(db="unused")).listed())
    assert stored["action"] == "created"


def test_the_official_client_is_refused_with_a_wrong_token(guarded: WebServer) -> None:
    statuses: list[int] = []

    async def note_status(response: httpx2.Response) -> None:
        statuses.append(response.status_code)

    async def use() -> None:
        wrong = {"Authorization": "Bearer wrong"}
        async with (
            httpx2.AsyncClient(headers=wrong, event_hooks={"response": [note_status]}) as http,
            Client(streamable_http_client(f"{guarded.url}/mcp", http_client=http), mode="legacy") as client,
        ):
            await client.list_tools()

    with pytest.raises((MCPError, ExceptionGroup)):
        asyncio.run(use())
    assert set(statuses) == {401}
    assert guarded.is_alive()


@pytest.mark.parametrize("given", ["", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer \xe9"])
@pytest.mark.parametrize(("method", "path"), [("POST", "/message"), ("POST", "/mcp"), ("GET", "/sse")])
def test_no_route_but_health_works_without_the_token(guarded: WebServer, method: str, path: str, given: str) -> None:
    body = remember(1, "k") if method == "POST" else None
    reply = guarded.send(method, path, body, {"Authorization": given})
    assert reply.status == 401
    assert reply.headers["www-authenticate"] == "Bearer"
    assert json.loads(reply.body)["error"] == "unauthorized"
    assert guarded.is_alive()


@pytest.mark.parametrize("given", [f"Bearer {TOKEN}", f"bearer {TOKEN}"])
def test_the_right_token_opens(guarded: WebServer, given: str) -> None:
    assert guarded.post(remember(1, "k"), Authorization=given).status == 200


def test_the_line_end_of_a_token_from_a_file_is_no_part_of_it(serve: Serve) -> None:
    web = serve(MIMIR_MCP_TOKEN=f"{TOKEN}\n")
    assert web.post(PING).status == 401
    assert web.post(PING, Authorization=f"Bearer {TOKEN}").status == 200


def test_no_log_repeats_what_was_said_or_the_token_or_a_session(serve: Serve, tmp_path: Path) -> None:
    log = tmp_path / "log"
    web = serve("--log-level", "debug", "--log-file", str(log), MIMIR_MCP_TOKEN=TOKEN)
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    opened = web.send("POST", "/mcp", OPENING, bearer)
    session = opened.headers["mcp-session-id"]
    said = remember(1, "k", "the heron stands still")
    assert web.send("POST", "/mcp", said, {**bearer, "Mcp-Session-Id": session}).status == 200
    assert web.send("POST", "/message", said, bearer).status == 200
    with closing(StreamClient(web, bearer)) as client:
        assert web.send("POST", client.endpoint, said, bearer).status == 202
        client.next_event("message")
        sessions = (session, client.endpoint.partition("=")[2])
    web.close()
    logged = log.read_text(encoding="utf-8")
    assert "Application startup complete" in logged
    assert [word for word in ("heron", TOKEN, *sessions) if word in logged] == []


# What strangers send


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    yield from running(tmp_path_factory.mktemp("shared"))


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    yield from running(tmp_path_factory.mktemp("guarded"), "--mcp-token", TOKEN)


def running(folder: Path, *flags: str) -> Iterator[WebServer]:
    port = free_port()
    settings = ("--db", str(folder / "m.db"), "--embedding", "off", "--transport", "http", "--port", str(port))
    server = WebServer([*SERVE, *settings, *flags], port, HOME=str(folder))
    yield server
    server.close()


PING = request(1, "ping")
CHUNKED = (
    b"POST /message HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
)
HUGE = {"Content-Length": str(MAXIMUM_REQUEST_BYTES + 1)}


@pytest.mark.parametrize("path", ["/message", "/mcp"])
@pytest.mark.parametrize(
    ("status", "method", "body", "headers"),
    [
        (421, "POST", PING, {"Host": "evil.example"}),
        (421, "POST", PING, {"Host": "localhost.evil.example:8767"}),
        (421, "POST", PING, {"Host": "127.0.0.1.evil.example"}),
        (421, "GET", None, {"Host": "evil.example"}),
        (403, "POST", PING, {"Origin": "https://evil.example"}),
        (403, "POST", PING, {"Origin": "http://localhost:3000"}),
        (403, "POST", PING, {"Origin": "null"}),
        (403, "OPTIONS", None, {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}),
        (413, "POST", b"x" * (MAXIMUM_REQUEST_BYTES + 1), {}),
        (413, "POST", b"{}", HUGE),
        (415, "POST", PING, {"Content-Type": "text/plain"}),
        (415, "POST", PING, {"Content-Type": "application/jsonp"}),
        (415, "POST", PING, {"Content-Type": ""}),
        (400, "POST", b"", {}),
        (400, "POST", b"{", {}),
        (400, "POST", b"\xff\xfe", {}),
        (400, "POST", b"[" * 100_000, {}),
        (400, "POST", b"[]", {}),
        (400, "POST", b"7", {}),
        (400, "POST", {"id": 1, "method": "ping"}, {}),
        (405, "PUT", PING, {}),
        (405, "PATCH", PING, {}),
    ],
)
def test_a_bad_request_gets_its_status_and_the_server_lives(
    shared: WebServer, path: str, status: int, method: str, body: object, headers: dict[str, str]
) -> None:
    assert shared.send(method, path, body, headers).status == status
    assert shared.post(PING).message()["result"] == {}


@pytest.mark.parametrize(
    ("status", "raw"),
    [
        (400, b"GARBAGE\r\n\r\n"),
        (400, b"POST /message HTTP/1.1\r\nHost: localhost\r\nContent-Length: many\r\n\r\n"),
        (400, b"POST /message HTTP/1.1\r\n\r\n"),
        (421, b"POST /message HTTP/1.0\r\n\r\n"),
        (400, b"POST /message HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nContent-Length: 0\r\n\r\n"),
        (400, b"POST /message HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}"),
        (400, b"POST /message HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n"),
        (400, CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n"),
        (413, CHUNKED + b"100000\r\n%b\r\n" % bytes(1 << 20) * 17),
        (400, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: a\x00b\r\n\r\n"),
        (400, b"GET /\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
        (421, b"POST /message HTTP/1.1\r\nHost: localhost@evil.example\r\nContent-Length: 0\r\n\r\n"),
        (421, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        (404, b"CONNECT evil.example:443 HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        (405, b"TRACE /mcp HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        (404, b"GET /../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        (404, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    ],
)
def test_bytes_that_are_no_proper_request_get_their_status(shared: WebServer, status: int, raw: bytes) -> None:
    with socket.create_connection(("127.0.0.1", shared.port), PATIENCE_S) as connection:
        with suppress(BrokenPipeError, ConnectionResetError):  # it may have its answer before it has read all
            connection.sendall(raw)
        assert connection.recv(64).startswith(b"HTTP/1.1 %d" % status)
    assert shared.is_alive()


@pytest.mark.parametrize(
    ("status", "path", "message", "headers"),
    [
        (400, "/mcp", request(1, "tools/list"), {}),
        (404, "/mcp", request(1, "tools/list"), {"Mcp-Session-Id": "0" * 32}),
        (406, "/mcp", request(1, "tools/list"), {"Accept": "text/html"}),
        (400, "/mcp", request(1, "tools/list"), {"MCP-Protocol-Version": "1999-01-01"}),
        (400, "/mcp", modern(PING), {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/list"}),
        (404, "/mcp", modern(PING), {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "ping"}),
        (404, "/message?session_id=" + "0" * 32, PING, {}),
        (400, "/message?session_id=mine", PING, {}),
    ],
)
def test_a_request_that_breaks_the_protocol_gets_its_status(
    shared: WebServer, status: int, path: str, message: object, headers: dict[str, str]
) -> None:
    assert shared.send("POST", path, message, headers).status == status
    assert shared.is_alive()


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":NaN}}', -32700),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":1e999}}', -32700),
        (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', -32600),
        (b'{"jsonrpc":"2.0","id":true,"method":"ping"}', -32600),
        (b'{"jsonrpc":"2.0","id":{},"method":"ping"}', -32600),
        (b'{"jsonrpc":"1.0","id":1,"method":"ping"}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":7}', -32600),
        (b"[]", -32600),
        (b"{", -32700),
    ],
)
def test_what_is_no_message_gets_the_same_reply_on_every_route(shared: WebServer, body: bytes, code: int) -> None:
    session = shared.open_session()
    with closing(StreamClient(shared)) as client:
        replies = [
            shared.post(body),
            shared.post(body, client.endpoint),
            shared.post(body, "/mcp", Mcp_Session_Id=session),
            shared.post(body, "/mcp", MCP_Protocol_Version="2026-07-28", Mcp_Method="ping"),
        ]
        assert client.ask(PING)["result"] == {}
    assert {reply.status for reply in replies} == {400}
    (error,) = {json.dumps(reply.message()["error"]) for reply in replies}
    assert json.loads(error)["code"] == code


@pytest.mark.parametrize("route", ["stream", "session", "stateless"])
def test_an_id_that_the_sessions_cannot_carry_is_refused_instead_of_never_answered(
    shared: WebServer, route: str
) -> None:
    message = request(1.5, "ping")
    if route == "stream":
        with closing(StreamClient(shared)) as client:
            reply = shared.post(message, client.endpoint)
    elif route == "session":
        reply = shared.post(message, "/mcp", Mcp_Session_Id=shared.open_session())
    else:
        reply = shared.post(modern(message), "/mcp", MCP_Protocol_Version="2026-07-28", Mcp_Method="ping")
    assert (reply.status, reply.message()["error"]["code"]) == (400, -32600)
    assert "whole number" in reply.message()["error"]["message"]
    assert shared.post(message).message()["id"] == 1.5


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:1", "[::1]:8767", "192.168.7.7"])
def test_the_machine_may_be_called_by_address(shared: WebServer, host: str) -> None:
    assert shared.send("POST", "/message", PING, {"Host": host}).status == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("GET", "/", 404, ("not_found", "/mcp, /sse, /message")),
        ("GET", "/message", 405, ("method_not_allowed", "POST")),
    ],
)
def test_who_asks_at_the_wrong_place_is_told_the_right_one(
    shared: WebServer, method: str, path: str, status: int, words: tuple[str, str]
) -> None:
    reply = shared.send(method, path)
    told = json.loads(reply.body)
    assert (reply.status, told["error"]) == (status, words[0])
    assert words[1] in told["message"]


def test_a_page_of_the_server_itself_may_use_it(shared: WebServer) -> None:
    assert shared.send("POST", "/message", PING, {"Origin": shared.url}).status == 200


def test_listed_names_and_origins_are_served_and_only_they_get_cors_headers(serve: Serve) -> None:
    web = serve("--allowed-hosts", "mimir.example", "--allowed-origins", "https://App.example:443/")
    assert web.send("POST", "/message", PING, {"Host": "Mimir.Example:443"}).status == 200
    reply = web.send("POST", "/message", PING, {"Origin": "https://app.example"})
    assert (reply.status, reply.headers["access-control-allow-origin"]) == (200, "https://app.example")
    asked = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST"}
    # A browser asks this before it lets a page of the open network use a server of this machine.
    asked["Access-Control-Request-Private-Network"] = "true"
    allowed = web.send("OPTIONS", "/mcp", None, asked)
    assert (allowed.status, allowed.headers["access-control-allow-private-network"]) == (200, "true")
    assert "access-control-allow-origin" not in web.send("GET", "/healthz").headers
    assert web.send("POST", "/message", PING, {"Origin": "https://evil.example"}).status == 403


@contextmanager
def served_with(db: str, changes: str = "pass", **arguments: object) -> Iterator[WebServer]:
    """Serve with other bounds than those in force, which would take a test too long to reach."""
    port = free_port()
    given = "".join(f", {name}={value!r}" for name, value in arguments.items())
    code = (
        "import mimir.server.front, mimir.server.http; from mimir.config import load_settings;"
        "from mimir.server.dispatch import Dispatcher; from mimir.cli.faces import serve_over_http;"
        f"{changes}; serve_over_http(Dispatcher(load_settings(db={db!r}, port={port})), mcp=True, web=False{given})"
    )
    web = WebServer([sys.executable, "-c", code], port)
    yield web
    assert web.is_alive()
    web.close()


def test_a_body_that_does_not_arrive_is_given_up(db: str) -> None:
    head = b"POST /message HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"
    with (
        served_with(db, body_s=0.05) as web,
        socket.create_connection(("127.0.0.1", web.port), PATIENCE_S) as connection,
    ):
        connection.sendall(head)
        assert connection.recv(64).startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize("begun", [b"", b"POST /message HTTP/1.1\r\nHost: loc"])
def test_a_head_that_does_not_arrive_is_given_up(db: str, begun: bytes) -> None:
    with (
        served_with(db, "mimir.server.front.TimedHead.head_s = 0.5") as web,
        socket.create_connection(("127.0.0.1", web.port), PATIENCE_S) as connection,
    ):
        connection.sendall(begun)
        assert connection.recv(64).startswith(b"HTTP/1.1 408")


def test_more_sessions_than_may_be_kept_are_refused_until_one_ends(db: str) -> None:
    with served_with(db, "mimir.server.http.MOST_SESSIONS = 2") as web:
        first, second = web.open_session(), web.open_session()
        assert web.post(OPENING, "/mcp").status == 503
        assert web.ask(PING, second)["result"] == {}
        assert web.send("DELETE", "/mcp", headers={"Mcp-Session-Id": first}).status == 200
        assert web.open_session()


def test_a_session_that_nobody_uses_ends(db: str) -> None:
    with served_with(db, "mimir.server.http.MOST_SESSIONS, mimir.server.http.SESSION_S = 1, 0.2") as web:
        session = web.open_session()
        assert 200 in (web.post(OPENING, "/mcp").status for _ in range(10_000))
        assert web.post(PING, "/mcp", Mcp_Session_Id=session).status == 404


def test_more_requests_than_the_rate_allows_are_put_off(serve: Serve) -> None:
    web = serve("--rate-limit", "3")
    # Seven requests touch two minutes at most, and six of them may pass.
    refused = [reply for reply in (web.post(PING) for _ in range(7)) if reply.status == 429]
    assert refused
    assert all(0 < int(reply.headers["retry-after"]) <= 60 for reply in refused)


def test_on_loopback_no_rate_is_set(shared: WebServer) -> None:
    assert {shared.send("GET", "/healthz").status for _ in range(50)} == {200}


# What stops it from starting


def test_an_address_that_others_reach_needs_a_token(run: Run, db: str) -> None:
    done = run(b"", "--transport", "http", "--web-bind", "0.0.0.0", "--port", str(free_port()))  # noqa: S104 - refused
    assert (done.returncode, done.stdout) == (2, b"")
    assert "--web-bind 0.0" in done.stderr.decode()
    assert "MIMIR_MCP_TOKEN" in done.stderr.decode()
    assert not Path(db).exists()


def test_with_a_token_it_may_be_reached_by_others_and_the_rate_is_limited(serve: Serve) -> None:
    web = serve("--web-bind", "0.0.0.0", MIMIR_MCP_TOKEN=TOKEN)  # noqa: S104 - what is tested
    assert web.post(PING).status == 401
    assert web.post(PING, Authorization=f"Bearer {TOKEN}").status == 200


def test_a_taken_port_is_named_and_ends_the_start(web: WebServer, run: Run) -> None:
    done = run(b"", "--transport", "http", "--port", str(web.port))
    assert (done.returncode, done.stdout) == (6, b"")
    (line,) = done.stderr.decode().splitlines()
    assert f"Port {web.port}" in line
    assert "--port" in line
    assert web.is_alive()


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        (("--web-bind", "no.such.name.invalid"), "no.such.name.invalid"),
        (("--web-bind", "192.0.2.1", "--mcp-token", "t"), "192.0.2.1"),
        (("--tls-cert", "/nowhere.pem"), "/nowhere.pem"),
        (("--tls-key", "/nowhere.pem"), "--tls-cert"),
        (("--allowed-origins", "*"), "'*' is no origin"),
        (("--allowed-origins", "https://app.example/page"), "no origin"),
        (("--allowed-origins", "https://app.example,null"), "'null'"),
        (("--allowed-hosts", "https://mimir.example"), "no name"),
        (("--allowed-hosts", "*.example"), "no name"),
        (("--mcp-token", "a\x07b"), "MIMIR_MCP_TOKEN"),
        (("--port", "65536"), "65535"),
    ],
)
def test_settings_that_cannot_work_are_named(run: Run, flags: tuple[str, ...], word: str) -> None:
    token = () if "--mcp-token" in flags else ("--mcp-token", "t")
    done = run(b"", "--transport", "http", "--port", str(free_port()), *flags, *token)
    assert (done.returncode, done.stdout) == (2, b"")
    (line,) = done.stderr.decode().splitlines()
    assert word in line


@pytest.mark.parametrize("package", ["mcp", "uvicorn", "starlette"])
def test_a_missing_package_is_named_with_the_command_that_installs_it(package: str, db: str) -> None:
    code = (
        f"import sys; sys.modules[{package!r}] = None\n"
        f"from mimir.cli.serve import serve; sys.exit(serve(['--transport', 'http', '--db', {db!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 6
    (line,) = done.stderr.splitlines()
    assert package in line
    assert "pip install 'mimir-local[server]'" in line


def test_a_taken_port_and_a_missing_package_do_not_matter_to_stdio(web: WebServer, run: Run) -> None:
    done = run(wire(request(1, "ping")), "--port", str(web.port))
    assert (done.returncode, done.stderr) == (0, b"")


def test_serving_on_the_standard_streams_imports_nothing_of_http(db: str) -> None:
    code = (
        "import atexit, os, sys\n"
        "banned = ('mcp', 'mcp_types', 'starlette', 'uvicorn', 'asyncio', 'pydantic', 'ssl', 'mimir.server.http',"
        " 'mimir.server.auth')\n"
        "end = os._exit\n"
        "def leave(status):\n"
        "    print(sorted(set(banned) & set(sys.modules)), file=sys.stderr)\n"
        "    end(status)\n"
        "os._exit = leave\n"
        f"from mimir.cli.serve import serve; serve(['--db', {db!r}, '--embedding', 'off'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=wire(request(1, "initialize")) + wire(request(2, "tools/list")) + wire(remember(3, "k")),
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert (len(done.stdout.splitlines()), done.stderr.split()) == (3, [b"[]"])


# TLS


def test_https_is_served_with_a_certificate(serve: Serve, tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    web = serve("--tls-cert", certificate, "--tls-key", key)
    assert web.address == f"mimir: serving https://127.0.0.1:{web.port}/mcp"
    with httpx2.Client(verify=trusting(certificate)) as client:
        reply = client.post(f"https://127.0.0.1:{web.port}/message", json=PING)
    assert reply.json()["result"] == {}


def test_a_key_with_a_password_is_refused_instead_of_asked_for_on_a_terminal(run: Run, tmp_path: Path) -> None:
    certificate, _ = self_signed(tmp_path)
    locked = tmp_path / "locked.pem"
    locked.write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"password"),
        )
    )
    done = run(b"", "--transport", "http", "--tls-cert", certificate, "--tls-key", str(locked))
    assert done.returncode == 2
    assert "locked with a password" in done.stderr.decode()


def self_signed(folder: Path) -> tuple[str, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(certificate.public_bytes(pem))
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(private)
    return str(folder / "cert.pem"), str(folder / "key.pem")
