"""A cancelled call ends at once, inside a statement and while it waits for another process; the server goes on."""

from __future__ import annotations

import json
import socket
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import apsw
import pytest

from mimir.progress import Cancelled, cancelled_when
from mimir.server.http import READ_THREADS
from mimir.store.sqlite import SqliteStore
from tests.server.client import MODERN_META, PATIENCE_S, Client, Start, call, remember, request
from tests.server.endless import ENDLESS
from tests.server.web import ACCEPT, JSON, StreamClient, WebServer, free_port

ENDLESS_SERVER = (sys.executable, "-m", "tests.server.endless")


def endless(number: object, **meta: object) -> dict[str, Any]:
    """Return a call that runs until it is cancelled and tells once that it runs."""
    return request(
        number, "tools/call", name="mimir_health", arguments={}, _meta={**meta, "progressToken": f"p{number}"}
    )


def cancelled(number: object) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": number}}


def test_a_statement_that_nobody_waits_for_is_broken_off_and_the_store_goes_on(tmp_path: Path) -> None:
    store = SqliteStore(str(tmp_path / "m.db"))
    asked = iter(range(5))  # how often the statement may still go on
    with pytest.raises(Cancelled), cancelled_when(lambda: next(asked, None) is None):
        store.database.execute(ENDLESS).fetchall()
    with store.writing():
        store.database.execute("SELECT 1").fetchall()
    store.close()


def test_nothing_is_written_once_nobody_waits(tmp_path: Path) -> None:
    store = SqliteStore(str(tmp_path / "m.db"))
    entered = False
    with pytest.raises(Cancelled), cancelled_when(lambda: True), store.writing():
        entered = True
    assert not entered
    store.close()


def test_over_stdio_a_long_statement_is_broken_off(db: str) -> None:
    with closing(Client((*ENDLESS_SERVER, "--db", db, "--embedding", "off"))) as client:
        for number in range(3):
            client.send(endless(number))
            running = client.receive()
            assert running["method"] == "notifications/progress"
            assert running["params"] == {"progressToken": f"p{number}", "progress": 1}
            client.send(cancelled(number))
        assert client.use("mimir_remember", category="c", key="k", body_json="{}")["action"] == "created"
        assert client.end() == []


def test_a_call_that_waits_for_another_process_can_be_cancelled(start: Start, db: str) -> None:
    server = start("--embedding", "off")
    server.use("mimir_health")
    other = apsw.Connection(db)
    other.execute("BEGIN IMMEDIATE")
    server.send(remember(1, "never"), cancelled(1))
    assert server.use("mimir_recall", query="", reinforce=False)["items"] == []  # while the lock is still held
    other.close()
    assert server.use("mimir_recall", query="", reinforce=False)["items"] == []


def test_a_call_that_waits_for_a_language_model_can_be_cancelled(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(PATIENCE_S)
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        server = start("--embedding", "off", "--llm-endpoint", endpoint, "--llm-timeout-secs", "600")
        server.ask(remember(1, "tides", "The tide is out at noon."))
        server.send(call(2, "mimir_ask", query="When is the tide out?"))
        asked, _ = silent.accept()
        with asked:
            server.send(cancelled(2))
            # It is answered on the thread on which the other waited.
            assert server.use("mimir_decay", dry_run=True)["entities_checked"] == 1


@pytest.fixture
def endless_web(db: str) -> Iterator[WebServer]:
    port = free_port()
    settings = ("--db", db, "--embedding", "off", "--transport", "http", "--port", str(port))
    with closing(WebServer([*ENDLESS_SERVER, *settings], port)) as web:
        yield web


def wait_for_progress(response: HTTPResponse) -> None:
    while line := response.readline():
        if b"notifications/progress" in line:
            return
    raise AssertionError("the stream has ended")


def assert_every_thread_is_free(web: WebServer) -> None:
    """See that nothing that was given up still runs on a thread of the server that reads."""
    with ThreadPoolExecutor(READ_THREADS) as asking:
        replies = list(asking.map(lambda n: web.post(call(n, "mimir_state_get", key="none")), range(READ_THREADS)))
    assert {reply.message()["result"]["structuredContent"]["found"] for reply in replies} == {False}


@pytest.mark.parametrize("era", ["handshake", "stateless"])
def test_over_http_a_long_statement_is_broken_off_and_its_thread_is_free_again(
    endless_web: WebServer, era: str
) -> None:
    session = endless_web.open_session() if era == "handshake" else ""
    headers = {"Content-Type": JSON, "Accept": ACCEPT}
    headers |= (
        {"Mcp-Session-Id": session}
        if session
        else {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "mimir_health"}
    )
    for number in range(READ_THREADS + 1):
        message = endless(number) if session else endless(number, **MODERN_META)
        with closing(endless_web.connect()) as connection:
            connection.request("POST", "/mcp", json.dumps(message), headers)
            wait_for_progress(connection.getresponse())
            if session:
                endless_web.post(cancelled(number), "/mcp", Mcp_Session_Id=session)
    assert_every_thread_is_free(endless_web)


def test_over_sse_a_long_statement_is_broken_off(endless_web: WebServer) -> None:
    with closing(StreamClient(endless_web)) as client:
        for number in range(READ_THREADS + 1):
            assert endless_web.post(endless(number), client.endpoint).status == 202
            assert "notifications/progress" in client.next_event("message")
            assert endless_web.post(cancelled(number), client.endpoint).status == 202
        assert client.ask(call(1, "mimir_state_get", key="none"))["result"]["structuredContent"]["found"] is False


def test_a_single_message_is_given_up_when_its_client_goes_away(endless_web: WebServer) -> None:
    for number in range(READ_THREADS + 1):
        with closing(endless_web.connect()) as connection:
            connection.request("POST", "/message", json.dumps(endless(number)), {"Content-Type": JSON})
            # An answer on a later connection tells that the request has been read.
            assert endless_web.is_alive()
    assert_every_thread_is_free(endless_web)


def test_what_runs_for_a_stream_or_a_session_ends_with_it(endless_web: WebServer) -> None:
    for number in range(READ_THREADS // 2 + 1):
        with closing(StreamClient(endless_web)) as client:
            assert endless_web.post(endless(number), client.endpoint).status == 202
            client.next_event("message")
    for number in range(READ_THREADS // 2 + 1):
        session = endless_web.open_session()
        headers = {"Content-Type": JSON, "Accept": ACCEPT, "Mcp-Session-Id": session}
        with closing(endless_web.connect()) as connection:
            connection.request("POST", "/mcp", json.dumps(endless(number)), headers)
            wait_for_progress(connection.getresponse())
            assert endless_web.send("DELETE", "/mcp", headers={"Mcp-Session-Id": session}).status == 200
    assert_every_thread_is_free(endless_web)


def test_the_work_of_other_threads_goes_on(tmp_path: Path) -> None:
    store = SqliteStore(str(tmp_path / "m.db"))
    entered: list[bool] = []

    def write() -> None:
        with store.writing():
            entered.append(True)

    with cancelled_when(lambda: True):
        other = threading.Thread(target=write)
        other.start()
        other.join()
    assert entered == [True]
    store.close()
