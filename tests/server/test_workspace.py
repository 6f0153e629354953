"""The workspace of calls that name none: which it is, where it counts, and that it is always told."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from mimir import Memory
from mimir.config import environment_for_child, load_settings
from mimir.server.dispatch import Dispatcher
from mimir.server.message import Request
from mimir.workspace import Workspace, name_of, repository, resolve_workspace
from tests.server.client import MODERN_META, PATIENCE_S, SERVE, Client, call, request


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return the folder of a project that is a Git repository."""
    folder = tmp_path / "project"
    (folder / ".git").mkdir(parents=True)
    (folder / "src" / "deep").mkdir(parents=True)
    return folder


def named(folder: Path) -> str:
    return name_of(str(folder.resolve()))


def git(folder: Path, *words: str) -> None:
    subprocess.run(["git", "-C", str(folder), *words], check=True, capture_output=True, timeout=PATIENCE_S)


# Which it is


def test_without_a_setting_no_workspace_stands_for_one_that_is_left_out() -> None:
    assert resolve_workspace(load_settings(db="m.db")).hash is None


def test_a_name_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve_workspace(load_settings(db="m.db", workspace="team")) == Workspace("team", "as set")
    monkeypatch.setenv("MIMIR_WORKSPACE", "other")
    assert resolve_workspace(load_settings(db="m.db")).hash == "other"


def test_auto_asks_the_roots_then_the_variable_then_the_repository(
    monkeypatch: pytest.MonkeyPatch, project: Path, tmp_path: Path
) -> None:
    settings = load_settings(db="m.db", workspace="auto")
    root = tmp_path / "größe und mehr"
    root.mkdir()
    monkeypatch.chdir(project / "src" / "deep")
    assert resolve_workspace(settings).hash == named(project)
    assert str(project.resolve()) in resolve_workspace(settings).reason
    monkeypatch.setenv("MIMIR_WORKSPACE", "of the variable")
    assert resolve_workspace(settings).hash == "of the variable"
    assert resolve_workspace(settings, ["https://no.folder/", root.as_uri()]).hash == named(root)
    assert resolve_workspace(settings, [(project / "src").as_uri()]).hash == named(project)
    monkeypatch.setenv("MIMIR_WORKSPACE", "auto")
    assert resolve_workspace(settings).hash == named(project)


def test_auto_that_finds_nothing_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MIMIR_WORKSPACE", raising=False)
    found = resolve_workspace(load_settings(db="m.db", workspace="auto"))
    assert found.hash is None
    assert "the global one" in found.reason


def test_folders_of_the_same_name_are_told_apart(tmp_path: Path) -> None:
    names = {named(tmp_path / parent / "app") for parent in ("one", "two")}
    assert len(names) == 2
    assert all(name.startswith("app-") for name in names)


def test_a_linked_work_tree_belongs_to_its_repository_and_a_submodule_to_itself(tmp_path: Path) -> None:
    main, linked = tmp_path / "main", tmp_path / "linked"
    main.mkdir()
    git(main, "init", "-q")
    git(main, "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-q", "--allow-empty", "-m", "first")
    git(main, "worktree", "add", "-q", str(linked))
    assert repository(str(linked)) == str(main.resolve())
    module = main / "module"
    module.mkdir()
    (module / ".git").write_text("gitdir: ../.git/modules/module\n", encoding="utf-8")
    assert repository(str(module)) == str(module.resolve())


# Where it counts


@pytest.fixture
def dispatcher(db: str) -> Iterator[Dispatcher]:
    with Memory.open(db, embedding="off") as memory:
        memory.remember("fact", "port", {"content": "port of everybody"})
        memory.remember("fact", "port", {"content": "port of the team"}, workspace_hash="team")
    dispatcher = Dispatcher(load_settings(db=db, embedding="off", workspace="team"))
    yield dispatcher
    dispatcher.close()


def use(dispatcher: Dispatcher, tool: str, **arguments: object) -> dict[str, Any]:

    payload, failed = dispatcher.call(f"mimir_{tool}", arguments)
    assert not failed
    result: dict[str, Any] = json.loads(payload)
    return result


def workspaces(result: dict[str, Any]) -> set[str]:
    return {item["workspace_hash"] for item in result["items"]}


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [("recall", {"query": "port"}), ("recall", {"query": ""}), ("recall_layer", {"layer": "buffer"})],
)
def test_reads_that_name_no_workspace_see_that_one_only(
    dispatcher: Dispatcher, tool: str, arguments: dict[str, Any]
) -> None:
    assert workspaces(use(dispatcher, tool, **arguments)) == {"team"}
    assert workspaces(use(dispatcher, tool, **arguments, workspace_hash=None)) == {"team"}
    assert workspaces(use(dispatcher, tool, **arguments, workspace_hash="")) == {""}


def test_writes_and_names_mean_that_workspace_and_an_empty_one_the_global_one(dispatcher: Dispatcher, db: str) -> None:
    use(dispatcher, "remember", category="fact", key="host", body_json={"content": "of the team"})
    use(dispatcher, "remember", category="fact", key="host", body_json={"content": "of all"}, workspace_hash="")
    use(dispatcher, "correct", wrong_approach="a", user_correction="b", task_context="c")
    use(dispatcher, "forget", category="fact", key="port")
    with Memory.open(db, embedding="off") as memory:
        stored = {(hit.key.partition("-")[0], hit.workspace_hash) for hit in memory.recall("").items}
    assert stored == {("host", "team"), ("host", ""), ("correction", "team"), ("port", "")}


