"""Input as it should never be: each is refused with a reason, nothing is lost, and the server goes on."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimir.server.stdio import MAXIMUM_LINE_BYTES, Lines
from tests.server.client import Client, Run, call, remember, request, wire

HALF_A_CALL = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"mimir_health","arguments":'

NOT_JSON = {
    "a word": b"hello",
    "cut short": b'{"jsonrpc":"2.0","id":1,"method":"ping"',
    "a brace too many": b'{"jsonrpc":"2.0","id":1,"method":"ping"}}',
    "single quotes": b"{'jsonrpc':'2.0'}",
    "a raw tab": b'{"jsonrpc":"2.0","id":1,"method":"pi\tng"}',
    "no UTF-8": b'{"jsonrpc":"2.0","id":1,"method":"ping","x":"\xff"}',
    "an encoded surrogate": b'{"jsonrpc":"2.0","id":1,"method":"\xed\xa0\x80"}',
    "a NUL": b"\x00",
    "half a character": b'"\xc3',
    "NaN": HALF_A_CALL + b"NaN}}",
    "Infinity": HALF_A_CALL + b'{"limit":-Infinity}}}',
    "a number beyond floats": HALF_A_CALL + b'{"limit":1e999}}}',
    "a number of 5,000 digits": HALF_A_CALL + b'{"limit":' + b"9" * 5000 + b"}}}",
    "deep arrays": b"[" * 100_000,
    "deep objects": b'{"a":' * 100_000,
    "a header": b"Content-Length: 40",
}

NO_REQUEST = {
    "an empty batch": b"[]",
    "a batch": b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]',
    "a number": b"1",
    "null": b"null",
    "a string": b'"ping"',
    "an empty object": b"{}",
    "no jsonrpc": b'{"id":1,"method":"ping"}',
    "another jsonrpc": b'{"jsonrpc":"1.0","id":1,"method":"ping"}',
    "jsonrpc as a number": b'{"jsonrpc":2.0,"id":1,"method":"ping"}',
    "no method": b'{"jsonrpc":"2.0","id":1}',
    "a number as method": b'{"jsonrpc":"2.0","id":1,"method":5}',
    "id null": b'{"jsonrpc":"2.0","id":null,"method":"ping"}',
    "id true": b'{"jsonrpc":"2.0","id":true,"method":"ping"}',
    "id object": b'{"jsonrpc":"2.0","id":{"a":1},"method":"ping"}',
    "id array": b'{"jsonrpc":"2.0","id":[1],"method":"ping"}',
}


@pytest.mark.parametrize(
    ("line", "code"),
    [*((line, -32700) for line in NOT_JSON.values()), *((line, -32600) for line in NO_REQUEST.values())],
    ids=[*NOT_JSON, *NO_REQUEST],
)
def test_a_broken_message_is_answered_with_a_reason_and_the_server_goes_on(run: Run, line: bytes, code: int) -> None:
    done = run(line + b"\n" + wire(request("after", "ping")))
    assert (done.returncode, done.stderr) == (0, b"")
    refusal, pong = (json.loads(reply) for reply in done.stdout.splitlines())
    assert refusal["error"]["code"] == code
    assert refusal["error"]["message"]
    assert "result" not in refusal
    assert pong == {"jsonrpc": "2.0", "id": "after", "result": {}}


def test_the_id_of_a_broken_message_is_echoed_where_it_can_be_read(server: Client) -> None:
    server.send_bytes(b"{\n")
    assert server.receive()["id"] is None
    server.send_bytes(b'{"jsonrpc":"1.0","id":"seven","method":"ping"}\n')
    assert server.receive()["id"] == "seven"
    server.send_bytes(b'{"jsonrpc":"2.0","id":[1],"method":"ping"}\n')
    assert server.receive()["id"] is None


def test_blank_lines_carriage_returns_and_a_byte_order_mark_are_tolerated(run: Run) -> None:
    done = run(b"\xef\xbb\xbf" + wire(request(1, "ping")) + b"\n \t\r\n\r\n" + wire(request(2, "ping"))[:-1] + b"\r\n")
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == [1, 2]


def test_a_line_over_the_bound_is_refused_and_what_follows_is_served(server: Client) -> None:
    server.send_bytes(b'{"jsonrpc":"2.0","id":1,"method":"ping","pad":"')
    for _ in range(MAXIMUM_LINE_BYTES // 2**20 + 1):
        server.send_bytes(b"x" * 2**20)
    server.send_bytes(b'"}\n')
    error = server.receive()["error"]
    assert error["code"] == -32600
    assert str(MAXIMUM_LINE_BYTES) in error["message"]
    assert server.ask(request(2, "ping"))["result"] == {}


def test_megabytes_in_one_line_are_stored_and_come_back_whole_page_by_page(server: Client) -> None:
    text = "Zeile mit Umlaut ä und 日本. " * 20_000
    stored = server.use("mimir_remember", category="c", key="k", body_json={"content": text})
    body, more = "", True
    while more:
        page = server.use("mimir_get_entity", id=stored["id"], offset=len(body))
        body += page["body_json"]
        more = f"offset {len(body)} for the next" in page["truncated"]
    assert json.loads(body) == {"content": text}


def test_a_body_over_its_bound_is_a_tool_failure(server: Client) -> None:
    content = server.fail("mimir_remember", category="c", key="k", body_json={"content": "x" * 5 * 2**20})
    assert content["code"] == "invalid_input"
    assert server.use("mimir_stats")["total_entities"] == 0


@pytest.mark.parametrize(
    "text",
    [
        "NUL \0 inside",
        "line\nbreaks\r\nand\ttabs",
        "line separators \u2028 \u2029 \u0085 \u000b \u000c",
        "quotes \" ' ` and \\ backslashes \\u0041",
        "😀 \U0010ffff \ufffe \ufeff",
        "e\u0301 stays decomposed",
        "a* OR (b) NEAR/5 -c col:d ^e",
    ],
)
def test_any_text_comes_back_exactly(server: Client, text: str) -> None:
    stored = server.use("mimir_remember", category="c", key=text.replace("\0", ""), body_json={"content": text})
    body = json.loads(server.use("mimir_get_entity", id=stored["id"])["body_json"])
    assert body == {"content": text}
    assert server.use("mimir_recall", query=text)["items"][0]["content"] == text


def test_no_reader_of_lines_finds_a_line_end_inside_a_reply(run: Run) -> None:
    text = "a\u2028b\u2029c\u0085d\u000be\u000cf\u001cg\u001dh\u001ei\rj\nk"
    done = run(wire(remember(1, "k", text)) + wire(call(2, "mimir_recall", query="")))
    lines = done.stdout.decode().splitlines()
    assert len(lines) == 2
    assert json.loads(lines[1])["result"]["structuredContent"]["items"][0]["content"] == text


@given(
    lines=st.lists(st.binary(max_size=20).map(lambda line: line.replace(b"\n", b"-")), max_size=8),
    rest=st.binary(max_size=20).map(lambda line: line.replace(b"\n", b"-")),
    cuts=st.lists(st.integers(0, 200), max_size=10),
)
def test_lines_are_the_same_however_the_stream_is_cut(lines: list[bytes], rest: bytes, cuts: list[int]) -> None:
    stream = b"".join(line + b"\n" for line in lines) + rest
    places = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    cutter = Lines()
    found: list[bytes | None] = []
    for start, end in pairwise(places):
        if start < end:  # no bytes would be the end of the stream
            found += cutter.cut(stream[start:end])
    found += cutter.cut(b"")
    assert found == [*lines, *([rest] if rest else [])]
