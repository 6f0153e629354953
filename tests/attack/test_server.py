"""Anything at all on standard input of a running server: each request is answered once, and it never dies or prints."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimir.catalogue import load_catalogue
from mimir.crypto import write_key_file
from tests.attack.effort import effort
from tests.server.client import MODERN_META, PATIENCE_S, SERVE, Client, call, request, wire

CATALOGUE: Final = load_catalogue()

# What would write outside the test's own folder, ask the network, or take long on purpose.
NAMED_PATHS: Final = ("vault_dir", "path", "from_path")

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 70), 1 << 70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=30)
    | st.sampled_from(
        [
            "",
            " ",
            "\0",
            "*",
            '"',
            "'",
            "NEAR(a b)",
            "a AND",
            "-",
            "^",
            "col:x",
            "%",
            "_",
            "\ud800",
            "\u202e",
            "-1",
            "1e999",
        ]
    )
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
ids = st.text(max_size=8) | st.integers(-(1 << 60), 1 << 60) | st.floats(allow_nan=False, allow_infinity=False)


def fitting(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Return values of a parameter's schema, its bounds and words included."""
    kind = schema["type"]
    if "enum" in schema:
        return st.sampled_from(schema["enum"]) | st.text(max_size=8)
    least, most = schema.get("minimum"), schema.get("maximum")
    if kind == "integer":
        least, most = -(1 << 63) if least is None else least, (1 << 63) - 1 if most is None else most
        return st.integers(least, most) | st.sampled_from([0, 1, least, most])
    if kind == "number":
        return st.floats(least, most, allow_nan=False, allow_infinity=False) | st.sampled_from([0, 1])
    return {
        "string": st.text(max_size=40) | st.sampled_from(["c", "k", '{"content": "x"}', "mem-1"]),
        "boolean": st.booleans(),
        "array": st.lists(st.text(max_size=10), max_size=4),
        "object": st.dictionaries(st.text(max_size=8), scalars, max_size=3),
    }[kind]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """Run one server through all tests of this module; at its end it must have printed nothing and end well."""
    folder = tmp_path_factory.mktemp("attacked")
    (folder / "home").mkdir()
    client = Client(
        (*SERVE, "--db", str(folder / "memory.db"), "--embedding", "off", "--durability", "normal"),
        HOME=str(folder / "home"),
    )
    client.use("mimir_remember", category="c", key="k", body_json={"content": "We chose SQLite."})
    yield client
    assert client.end() == []
    client.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("paths")


def answers(server: Client, data: bytes) -> list[dict[str, Any]]:
    """Send bytes and a ping behind them, and return the replies that came before the answer to the ping."""
    server.send_bytes(data + b"\n" + wire(call("the last", "mimir_health")))
    replies: list[dict[str, Any]] = []
    while (reply := server.receive()).get("id") != "the last":
        replies.append(reply)
    assert reply["result"]["structuredContent"]["status"] == "healthy"
    return replies


def check(reply: dict[str, Any]) -> None:
    assert reply["jsonrpc"] == "2.0"
    assert ("result" in reply) != ("error" in reply)
    assert "Traceback" not in json.dumps(reply)
    if "error" in reply:
        assert reply["error"]["code"] != -32603, reply
    elif reply["result"].get("isError"):
        assert reply["result"]["structuredContent"]["code"] != "internal", reply


@given(data=st.binary(max_size=300))
@effort(60)
def test_any_bytes_are_answered_line_by_line(server: Client, data: bytes) -> None:
    replies = answers(server, data)
    assert len(replies) <= sum(bool(line.strip()) for line in data.split(b"\n"))
    for reply in replies:
        check(reply)
        assert reply["error"]["code"] in (-32700, -32600)


@given(message=values)
@effort(60)
def test_any_json_is_answered_at_most_once(server: Client, message: object) -> None:
    replies = answers(server, json.dumps(message).encode())
    assert len(replies) == 1
    check(replies[0])


