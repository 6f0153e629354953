"""Calls of tools through a real server: results, failures, order, cancellation, what is listed and what is refused."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import pytest
from jsonschema import Draft202012Validator

from mimir.catalogue import load_catalogue
from mimir.config import load_settings
from mimir.server.dispatch import Dispatcher
from mimir.server.message import Request
from scripts.examples import Story
from tests.server.client import PATIENCE_S, Client, Start, call, remember, request

CATALOGUE = load_catalogue()
NEEDING_VECTORS = ("semantic_search", "embed")
WRITING = ("mimir_remember", "mimir_forget", "mimir_reindex", "mimir_embed")


@contextmanager
def write_lock(db: str) -> Iterator[None]:
    """Hold the store's write lock, as another process would, so that calls that write have to wait."""
    connection = apsw.Connection(db)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")
    finally:
        connection.close()


def listed(server: Client) -> list[str]:
    return [tool["name"] for tool in server.ask(request(1, "tools/list"))["result"]["tools"]]


# Results


@pytest.mark.parametrize("name", CATALOGUE)
def test_the_result_of_every_tool_satisfies_its_output_schema(start: Start, story: Story, db: str, name: str) -> None:
    entry = CATALOGUE[name]
    shutil.copy(story.path, db)
    flags = () if name in NEEDING_VECTORS else ("--embedding", "off")
    server = start(*flags, **story.environment)
    result = server.ask(call(1, entry["tool"]["name"], **entry["example"]))["result"]
    assert "isError" not in result
    Draft202012Validator(entry["tool"]["outputSchema"]).validate(result["structuredContent"])
    assert json.loads(result["content"][0]["text"]) == result["structuredContent"]


@pytest.mark.parametrize("mode", ["fts5", "dense", "hybrid", ""])
def test_recall_satisfies_its_schema_in_every_mode(start: Start, mode: str) -> None:
    server = start()
    for number in range(5):
        server.use(
            "mimir_remember",
            category="fact",
            key=f"k{number}",
            body_json={"content": f"The river number {number} is long.", "tags": "not the tags", "score": "x"},
        )
    content = server.use("mimir_recall", query="which stream is long", mode=mode, include_confidence=True)
    Draft202012Validator(CATALOGUE["recall"]["tool"]["outputSchema"]).validate(content)
    assert content["items"]


def test_the_text_is_compact_json_with_every_script_written_out(server: Client) -> None:
    text = "naïve 日本語 😀 עברית"
    server.use("mimir_remember", category="c", key="ключ", body_json={"content": text})
    server.send(call(1, "mimir_recall", query="ключ"))
    line = server.lines.get(timeout=PATIENCE_S).decode()
    assert text in line
    assert line == json.dumps(json.loads(line), ensure_ascii=False, separators=(",", ":")) + "\n"


def test_earlier_prefixes_are_accepted_on_call_and_never_listed(server: Client) -> None:
    for prefix in ("perseus_vault_", "mneme_", "mimir_"):
        assert server.use(prefix + "health")["status"] == "healthy"
    assert all(name.startswith("mimir_") for name in listed(server))


def test_missing_and_null_arguments_mean_none(server: Client) -> None:
    for params in ({"name": "mimir_health"}, {"name": "mimir_health", "arguments": None}):
        result = server.ask(request(1, "tools/call", **params))["result"]
        assert result["structuredContent"]["status"] == "healthy"


def test_unknown_arguments_are_ignored_and_strings_are_read_as_what_they_mean(server: Client) -> None:
    server.use("mimir_remember", category="c", key="k", body_json='{"content": "word"}', always_on="true", nonsense={})
    content = server.use("mimir_recall", query="word", max_results="1", workspace_hash=None)
    assert [item["always_on"] for item in content["items"]] == [True]


# Failures


def assert_is_failure(content: dict[str, Any], code: str) -> None:
    assert content["code"] == code
    assert content["isError"] is True
    assert content["error"]
    assert content["hint"]
    assert content["content"] == [{"type": "text", "text": f"{content['error']} {content['hint']}"}]


