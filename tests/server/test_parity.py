"""The same requests over every front, in both eras, get the same replies, and these fit the schema of the revision."""

from __future__ import annotations

import json
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp_types import JSONRPCError
from mcp_types.methods import validate_server_result

from mimir import Memory
from mimir.config import load_settings
from mimir.server.dispatch import Dispatcher
from mimir.server.message import LEGACY_VERSIONS, MODERN_VERSIONS, Request, read_message
from tests.server.client import MODERN_META, SERVE, Client, call, request, wire
from tests.server.web import StreamClient, WebServer, free_port

LEGACY, MODERN = "2025-11-25", "2026-07-28"

Ask = Callable[[dict[str, Any]], dict[str, Any]]
Front = Callable[[str, str], AbstractContextManager[Ask]]

NAMED = {"type": "ref/resource", "uri": "mimir://entity/{category}/{key}"}

REQUESTS = [
    request(1, "tools/list"),
    request(2, "resources/list"),
    request(3, "resources/templates/list"),
    request(4, "prompts/list"),
    call("five", "mimir_recall", query="deploy tuesdays", reinforce=False),
    call(6, "mimir_recall", query="größe 漢字 🜂", limit="3", reinforce="false"),
    call(7, "mimir_get_entity", category="decision", key="deployment"),
    call(8, "mimir_get_entity", category="decision", key="no-such"),
    call(
        9, "mimir_remember", category="note", key="new", body_json='{"content": "line\\nbreak\\u2028 and \\"quotes\\""}'
    ),
    call(10, "mimir_remember", category="note"),
    call(11, "mimir_remember", category="note", key="k", body_json="{", colour="ignored"),
    call(12, "mimir_state_set", key="s", value_json='{"deep": [null, 1.5, true, {}]}'),
    call(13, "mimir_state_get", key="s"),
    call(14, "mimir_history", category="decision", key="deployment"),
    call(15, "mimir_stats"),
    call(16, "perseus_vault_state_get", key="s"),
    call(17, "mimir_forget", category="decision", key="deployment", reason=None),
    call(18, "no_such_tool"),
    request(19, "tools/call", name="mimir_state_list", arguments=None),
    request(20, "no/such/method"),
    request(22, "resources/read", uri="mimir://context"),
    request(23, "resources/read", uri="mimir://always-on"),
    request(24, "resources/read", uri="mimir://stats"),
    request(25, "resources/read", uri="mimir://schema"),
    request(26, "resources/read", uri="mimir://timeline/today"),
    request(27, "resources/read", uri="mimir://entity/note/gr%C3%B6%C3%9Fe"),
    request(28, "resources/read", uri="mimir://entity/note/none"),
    request(29, "prompts/get", name="recall_topic", arguments={"topic": "größe"}),
    request(30, "prompts/get", name="daily_review"),
    request(31, "prompts/get", name="recall_topic"),
    request(32, "prompts/get", name="no_such_prompt"),
    request(33, "completion/complete", ref=NAMED, argument={"name": "category", "value": ""}),
    request(
        34,
        "completion/complete",
        ref=NAMED,
        argument={"name": "key", "value": "gr"},
        context={"arguments": {"category": "note"}},
    ),
    request(35, "completion/complete", ref=NAMED, argument={"name": "colour", "value": ""}),
    call(36, "mimir_recall", query=["no", "text"]),
]

PROTOCOL_FAULTS = {18, 20, 28, 31, 32, 35}
"""The requests that break the protocol or ask for what is not there; every other failure is one of a tool."""