@given(
    message=st.fixed_dictionaries(
        {},
        optional={
            "jsonrpc": st.just("2.0") | values,
            "id": ids | values,
            "method": st.sampled_from(
                ["initialize", "ping", "tools/list", "tools/call", "server/discover", "resources/list", "prompts/list"]
            )
            | st.text(max_size=20),
            "params": st.fixed_dictionaries(
                {},
                optional={
                    "name": st.sampled_from([entry["tool"]["name"] for entry in CATALOGUE.values()]) | values,
                    "arguments": values,
                    "_meta": st.just(MODERN_META) | values,
                    "protocolVersion": st.text(max_size=12) | values,
                    "cursor": values,
                },
            )
            | values,
        },
    )
)
@effort(60)
def test_a_message_of_any_shape_is_answered_once_if_it_wants_an_answer(server: Client, message: dict[str, Any]) -> None:
    replies = answers(server, json.dumps(message).encode())
    for reply in replies:
        check(reply)
    is_request = message.get("jsonrpc") == "2.0" and isinstance(message.get("method"), str) and "id" in message
    number = message.get("id")
    if is_request and isinstance(number, (str, int, float)) and not isinstance(number, bool):
        assert [reply["id"] for reply in replies] == [number]
    assert len(replies) <= 1


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_tool_answers_any_arguments_with_a_result_or_a_reason(server: Client, folder: Path, name: str) -> None:
    properties = CATALOGUE[name]["tool"]["inputSchema"]["properties"]
    required = CATALOGUE[name]["tool"]["inputSchema"].get("required", ())

    def parameter(word: str) -> st.SearchStrategy[Any]:
        if word in NAMED_PATHS:
            return st.sampled_from(["a", "a/b", "./c", "x.txt"]).map(lambda part: str(folder / part))
        return fitting(properties[word])

    right = st.fixed_dictionaries(
        {word: parameter(word) for word in required},
        optional={word: parameter(word) for word in properties if word not in required},
    )
    wrong = st.fixed_dictionaries(
        {word: parameter(word) for word in properties if word in NAMED_PATHS},
        optional={word: values for word in properties if word not in NAMED_PATHS} | {"unknown": values},
    )

    @given(arguments=right | wrong, modern=st.booleans())
    @effort(12)
    def attack(arguments: dict[str, Any], modern: bool) -> None:
        params = {"name": f"mimir_{name}", "arguments": arguments, **({"_meta": MODERN_META} if modern else {})}
        # Long calls are answered beside others, so that the answer to a ping says nothing of theirs.
        reply = server.ask(request("asked", "tools/call", **params))
        check(reply)
        assert answers(server, b"") == []
        if "result" in reply:
            assert json.loads(reply["result"]["content"][0]["text"]) == reply["result"]["structuredContent"]

    attack()


WATCHED: Final = """
import sys

def tell(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto", "socket.bind"):
        print(event, file=sys.stderr)

sys.addaudithook(tell)
from mimir.cli.serve import serve
sys.exit(serve(sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("asked", [False, True], ids=["by default", "with an endpoint"])
def test_nothing_is_sent_anywhere_unless_an_endpoint_is_set(tmp_path: Path, *, asked: bool) -> None:
    """With one, the same watch sees it asked, or it would prove nothing."""
    messages = [
        call(1, "mimir_remember", category="c", key="k", body_json={"content": "The kettle is green."}),
        call(2, "mimir_recall", query="colour of the kettle", mode="hybrid"),
        call(3, "mimir_context", query="kettle"),
        call(4, "mimir_ask", query="Which colour is the kettle?"),
        call(5, "mimir_vault_export", vault_dir=str(tmp_path / "vault")),
        call(6, "mimir_maintenance", all=True),
        call(7, "mimir_health"),
    ]
    endpoint = ("--llm-endpoint", "http://127.0.0.1:9/api/generate") if asked else ()
    served = subprocess.run(
        [sys.executable, "-c", WATCHED, "--db", str(tmp_path / "memory.db"), *endpoint],
        input=b"".join(map(wire, messages)),
        capture_output=True,
        check=True,
        timeout=PATIENCE_S,
    )
    replies = {reply["id"]: reply["result"] for reply in map(json.loads, served.stdout.splitlines())}
    assert len(replies) == len(messages)
    assert "dense" in json.dumps(replies[2]["structuredContent"]["arms"])
    assert set(served.stderr.decode().split()) == ({"socket.getaddrinfo", "socket.connect"} if asked else set())


def test_no_log_holds_a_key_or_what_was_remembered(tmp_path: Path) -> None:
    key, log = tmp_path / "key", tmp_path / "log"
    write_key_file(str(key))
    said = "wombat secret" + "".join(map(chr, range(97, 120)))
    messages = [
        call(
            1, "mimir_remember", category="c", key="k", body_json={"content": said, "api_key": "Xk9mQ2ppL7vB3nR8tW4z"}
        ),
        call(2, "mimir_recall", query=said),
        call(3, "mimir_remember", category="c", key="", body_json={"content": said}),
        call(4, "mimir_ask", query=said),
    ]
    flags = ("--encryption-key", str(key), "--log-level", "debug", "--log-file", str(log), "--embedding", "off")
    served = subprocess.run(
        [*SERVE, "--db", str(tmp_path / "memory.db"), *flags],
        input=b"".join(map(wire, messages)),
        capture_output=True,
        check=True,
        timeout=PATIENCE_S,
    )
    assert len(served.stdout.splitlines()) == len(messages)
    written = log.read_text(encoding="utf-8") + served.stderr.decode()
    assert "mimir_recall" in written
    for secret in (said, "Xk9mQ2ppL7vB3nR8tW4z", key.read_text(encoding="ascii")):
        assert secret not in written
