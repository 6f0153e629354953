"""Both eras of the protocol, message by message, against a real server."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from mcp_types.methods import validate_server_result
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, LATEST_HANDSHAKE_VERSION, MODERN_PROTOCOL_VERSIONS

import mimir
from mimir.catalogue import load_catalogue
from mimir.server.dispatch import INSTRUCTIONS
from tests.server.client import (
    CAPABILITIES_KEY,
    MODERN_META,
    VERSION_KEY,
    Client,
    Run,
    call,
    remember,
    request,
    wire,
)

CAPABILITIES = {
    "tools": {"listChanged": False},
    "resources": {"subscribe": False, "listChanged": False},
    "prompts": {"listChanged": False},
    "completions": {},
}
TOPIC = {"type": "ref/prompt", "name": "recall_topic"}
CACHED = {"list": {"ttlMs": 3_600_000, "cacheScope": "public"}, "read": {"ttlMs": 0, "cacheScope": "private"}}
SERVER_INFO_KEY = "io.modelcontextprotocol/serverInfo"


def initialize(version: object) -> dict[str, Any]:
    return request(1, "initialize", protocolVersion=version, capabilities={}, clientInfo={"name": "t", "version": "1"})


def modern(number: object, method: str, **params: object) -> dict[str, Any]:
    return request(number, method, _meta=MODERN_META, **params)


def error_of(reply: dict[str, Any]) -> dict[str, Any]:
    assert "result" not in reply
    error: dict[str, Any] = reply["error"]
    return error


# The handshake era


@pytest.mark.parametrize("version", HANDSHAKE_PROTOCOL_VERSIONS)
def test_initialize_agrees_to_every_revision_with_a_handshake(server: Client, version: str) -> None:
    result = server.ask(initialize(version))["result"]
    validate_server_result("initialize", version, result)
    assert result == {
        "protocolVersion": version,
        "capabilities": CAPABILITIES,
        "serverInfo": {"name": "mimir", "title": "Mimir", "version": mimir.__version__},
        "instructions": INSTRUCTIONS,
    }


@pytest.mark.parametrize("version", ["2026-07-28", "1999-01-01", None, 7, ["2025-06-18"]])
def test_initialize_offers_the_last_handshake_revision_for_any_other(server: Client, version: object) -> None:
    assert server.ask(initialize(version))["result"]["protocolVersion"] == LATEST_HANDSHAKE_VERSION


def test_initialize_may_be_repeated_and_may_lack_params(server: Client) -> None:
    first = server.ask(initialize("2025-06-18"))
    assert server.ask({"jsonrpc": "2.0", "id": 1, "method": "initialize"})["result"]["instructions"] == INSTRUCTIONS
    assert server.ask(initialize("2025-06-18")) == first


def test_ping_is_answered_with_an_empty_object(server: Client) -> None:
    assert server.ask(request("p", "ping")) == {"jsonrpc": "2.0", "id": "p", "result": {}}


@pytest.mark.parametrize("version", HANDSHAKE_PROTOCOL_VERSIONS)
def test_results_fit_the_schema_of_every_handshake_revision(server: Client, version: str) -> None:
    server.ask(initialize(version))
    server.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
    for method in ("tools/list", "resources/list", "resources/templates/list", "prompts/list"):
        result = server.ask(request(2, method))["result"]
        validate_server_result(method, version, result)
        assert "resultType" not in result
    arguments = {"category": "c", "key": "k", "body_json": "{}"}
    for method, params in (
        ("tools/call", {"name": "mimir_remember", "arguments": arguments}),
        ("tools/call", {"name": "mimir_remember"}),
        ("resources/read", {"uri": "mimir://entity/c/k"}),
        ("prompts/get", {"name": "daily_review"}),
        ("completion/complete", {"ref": TOPIC, "argument": {"name": "topic", "value": "k"}}),
    ):
        result = server.ask(request(3, method, **params))["result"]
        validate_server_result(method, version, result)
        assert "resultType" not in result


def test_a_bare_call_is_served_without_a_handshake(run: Run) -> None:
    done = run(wire(remember(1, "first")))
    assert (done.returncode, done.stderr) == (0, b"")
    (line,) = done.stdout.splitlines()
    assert json.loads(line)["result"]["structuredContent"]["action"] == "created"


def test_a_second_process_recalls_what_a_one_liner_stored(run: Run) -> None:
    run(wire(remember(1, "deployment", "We deploy on Tuesdays.")), "--embedding", "off")
    done = run(wire(call(1, "mimir_recall", query="deploy tuesdays")), "--embedding", "off")
    (line,) = done.stdout.splitlines()
    (item,) = json.loads(line)["result"]["structuredContent"]["items"]
    assert (item["key"], item["content"]) == ("deployment", "We deploy on Tuesdays.")


def test_the_last_line_needs_no_newline(run: Run) -> None:
    assert json.loads(run(wire(request(1, "ping")).rstrip()).stdout)["result"] == {}


# The stateless era


@pytest.mark.parametrize("version", MODERN_PROTOCOL_VERSIONS)
def test_discover_tells_versions_capabilities_and_instructions(server: Client, version: str) -> None:
    reply = server.ask(modern("server-discover-probe-1", "server/discover"))
    validate_server_result("server/discover", version, reply["result"])
    assert reply["result"] == {
        "supportedVersions": [version],
        "capabilities": CAPABILITIES,
        "instructions": INSTRUCTIONS,
        "resultType": "complete",
        "_meta": {SERVER_INFO_KEY: {"name": "mimir", "title": "Mimir", "version": mimir.__version__}},
        "ttlMs": 3_600_000,
        "cacheScope": "public",
    }


def test_modern_results_fit_their_schema_and_name_the_server(server: Client) -> None:
    arguments = {"category": "c", "key": "k", "body_json": "{}"}
    for method, params in (
        ("tools/list", {}),
        ("resources/list", {}),
        ("resources/templates/list", {}),
        ("prompts/list", {}),
        ("tools/call", {"name": "mimir_remember", "arguments": arguments}),
        ("tools/call", {"name": "mimir_remember"}),
        ("resources/read", {"uri": "mimir://entity/c/k"}),
        ("prompts/get", {"name": "daily_review"}),
        ("completion/complete", {"ref": TOPIC, "argument": {"name": "topic", "value": "k"}}),
    ):
        result = server.ask(modern(1, method, **params))["result"]
        validate_server_result(method, "2026-07-28", result)
        assert result["resultType"] == "complete"
        assert result["_meta"][SERVER_INFO_KEY]["name"] == "mimir"
        cached = {name: result[name] for name in ("ttlMs", "cacheScope") if name in result}
        assert cached == CACHED.get(method.rpartition("/")[2], {})


def test_both_eras_are_served_side_by_side_in_one_process(server: Client) -> None:
    server.ask(initialize("2025-06-18"))
    assert server.ask(modern(2, "tools/list"))["result"]["resultType"] == "complete"
    assert "resultType" not in server.ask(request(3, "tools/list"))["result"]
    assert (
        server.ask(modern(4, "tools/list"))["result"]["tools"]
        == server.ask(request(5, "tools/list"))["result"]["tools"]
    )


@pytest.mark.parametrize("missing", [VERSION_KEY, CAPABILITIES_KEY])
@pytest.mark.parametrize("method", ["tools/list", "server/discover"])
def test_a_modern_request_without_a_required_key_is_refused_by_name(server: Client, method: str, missing: str) -> None:
    meta = {key: value for key, value in MODERN_META.items() if key != missing}
    error = error_of(server.ask(request(1, method, _meta=meta)))
    assert error["code"] == -32602
    assert missing in error["message"]


@pytest.mark.parametrize(
    "meta", [{VERSION_KEY: 1, CAPABILITIES_KEY: {}}, {VERSION_KEY: "2026-07-28", CAPABILITIES_KEY: 1}]
)
def test_a_modern_key_of_the_wrong_type_is_refused(server: Client, meta: dict[str, object]) -> None:
    assert error_of(server.ask(request(1, "tools/list", _meta=meta)))["code"] == -32602


def test_discover_without_metadata_is_refused(server: Client) -> None:
    assert error_of(server.ask(request(1, "server/discover")))["code"] == -32602


@pytest.mark.parametrize("version", ["1900-01-01", "2025-11-25", "2027-01-01"])
def test_an_unknown_modern_version_is_answered_with_the_supported_ones(server: Client, version: str) -> None:
    error = error_of(server.ask(request(1, "tools/list", _meta={**MODERN_META, VERSION_KEY: version})))
    assert error["code"] == -32022
    assert error["data"] == {"supported": ["2026-07-28"], "requested": version}


@pytest.mark.parametrize("method", ["initialize", "ping"])
def test_what_the_modern_era_dropped_is_unknown_in_it(server: Client, method: str) -> None:
    assert error_of(server.ask(modern(1, method)))["code"] == -32601


def test_metadata_of_other_kinds_does_not_make_a_request_modern(server: Client) -> None:
    result = server.ask(request(1, "tools/list", _meta={"progressToken": 7, "traceparent": "00-0"}))["result"]
    assert "resultType" not in result


# Both


@pytest.mark.parametrize(
    "method", ["tools/delete", "resources/subscribe", "sampling/createMessage", "logging/setLevel", ""]
)
def test_an_unknown_method_is_refused_by_name(server: Client, method: str) -> None:
    assert error_of(server.ask(request(1, method))) == {"code": -32601, "message": f"Method not found: {method}"}


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({}, "name"),
        ({"name": 5}, "name"),
        ({"name": "mimir_fly", "arguments": {}}, "Unknown tool: mimir_fly"),
        ({"name": "remember", "arguments": {}}, "Unknown tool: remember"),
        ({"name": "", "arguments": {}}, "Unknown tool"),
    ],
)
def test_a_call_of_no_known_tool_is_a_protocol_error(server: Client, params: dict[str, object], words: str) -> None:
    error = error_of(server.ask(request(1, "tools/call", **params)))
    assert error["code"] == -32602
    assert words in error["message"]


def test_params_that_are_no_object_are_refused_and_null_means_none(server: Client) -> None:
    assert error_of(server.ask({"jsonrpc": "2.0", "id": 1, "method": "ping", "params": [1]}))["code"] == -32602
    assert server.ask({"jsonrpc": "2.0", "id": 2, "method": "ping", "params": None})["result"] == {}


def test_notifications_and_replies_are_never_answered(server: Client) -> None:
    server.send(
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "method": "notifications/unheard_of", "params": [1]},
        {"jsonrpc": "2.0", "method": "notifications/cancelled"},
        {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": [1]}},
        {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "unknown"}},
        {"jsonrpc": "2.0", "method": "tools/list"},
        {"jsonrpc": "2.0", "id": 9, "result": {}},
        {"jsonrpc": "2.0", "id": 9, "error": {"code": 1, "message": "m"}},
    )
    assert server.end() == []


@pytest.mark.parametrize("number", [0, -1, 2**60, 1.5, "", "a", "é\u2028", "\ud800", 10**400])
def test_the_id_comes_back_as_it_was_sent(server: Client, number: object) -> None:
    reply = server.ask(request(number, "ping"))
    assert reply["id"] == number
    assert type(reply["id"]) is type(number)


def test_every_revision_gets_the_same_unchanging_list_of_strict_tools(server: Client) -> None:
    tools = server.ask(request(1, "tools/list"))["result"]["tools"]
    assert tools == [entry["tool"] for entry in load_catalogue().values()]
    assert server.ask(request(2, "tools/list", cursor="x"))["result"] == {"tools": tools}
    for tool in tools:
        assert tool["name"].startswith("mimir_")
        assert set(tool["annotations"]) == {"readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"}
        assert tool["inputSchema"]["additionalProperties"] is False
        Draft202012Validator.check_schema(tool["inputSchema"])
        Draft202012Validator.check_schema(tool["outputSchema"])


def test_the_instructions_fit_what_hosts_show_and_name_only_real_tools() -> None:
    assert len(INSTRUCTIONS) < 2000
    names = {word.strip("().,:;") for word in INSTRUCTIONS.split() if "mimir_" in word}
    assert names <= {entry["tool"]["name"] for entry in load_catalogue().values()}
    assert len(names) >= 5