ABOUT_CLIENT = {"capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
ONLY_LEGACY = [
    request("first", "initialize", protocolVersion="2025-11-25", **ABOUT_CLIENT),
    request(21, "ping"),
]
ONLY_MODERN = [request("discover", "server/discover")]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("filled") / "m.db"
    with Memory.open(str(path), embedding="off") as memory:
        memory.remember("decision", "deployment", {"content": "We deploy on Mondays."}, tags=["ops"])
        memory.remember("decision", "deployment", {"content": "We deploy on Tuesdays."}, tags=["ops"])
        memory.remember("note", "größe", {"content": "Größe der 漢字 und 🜂", "nothing": None})
    return path


@contextmanager
def in_process(db: str, _era: str) -> Iterator[Ask]:
    dispatcher = Dispatcher(load_settings(db=db, embedding="off"))

    def ask(message: dict[str, Any]) -> dict[str, Any]:
        read = read_message(wire(message))
        assert isinstance(read, Request)
        reply: dict[str, Any] = json.loads(dispatcher.answer(read))
        return reply

    yield ask
    dispatcher.close()


@contextmanager
def stdio(db: str, _era: str) -> Iterator[Ask]:
    with closing(Client((*SERVE, "--db", db, "--embedding", "off"))) as client:
        yield client.ask


@contextmanager
def served(db: str) -> Iterator[WebServer]:
    port = free_port()
    settings = ("--db", db, "--embedding", "off", "--transport", "http", "--port", str(port))
    with closing(WebServer([*SERVE, *settings], port)) as web:
        yield web


@contextmanager
def streamable_http(db: str, era: str) -> Iterator[Ask]:
    with served(db) as web:
        session = web.open_session(era) if era == LEGACY else ""
        yield lambda message: web.ask(message, session)


@contextmanager
def single_message(db: str, _era: str) -> Iterator[Ask]:
    with served(db) as web:
        yield lambda message: web.post(message).message()


@contextmanager
def stream(db: str, _era: str) -> Iterator[Ask]:
    with served(db) as web, closing(StreamClient(web)) as client:
        yield client.ask


def replies(front: Front, filled: Path, folder: Path, era: str) -> list[dict[str, Any]]:
    db = folder / f"{secrets.token_hex(8)}.db"
    shutil.copy(filled, db)
    asked = [*REQUESTS, *(ONLY_MODERN if era == MODERN else ONLY_LEGACY)]
    if era == MODERN:
        asked = [{**one, "params": {**one["params"], "_meta": MODERN_META}} for one in asked]
    with front(str(db), era) as ask:
        return [masked(ask(one)) for one in asked]


def masked(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """Return a reply without what differs between two runs: times, what fades, new identifiers, the file."""
    if isinstance(value, dict):
        return {name: masked(inner) for name, inner in value.items() if not is_fleeting(name, inner)}
    if isinstance(value, list):
        return [masked(inner) for inner in value]
    if isinstance(value, str):
        if value.startswith("{"):
            return json.dumps(masked(json.loads(value)), ensure_ascii=False)
        return re.sub(r"mem-[0-9a-f]+", "mem-0", value)
    return value


def is_fleeting(name: str, value: object) -> bool:
    fading = ("score", "decay_score", "avg_decay_score", "db_path", "db_size_bytes", "age")
    return not isinstance(value, dict) and (name.endswith("_unix_ms") or name in fading)


@pytest.mark.parametrize("era", [LEGACY, MODERN])
@pytest.mark.parametrize("front", [stdio, streamable_http, single_message, stream])
def test_every_front_gives_the_replies_of_the_dispatcher(front: Front, era: str, filled: Path, tmp_path: Path) -> None:
    expected = replies(in_process, filled, tmp_path, era)
    for given, wanted in zip(replies(front, filled, tmp_path, era), expected, strict=True):
        assert given == wanted


@pytest.mark.parametrize("revision", [*LEGACY_VERSIONS, *MODERN_VERSIONS])
def test_every_result_fits_the_schema_of_its_revision(revision: str, filled: Path, tmp_path: Path) -> None:
    asked = [*REQUESTS, *(ONLY_MODERN if revision in MODERN_VERSIONS else ONLY_LEGACY)]
    given = replies(in_process, filled, tmp_path, revision)
    for one, reply in zip(asked, given, strict=True):
        if "result" in reply:
            validate_server_result(one["method"], revision, reply["result"])
        else:
            JSONRPCError.model_validate(reply)
    assert {reply["id"] for reply in given if "error" in reply} == PROTOCOL_FAULTS