def test_resources_and_completion_mean_it_too(dispatcher: Dispatcher) -> None:

    use(dispatcher, "remember", category="elsewhere", key="k", body_json="{}", workspace_hash="")

    def ask(method: str, **params: object) -> Any:  # noqa: ANN401 - any JSON
        return json.loads(dispatcher.answer(Request(1, method, params, modern=False)))["result"]

    (content,) = ask("resources/read", uri="mimir://entity/fact/port")["contents"]
    assert "port of the team" in content["text"]
    (content,) = ask("resources/read", uri="mimir://context")["contents"]
    assert "port of everybody" not in content["text"]
    reference = {"type": "ref/resource", "uri": "mimir://entity/{category}/{key}"}
    completion = ask("completion/complete", ref=reference, argument={"name": "category", "value": ""})["completion"]
    assert completion["values"] == ["fact"]


def test_health_tells_which_it_is_and_why(dispatcher: Dispatcher, db: str) -> None:
    health = use(dispatcher, "health")
    assert (health["workspace"], health["workspace_reason"]) == ("team", "as set")
    plain = Dispatcher(load_settings(db=db, embedding="off"))
    assert "workspace" not in use(plain, "health")
    plain.close()


def test_a_command_means_it_too(dispatcher: Dispatcher, project: Path) -> None:
    dispatcher.close()
    db = dispatcher.settings.db
    command = [sys.executable, "-m", "mimir", "--db", db, "--embedding", "off", "--workspace", "auto"]

    def run(*words: str) -> str:
        done = subprocess.run(
            [*command, *words],
            cwd=project,
            env=environment_for_child(),
            check=True,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        told.append(done.stderr)
        return " ".join(done.stdout.split())

    told: list[str] = []
    run("remember", "fact", "colour", '{"content": "blue"}')
    assert told == [f"mimir: workspace {named(project)}: the working directory lies in the repository {project}\n"]
    assert named(project) in run("doctor")
    with Memory.open(db, embedding="off") as memory:
        assert [hit.key for hit in memory.recall("", workspace_hash=named(project)).items] == ["colour"]
    shutil.rmtree(project / ".git")
    run("recall", "colour")
    assert told[-1].startswith("mimir: workspace global: auto found no root")
    run("recall", "colour", "--workspace-hash", "")
    assert told[-1] == ""


# Roots over standard input and output


def initialize(client: Client, **capabilities: object) -> None:
    client.ask(request(0, "initialize", protocolVersion="2025-11-25", capabilities=capabilities))
    client.send({"jsonrpc": "2.0", "method": "notifications/initialized"})


def answer_roots(client: Client, *roots: str) -> None:
    asked = client.receive()
    assert asked["method"] == "roots/list"
    client.send({"jsonrpc": "2.0", "id": asked["id"], "result": {"roots": [{"uri": root} for root in roots]}})


@pytest.fixture
def automatic(db: str) -> Iterator[Client]:
    """Return a server that finds out the workspace by itself."""
    with closing(Client((*SERVE, "--db", db, "--embedding", "off", "--workspace", "auto"))) as client:
        yield client


def test_a_client_that_has_roots_is_asked_and_calls_wait_for_the_answer(automatic: Client, project: Path) -> None:
    initialize(automatic, roots={"listChanged": True})
    automatic.send(call(1, "mimir_health"))
    answer_roots(automatic, project.as_uri())
    health = automatic.receive()["result"]["structuredContent"]
    assert health["workspace"] == named(project)
    assert str(project.resolve()) in health["workspace_reason"]


def test_roots_that_change_are_asked_for_again(automatic: Client, project: Path, tmp_path: Path) -> None:
    initialize(automatic, roots={"listChanged": True})
    answer_roots(automatic, project.as_uri())
    automatic.send({"jsonrpc": "2.0", "method": "notifications/roots/list_changed"}, call(1, "mimir_health"))
    answer_roots(automatic, tmp_path.as_uri())
    assert automatic.receive()["result"]["structuredContent"]["workspace"] == named(tmp_path)


@pytest.mark.parametrize("answer", [{"error": {"code": -32601, "message": "no"}}, {"result": {"roots": "none"}}])
def test_an_answer_without_roots_leaves_the_choice_to_the_rest(automatic: Client, answer: dict[str, Any]) -> None:
    initialize(automatic, roots={})
    asked = automatic.receive()
    automatic.send({"jsonrpc": "2.0", "id": asked["id"], **answer})
    reason = automatic.use("mimir_health")["workspace_reason"]
    assert "the client works in" not in reason


def test_nobody_else_is_asked(automatic: Client, db: str) -> None:
    initialize(automatic)
    automatic.use("mimir_health")
    modern = request(2, "tools/call", name="mimir_health", arguments={}, _meta=MODERN_META)
    assert "result" in automatic.ask(modern)
    assert automatic.end() == []
    with closing(Client((*SERVE, "--db", db, "--embedding", "off", "--workspace", "team"))) as client:
        initialize(client, roots={})
        assert client.use("mimir_health")["workspace"] == "team"
        assert client.end() == []


def test_a_client_that_never_answers_delays_its_first_call_only_and_the_end_not_at_all(automatic: Client) -> None:
    initialize(automatic, roots={})
    assert automatic.receive()["method"] == "roots/list"
    automatic.send(call(1, "mimir_health"))
    assert automatic.end()[0]["id"] == 1


def test_the_log_tells_the_workspace_and_the_reason(db: str, project: Path) -> None:
    command = (*SERVE, "--db", db, "--embedding", "off", "--workspace", "auto", "--log-level", "info")
    client = Client(command)
    initialize(client, roots={})
    answer_roots(client, project.as_uri())
    client.use("mimir_health")
    client.end()
    assert f"workspace of calls that name none: {named(project)} (the client works in" in client.errors()
    client.close()
