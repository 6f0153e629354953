"""Our HTTP server with the tools, resources and prompts that the public conformance suite asks for by name.

Only what they answer is made up; reading, routing, eras, errors, lists and progress are the server's own. Run it with
the flags of `mimir serve`.
"""

from __future__ import annotations

import base64
import json
import sys
import threading
from collections.abc import Callable
from typing import Any

from mimir.cli.faces import serve_over_http
from mimir.config import load_settings
from mimir.progress import report
from mimir.server.call import PROGRESS_S
from mimir.server.dispatch import Dispatcher
from mimir.server.message import Fault, Request, encode

PNG = base64.b64encode(
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06\x00\x00\x00\x1f\x15\xc4\x89"
    b"\x00\x00\x00\rIDATx\x9cc\xf8\xcf\xc0\xf0\x1f\x00\x05\x00\x01\xff\x89\x99=\x1d\x00\x00\x00\x00IEND\xaeB`\x82"
).decode()
WAV = base64.b64encode(
    b"RIFF\x24\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x40\x1f\x00\x00" + bytes(16)
).decode()
IMAGE = {"type": "image", "data": PNG, "mimeType": "image/png"}
UNDECLARED = -32021
CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def embedded(uri: str, content: str, kind: str = "text/plain") -> dict[str, Any]:
    return {"type": "resource", "resource": {"uri": uri, "mimeType": kind, "text": content}}


def content(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"content": list(blocks)}


def messages(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": block} for block in blocks]}


def contents(uri: str, kind: str, **content: str) -> dict[str, Any]:
    return {"contents": [{"uri": uri, "mimeType": kind, **content}]}


def report_thrice(_: dict[str, Any]) -> dict[str, Any]:
    pause = threading.Event()
    for done in (0, 50, 100):
        report(done, 100)
        # Reports that follow one another faster are left out, as they should be.
        pause.wait(2 * PROGRESS_S)
    return content(text("Reported."))


def need_sampling(params: dict[str, Any]) -> dict[str, Any]:
    if "sampling" in params.get("_meta", {}).get(CAPABILITIES, {}):
        return content(text("Sampling was declared."))
    wanted: dict[str, Any] = {"requiredCapabilities": {"sampling": {}}}
    raise Fault(UNDECLARED, "This needs a client that samples.", data=wanted)


def with_arguments(params: dict[str, Any]) -> dict[str, Any]:
    given = params.get("arguments", {})
    return messages(text(f"arg1={given.get('arg1')!r}, arg2={given.get('arg2')!r}"))


def with_resource(params: dict[str, Any]) -> dict[str, Any]:
    return messages(embedded(params["arguments"]["resourceUri"], "Embedded."), text("Read what is embedded."))


SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}
ANSWERS: dict[tuple[str, str], dict[str, Any] | Callable[[dict[str, Any]], dict[str, Any]]] = {
    ("tools/call", "test_simple_text"): content(text("This is a simple text response for testing.")),
    ("tools/call", "test_image_content"): content(IMAGE),
    ("tools/call", "test_audio_content"): content({"type": "audio", "data": WAV, "mimeType": "audio/wav"}),
    ("tools/call", "test_embedded_resource"): content(embedded("test://embedded-resource", "Embedded.")),
    ("tools/call", "test_multiple_content_types"): content(
        text("Several:"), IMAGE, embedded("test://mixed-content-resource", '{"value":123}', "application/json")
    ),
    ("tools/call", "test_error_handling"): {
        **content(text("This tool intentionally returns an error for testing")),
        "isError": True,
    },
    ("tools/call", "test_tool_with_progress"): report_thrice,
    ("tools/call", "test_missing_capability"): need_sampling,
    ("tools/call", "test_logging_tool"): content(text("Nothing was logged.")),
    ("tools/call", "test_streaming_elicitation"): content(text("Nothing is asked of the client.")),
    ("tools/call", "json_schema_2020_12_tool"): content(text("Its schema is what matters.")),
    ("resources/read", "test://static-text"): contents("test://static-text", "text/plain", text="Static text."),
    ("resources/read", "test://static-binary"): contents("test://static-binary", "image/png", blob=PNG),
    ("resources/read", "test://template/123/data"): contents(
        "test://template/123/data", "application/json", text='{"id":"123"}'
    ),
    ("prompts/get", "test_simple_prompt"): messages(text("This is a simple prompt for testing.")),
    ("prompts/get", "test_prompt_with_arguments"): with_arguments,
    ("prompts/get", "test_prompt_with_embedded_resource"): with_resource,
    ("prompts/get", "test_prompt_with_image"): messages(IMAGE, text("Look at the image.")),
    ("completion/complete", "test_prompt_with_arguments"): {
        "completion": {"values": ["one", "two"], "total": 2, "hasMore": False}
    },
}
ARGUMENTS = {
    "test_prompt_with_arguments": ["arg1", "arg2"],
    "test_prompt_with_embedded_resource": ["resourceUri"],
}


def tool(name: str) -> dict[str, Any]:
    schema = SCHEMA if name == "json_schema_2020_12_tool" else {"type": "object", "properties": {}}
    return {"name": name, "description": "A fixture.", "inputSchema": schema}


def prompt(name: str) -> dict[str, Any]:
    arguments = [{"name": word, "description": "Any text.", "required": True} for word in ARGUMENTS.get(name, ())]
    return {"name": name, "description": "A fixture.", "arguments": arguments}


LISTED = {
    "tools/list": ("tools", [tool(name) for method, name in ANSWERS if method == "tools/call"]),
    "resources/list": (
        "resources",
        [
            {"uri": uri, "name": uri, "description": "A fixture."}
            for method, uri in ANSWERS
            if method == "resources/read" and "template" not in uri
        ],
    ),
    "resources/templates/list": (
        "resourceTemplates",
        [{"uriTemplate": "test://template/{id}/data", "name": "template", "description": "A fixture."}],
    ),
    "prompts/list": ("prompts", [prompt(name) for method, name in ANSWERS if method == "prompts/get"]),
}


class Fixtures(Dispatcher):
    """The dispatcher, which also lists and answers the fixtures."""

    def answer(self, request: Request) -> bytes:
        params = request.params
        ref = params.get("ref") or {}
        fixture = ANSWERS.get((request.method, params.get("name") or params.get("uri") or ref.get("name") or ""))
        if fixture is None:
            reply = json.loads(super().answer(request))
            if request.method in LISTED:
                kind, fixtures = LISTED[request.method]
                reply["result"][kind] += fixtures
            return encode(reply)
        try:
            result = fixture(params) if callable(fixture) else fixture
        except Fault as fault:
            fault.id = request.id
            return fault.reply()
        if request.modern:
            cached = {"ttlMs": 0, "cacheScope": "private"} if request.method == "resources/read" else {}
            result = {"resultType": "complete", **result, **cached}
        return encode({"jsonrpc": "2.0", "id": request.id, "result": result})


if __name__ == "__main__":
    db, port = sys.argv[1:]
    settings = load_settings(db=db, embedding="off", transport="http", port=int(port))
    sys.exit(serve_over_http(Fixtures(settings), mcp=True, web=False))
