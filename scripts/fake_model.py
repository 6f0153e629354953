"""A language model's server on this machine that asks for one tool and then says that it is done.

It speaks as much of two protocols as coding agents need: Anthropic's messages and OpenAI's responses, both streamed.
What the agents sent is kept, which shows what reaches a model and in which form.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, TypeAlias

Json: TypeAlias = Any
Events: TypeAlias = Iterator[tuple[str, dict[str, Json]]]

_USAGE: Final = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
_DONE: Final = "Done."


class FakeModel(ThreadingHTTPServer):
    """The server; ``results`` are what agents returned from the tool it asked for."""

    daemon_threads = True

    def __init__(self, tool: str, arguments: dict[str, Json]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.tool = tool
        self.arguments = arguments
        self.results: list[str] = []
        self.requests: list[tuple[str, Json]] = []

    @property
    def address(self) -> str:
        """Return where it is reached."""
        return f"http://127.0.0.1:{self.server_address[1]}"


@contextmanager
def fake_model(tool: str, arguments: dict[str, Json]) -> Iterator[FakeModel]:
    """Serve a model that asks for ``tool`` until the block ends."""
    with FakeModel(tool, arguments) as model:
        thread = threading.Thread(target=model.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield model
        finally:
            model.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeModel  # type: ignore[mutable-override]  # the base class declares any server

    def do_HEAD(self) -> None:
        self._send("application/json", b"")

    def do_GET(self) -> None:
        self._send("application/json", json.dumps({"data": [], "models": []}).encode())

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        path = self.path.partition("?")[0]
        self.server.requests.append((path, asked))
        if path.endswith("/count_tokens"):
            self._send("application/json", b'{"input_tokens": 1}')
            return
        events = _responses(self.server, asked) if path.endswith("/responses") else _messages(self.server, asked)
        stream = "".join(f"event: {name}\ndata: {json.dumps({'type': name, **data})}\n\n" for name, data in events)
        self._send("text/event-stream", stream.encode())

    def _send(self, kind: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""


def _messages(model: FakeModel, asked: Json) -> Events:
    """Yield an answer in Anthropic's protocol."""
    last = asked["messages"][-1]["content"]
    results = [block for block in last if block["type"] == "tool_result"] if isinstance(last, list) else []
    model.results += [json.dumps(block.get("content"), ensure_ascii=False) for block in results]
    asks = bool(asked.get("tools")) and not results
    start = {"id": "m", "type": "message", "role": "assistant", "model": asked["model"], "content": []}
    yield "message_start", {"message": {**start, "stop_reason": None, "stop_sequence": None, "usage": _USAGE}}
    if asks:
        block = {"type": "tool_use", "id": "call_1", "name": f"mcp__mimir__{model.tool}", "input": {}}
        delta = {"type": "input_json_delta", "partial_json": json.dumps(model.arguments)}
    else:
        block, delta = {"type": "text", "text": ""}, {"type": "text_delta", "text": _DONE}
    yield "content_block_start", {"index": 0, "content_block": block}
    yield "content_block_delta", {"index": 0, "delta": delta}
    yield "content_block_stop", {"index": 0}
    reason = "tool_use" if asks else "end_turn"
    yield "message_delta", {"delta": {"stop_reason": reason, "stop_sequence": None}, "usage": _USAGE}
    yield "message_stop", {}


def _responses(model: FakeModel, asked: Json) -> Events:
    """Yield an answer in OpenAI's protocol."""
    results = [item for item in asked["input"] if item.get("type") == "function_call_output"]
    model.results += [json.dumps(item["output"], ensure_ascii=False) for item in results]
    call = None if results else _function_call(model, asked.get("tools", ()))
    text = {"type": "output_text", "text": _DONE, "annotations": []}
    item = call or {"type": "message", "role": "assistant", "id": "m", "content": [text]}
    yield "response.created", {"response": {"id": "r"}}
    yield "response.output_item.done", {"output_index": 0, "item": item}
    yield "response.completed", {"response": {"id": "r", "usage": _USAGE}}


def _function_call(model: FakeModel, tools: Json) -> dict[str, Json] | None:
    """Return a call of the tool as it is offered, alone or in a namespace; None when it is not."""
    offered: list[tuple[Json, dict[str, str]]] = [(tool, {}) for tool in tools]
    for space in tools:
        offered += [(tool, {"namespace": space["name"]}) for tool in space.get("tools", ())]
    for tool, namespace in offered:
        if tool.get("name") in (model.tool, f"mcp__mimir__{model.tool}"):
            call = {"type": "function_call", "call_id": "call_1", "name": tool["name"], **namespace}
            return {**call, "arguments": json.dumps(model.arguments)}
    return None
