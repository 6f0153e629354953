"""A session: the same calls, results and failures, whether the store is in this process or behind a server."""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mimir import InvalidInput, Memory, NotFound, Unauthorized, Unavailable
from mimir.adapters.session import (
    HttpSession,
    LocalSession,
    Session,
    StdioSession,
    entity_named,
    every_item,
    open_session,
)
from tests.server.client import SERVE
from tests.server.web import Serve, free_port

COMMAND = SERVE[:-1]


def remember(session: Session, key: str, text: str = "x", **arguments: object) -> dict[str, object]:
    return session.call("remember", category="note", key=key, body_json={"content": text}, **arguments)


def process_of(session: StdioSession) -> int:
    assert session._server is not None  # noqa: SLF001 - the process is what these tests are about
    return session._server.process.pid  # noqa: SLF001


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_what_is_remembered_through_a_session_is_recalled_through_it(session: Session) -> None:
    done = remember(session, "colour", "The sky is blue over Oslo.")
    assert done["action"] == "created"
    (item,) = session.call("recall", query="sky over Oslo")["items"]
    assert (item["id"], item["content"]) == (done["id"], "The sky is blue over Oslo.")


def test_an_argument_of_none_counts_as_not_given(session: Session) -> None:
    remember(session, "a", tags=["kept"])
    remember(session, "a", "y", tags=None)
    (item,) = session.call("recall", query="", category=None)["items"]
    assert item["tags"] == ["kept"] or item["tags"] == ("kept",)


def test_a_failure_arrives_as_its_own_exception_with_its_advice(session: Session) -> None:
    with pytest.raises(NotFound, match="mem-none") as caught:
        session.call("get_entity", id="mem-none")
    assert caught.value.hint
    with pytest.raises(InvalidInput, match="'category' is missing"):
        session.call("remember", key="a")


def test_an_operation_that_does_not_exist_is_refused(session: Session) -> None:
    with pytest.raises(InvalidInput, match="fly"):
        session.call("fly")


def test_an_argument_that_is_no_json_is_refused(session: Session) -> None:
    with pytest.raises(InvalidInput):
        session.call("remember", category="a", key="b", body_json=object())


def test_threads_share_a_session_and_each_hears_its_own_reply(session: Session) -> None:
    with ThreadPoolExecutor(16) as pool:
        done = list(pool.map(lambda number: remember(session, f"key {number}"), range(64)))
    assert [one["key"] for one in done] == [f"key {number}" for number in range(64)]
    assert session.call("stats")["total_entities"] == 64


def test_every_item_walks_over_all_pages(session: Session) -> None:
    for number in range(7):
        remember(session, f"key {number}")
    assert {item["key"] for item in every_item(session, 3, query="", category="note")} == {
        f"key {number}" for number in range(7)
    }


def test_an_entity_is_found_by_its_name_as_long_as_it_is_live(session: Session) -> None:
    remember(session, " odd key ", "here")
    found = entity_named(session, "note", " odd key ", "")
    assert found is not None
    assert found["body_json"] == '{"content":"here"}'
    session.call("forget", category="note", key=" odd key ")
    assert entity_named(session, "note", " odd key ", "") is None
    assert entity_named(session, "note", "never", "") is None


def test_long_texts_come_in_full_whatever_one_reply_holds(session: Session) -> None:
    texts = {f"key {number}": f"{number}" + "long \u96ea text " * 20_000 for number in range(3)}
    for key, text in texts.items():
        remember(session, key, text)
    one = entity_named(session, "note", "key 1", "")
    assert one is not None
    assert json.loads(one["body_json"])["content"] == texts["key 1"]
    found = {item["key"]: json.loads(item["body_json"])["content"] for item in every_item(session, query="")}
    assert found == texts


def test_closing_twice_is_harmless(session: Session) -> None:
    session.close()
    session.close()


def test_a_session_has_one_form() -> None:
    with pytest.raises(InvalidInput, match="command and url"):
        open_session(command=COMMAND, url="http://127.0.0.1:1")


def test_a_setting_that_does_not_exist_is_refused_before_a_server_is_started(db: str) -> None:
    with pytest.raises(InvalidInput, match="'colour'"):
        open_session(db, command=COMMAND, colour="blue")


def test_a_session_that_was_handed_in_stays_open(session: Session) -> None:
    borrowed = open_session(session=session)
    remember(borrowed, "a")
    borrowed.close()
    assert session.call("stats")["total_entities"] == 1


def test_a_memory_that_was_handed_in_stays_open(db: str) -> None:
    with Memory.open(db, embedding="off") as memory:
        session = open_session(memory=memory)
        assert isinstance(session, LocalSession)
        remember(session, "a")
        session.close()
        assert memory.stats().total_entities == 1


def test_a_server_is_started_with_the_first_call_and_ends_with_the_session(db: str) -> None:
    session = StdioSession([*COMMAND, "serve", "--db", db, "--embedding", "off"])
    assert session._server is None  # noqa: SLF001 - nothing runs before it is needed
    remember(session, "a")
    process = process_of(session)
    session.close()
    assert not is_alive(process)
    with pytest.raises(Unavailable, match="closed"):
        remember(session, "b")


def test_a_session_that_is_forgotten_leaves_no_server_behind(db: str) -> None:
    session = StdioSession([*COMMAND, "serve", "--db", db, "--embedding", "off"])
    remember(session, "a")
    process = process_of(session)
    del session
    gc.collect()
    assert not is_alive(process)


def test_a_server_that_died_is_started_anew_with_the_next_call(db: str) -> None:
    session = StdioSession([*COMMAND, "serve", "--db", db, "--embedding", "off"])
    remember(session, "a")
    process = process_of(session)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    assert session.call("stats")["total_entities"] == 1
    assert process_of(session) != process
    session.close()


def test_what_a_server_said_before_it_ended_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "a folder"
    folder.mkdir()
    session = StdioSession([*COMMAND, "serve", "--db", str(tmp_path / "m.db"), "--encryption-key", str(folder)])
    with pytest.raises(Unavailable, match="a folder"):
        session.call("stats")
    session.close()


def test_a_command_that_does_not_exist_is_named() -> None:
    with pytest.raises(Unavailable, match="no-such-command"):
        StdioSession(["no-such-command"]).call("stats")


def test_a_server_that_does_not_answer_in_time_is_given_up() -> None:
    session = StdioSession([sys.executable, "-c", "import sys; sys.stdin.read()"], start_timeout_s=0.2)
    with pytest.raises(Unavailable, match=r"within 0\.2 s"):
        session.call("stats")
    session.close()


def test_the_wrong_token_is_told_from_a_server_that_is_not_there(serve: Serve) -> None:
    server = serve("--mcp-token", "right")
    assert remember(HttpSession(server.url + "/mcp", "right"), "a")["action"] == "created"
    with pytest.raises(Unauthorized, match="token"):
        remember(HttpSession(server.url, "wrong"), "b")
    with pytest.raises(Unavailable):
        HttpSession(f"http://127.0.0.1:{free_port()}").call("stats")


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidInput, match="HTTP address"):
        open_session(url="127.0.0.1:8767")