def test_a_failure_says_the_same_as_structure_and_as_text(server: Client) -> None:
    result = server.ask(call(1, "mimir_get_entity", id="mem-none"))["result"]
    assert result["isError"] is True
    assert json.loads(result["content"][0]["text"]) == result["structuredContent"]
    assert_is_failure(result["structuredContent"], "not_found")


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"key": "k", "body_json": "{}"}, "category"),
        ({"category": 5, "key": "k", "body_json": "{}"}, "category"),
        ({"category": "c", "key": "", "body_json": "{}"}, "key"),
        ({"category": "c", "key": "k", "body_json": "{"}, "body_json"),
        ({"category": "c", "key": "k", "body_json": "{}", "certainty": "high"}, "certainty"),
        ({"category": "c", "key": "\ud800", "body_json": "{}"}, "key"),
        ({"category": "c", "key": "k", "body_json": {"content": "\udfff"}}, "body_json"),
    ],
)
def test_bad_arguments_are_a_tool_failure_that_names_the_field(
    server: Client, arguments: dict[str, object], word: str
) -> None:
    content = server.fail("mimir_remember", **arguments)
    assert_is_failure(content, "invalid_input")
    assert word in content["error"]


@pytest.mark.parametrize("arguments", [[], "text", 5, True])
def test_arguments_that_are_no_object_are_a_tool_failure(server: Client, arguments: object) -> None:
    result = server.ask(request(1, "tools/call", name="mimir_health", arguments=arguments))["result"]
    assert_is_failure(result["structuredContent"], "invalid_input")


def test_a_store_that_cannot_be_opened_fails_each_call_until_it_can(server: Client, db: str) -> None:
    Path(db).write_text("this is no database, it is a letter to a friend\n" * 100, encoding="utf-8")
    for _ in range(2):
        assert server.fail("mimir_stats")["code"] in ("storage", "locked")
        assert server.ask(request(2, "ping"))["result"] == {}
    Path(db).unlink()
    assert server.use("mimir_stats")["total_entities"] == 0


def test_a_bug_reaches_the_log_once_and_the_client_without_its_traceback(
    db: str, caplog: pytest.LogCaptureFixture
) -> None:
    dispatcher = Dispatcher(load_settings(db=db))
    dispatcher.catalogue["health"]["function"] = "lost_in_a_bad_installation"
    question = Request(1, "tools/call", {"name": "mimir_health"}, modern=False)
    with caplog.at_level(logging.ERROR):
        replies = {dispatcher.answer(question) for _ in range(3)}
    (reply,) = replies
    assert_is_failure(json.loads(reply)["result"]["structuredContent"], "internal")
    assert b"lost_in_a_bad_installation" not in reply
    (record,) = caplog.records
    assert record.exc_info is not None
    other = Request(2, "tools/call", {"name": "mimir_stats"}, modern=False)
    assert "isError" not in json.loads(dispatcher.answer(other))["result"]
    dispatcher.close()


def test_a_bug_outside_a_tool_is_an_internal_error_and_not_the_end(db: str, caplog: pytest.LogCaptureFixture) -> None:
    dispatcher = Dispatcher(load_settings(db=db))
    del dispatcher.catalogue["health"]["tool"]
    reply = json.loads(dispatcher.answer(Request(1, "tools/list", {}, modern=False)))
    assert reply == {"jsonrpc": "2.0", "id": 1, "error": {"code": -32603, "message": "Internal error"}}
    assert caplog.records[0].exc_info is not None
    assert json.loads(dispatcher.answer(Request(2, "ping", {}, modern=False)))["result"] == {}


def test_a_broken_module_does_not_stop_the_preparation_of_the_server(db: str, caplog: pytest.LogCaptureFixture) -> None:
    dispatcher = Dispatcher(load_settings(db=db))
    dispatcher.catalogue["health"]["module"] = "mimir.operations.lost"
    dispatcher.warm_up()
    assert caplog.records[0].exc_info is not None
    question = Request(1, "tools/call", {"name": "mimir_stats"}, modern=False)
    assert "isError" not in json.loads(dispatcher.answer(question))["result"]
    dispatcher.close()


# Order and cancellation


def test_pipelined_calls_are_run_in_the_order_in_which_they_came(server: Client) -> None:
    for number in range(50):
        server.send(remember(number, "counter", f"round{number}"))
        server.send(call(1000 + number, "mimir_recall", query=f"round{number}", mode="fts5"))
    replies = [server.receive() for _ in range(100)]
    assert [reply["id"] for reply in replies] == [n for number in range(50) for n in (number, 1000 + number)]
    for number, reply in enumerate(replies[1::2]):
        assert reply["result"]["structuredContent"]["items"][0]["content"] == f"round{number}"


def test_cheap_requests_are_answered_while_a_call_is_running(server: Client, db: str) -> None:
    server.use("mimir_health")
    with write_lock(db):
        server.send(remember(1, "slow"))
        for method in ("ping", "tools/list", "initialize", "resources/list"):
            assert "result" in server.ask(request(method, method))
    assert server.receive()["id"] == 1


def test_a_long_operation_does_not_hold_up_the_others(server: Client, db: str) -> None:
    server.use("mimir_health")
    with write_lock(db):
        server.send(call("long", "mimir_reindex"))
        assert server.use("mimir_health")["status"] == "healthy"
        assert server.use("mimir_recall", query="anything", reinforce=False)["items"] == []
    assert server.receive()["id"] == "long"


def test_a_long_operation_finds_what_was_sent_before_it(server: Client) -> None:
    server.send(*(remember(number, f"key{number}") for number in range(20)), call("long", "mimir_reindex"))
    replies = {reply["id"]: reply["result"] for reply in (server.receive() for _ in range(21))}
    assert replies["long"]["structuredContent"]["reindexed"] == 20


def test_a_cancelled_call_is_not_answered_and_one_that_waits_is_not_run(server: Client, db: str) -> None:
    server.use("mimir_health")
    with write_lock(db):
        server.send(
            remember(1, "running"),
            remember("waiting", "waiting"),
            remember(3, "kept"),
            {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}},
            {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "waiting"}},
        )
        server.ask(request("now all is read", "ping"))
    assert server.receive()["id"] == 3
    keys = {item["key"] for item in server.use("mimir_recall", query="")["items"]}
    assert "kept" in keys
    assert "waiting" not in keys


def test_an_id_may_be_used_again_after_its_cancellation(server: Client, db: str) -> None:
    server.use("mimir_health")
    with write_lock(db):
        server.send(
            remember(1, "first"),
            {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}},
            remember(1, "second"),
        )
        server.ask(request("now all is read", "ping"))
    assert server.receive()["result"]["structuredContent"]["key"] == "second"


# What is listed, what is refused


def test_profiles_shorten_the_list_and_hide_nothing_from_calls(start: Start) -> None:
    core, standard, all_tools = (
        listed(start("--embedding", "off", "--tools", name)) for name in ("core", "standard", "all")
    )
    assert set(core) < set(standard) < set(all_tools)
    assert len(all_tools) == len(CATALOGUE)
    hidden = next(name for name in standard if name not in core)
    assert hidden == "mimir_as_of"
    assert start("--tools", "core").use("mimir_health")["status"] == "healthy"


def test_tools_may_be_named_with_or_without_their_prefix(start: Start) -> None:
    assert listed(start("--tools", "recall, mimir_remember")) == ["mimir_remember", "mimir_recall"]


def test_the_environment_chooses_tools_and_a_flag_wins_over_it(start: Start) -> None:
    assert listed(start(MIMIR_TOOLS="health")) == ["mimir_health"]
    assert listed(start("--tools=stats", MIMIR_TOOLS="health")) == ["mimir_stats"]


def test_a_read_only_server_refuses_and_does_not_list_what_writes(start: Start) -> None:
    start().use("mimir_remember", category="c", key="k", body_json='{"content": "word"}')
    server = start("--read-only")
    assert set(WRITING).isdisjoint(listed(server))
    for tool in WRITING:
        content = server.fail(tool)
        assert_is_failure(content, "unavailable")
        assert tool in content["error"]
    assert [item["key"] for item in server.use("mimir_recall", query="word")["items"]] == ["k"]
