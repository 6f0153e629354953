"""The commands for scripts and hosts: write, state-digest, tools."""

from __future__ import annotations

import json
import re

import pytest

from mimir import Memory
from mimir.catalogue import load_catalogue
from mimir.model import Entity, Passage
from tests.cli.conftest import RunMimir

WRITE = ("write", "--category", "decision", "--key", "database")


def test_write_prints_action_id_and_ok(mimir: RunMimir, db: str) -> None:
    ran = mimir(*WRITE, "--body", '{"use":"SQLite"}', "--db", db)
    answer = json.loads(ran.out)
    assert ran.status == 0
    assert list(answer) == ["action", "id", "ok"]
    assert (answer["action"], answer["ok"]) == ("created", True)
    assert answer["id"].startswith("cli-")
    assert len(answer["id"]) == len("cli-") + 12
    assert ran.out == json.dumps(answer, indent=2) + "\n"


def test_write_stores_what_the_flags_say(mimir: RunMimir, db: str) -> None:
    flags = "--tags a,b --entity-type fact --importance 0.9 --always-on --visibility public --agent-id bot"
    mimir(*WRITE, "--body", '{"z":1,"a":{"d":2,"c":3}}', *flags.split(), "--workspace-hash", "w", "--db", db)
    (item,) = json.loads(mimir("recall", "", "--json", "--no-reinforce", "--db", db).out)["items"]
    assert item["body_json"] == '{"a":{"c":3,"d":2},"z":1}'
    expected = {
        "source": "cli-write",
        "layer": "buffer",
        "tags": ["a", "b"],
        "type": "fact",
        "decay_score": 0.9,
        "always_on": True,
        "visibility": "public",
        "agent_id": "bot",
        "workspace_hash": "w",
    }
    assert {name: item[name] for name in expected} == expected


def test_write_without_flags_takes_the_published_defaults(mimir: RunMimir, db: str) -> None:
    mimir(*WRITE, "--body", "[1, 2]", "--db", db)
    (item,) = json.loads(mimir("recall", "", "--json", "--no-reinforce", "--db", db).out)["items"]
    assert (item["type"], item["decay_score"], item["visibility"]) == ("insight", 0.5, "workspace")
    assert item["body_json"] == "[1,2]"


def test_writing_again_updates_and_keeps_the_id_and_what_was_left_out(mimir: RunMimir, db: str) -> None:
    first = json.loads(mimir(*WRITE, "--body", '{"v":1}', "--tags", "kept", "--db", db).out)
    again = json.loads(mimir(*WRITE, "--body", '{"v":2}', "--db", db).out)
    assert again == {"action": "updated", "id": first["id"], "ok": True}
    (item,) = json.loads(mimir("recall", "", "--json", "--db", db).out)["items"]
    assert (item["v"], item["tags"]) == (2, ["kept"])


@pytest.mark.parametrize("body", ["{", "plain words", '{"a": NaN}', '"\\ud800"', "", '{"a":1} trailing'], ids=repr)
def test_write_refuses_a_body_that_is_no_json(mimir: RunMimir, db: str, body: str) -> None:
    ran = mimir(*WRITE, "--body", body, "--db", db)
    answer = json.loads(ran.out)
    assert ran.status == 1
    assert (answer["ok"], answer["code"]) == (False, "invalid_input")
    assert json.loads(mimir("stats", "--json", "--db", db).out)["total_entities"] == 0


def test_write_fails_in_json_when_the_store_cannot_be_opened(
    mimir: RunMimir, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("folder")
    ran = mimir(*WRITE, "--body", "1", "--db", str(folder))
    assert ran.status == 1
    assert json.loads(ran.out).keys() == {"ok", "error", "code", "hint"}


def test_write_without_a_required_flag_is_a_usage_error(mimir: RunMimir, db: str) -> None:
    ran = mimir("write", "--category", "c", "--key", "k", "--db", db)
    assert (ran.status, ran.out) == (2, "")
    assert "--body" in ran.err


def test_write_reads_the_body_from_standard_input(process: RunMimir, db: str) -> None:
    ran = process(*WRITE, "--body", "-", "--db", db, stdin='{"text": "ü"}\n')
    assert json.loads(ran.out)["ok"] is True


def test_what_was_written_is_found(mimir: RunMimir, db: str) -> None:
    mimir(*WRITE, "--body", '{"use":"SQLite"}', "--db", db)
    (item,) = json.loads(mimir("recall", "sqlite", "--mode", "fts5", "--json", "--db", db).out)["items"]
    assert item["key"] == "database"


@pytest.mark.parametrize(
    ("rows", "digest"),
    [
        ({}, "0000000000000000"),
        ({"a": "{}"}, "a9972e27138ef311"),
        ({"a": "{}", "b": '{"x":1}'}, "6025dc011d83d95e"),
    ],
)
def test_the_state_digest_is_the_published_one(mimir: RunMimir, db: str, rows: dict[str, str], digest: str) -> None:
    with Memory.open(db, embedding="off") as memory, memory.store.writing():
        for name, body in rows.items():
            entity = Entity(id=name, category="c", key=name, body_json=body)
            memory.store.insert(entity, body, (Passage(start=0, length=len(body)),))
    ran = mimir("state-digest", "--db", db)
    assert ran.status == 0
    assert ran.out == json.dumps({"digest": digest, "entity_count": len(rows)}, indent=2) + "\n"


def test_the_state_digest_follows_bodies_and_leaves_out_archived_memories(mimir: RunMimir, db: str) -> None:
    def digest() -> str:
        return str(json.loads(mimir("state-digest", "--db", db).out)["digest"])

    empty = digest()
    mimir(*WRITE, "--body", '{"v":1}', "--db", db)
    one = digest()
    mimir(*WRITE, "--body", '{"v":1}', "--tags", "new", "--db", db)
    assert digest() == one != empty
    mimir(*WRITE, "--body", '{"v":2}', "--db", db)
    assert digest() not in (one, empty)
    mimir("forget", "decision", "database", "--db", db)
    assert digest() == empty


def test_tools_are_listed_with_what_they_cost(mimir: RunMimir) -> None:
    ran = mimir("tools")
    assert ran.status == 0
    for entry in load_catalogue().values():
        assert entry["tool"]["name"] in ran.out
    assert f"--tools all: {len(load_catalogue())} tools, about " in ran.out
    costs = [int(cost.replace(",", "")) for cost in re.findall(r"--tools \w+: \d+ tools, about ([\d,]+)", ran.out)]
    assert costs == sorted(set(costs))
    assert len(costs) == 3


def test_tools_as_json_are_the_definitions_that_the_server_lists(mimir: RunMimir, process: RunMimir, db: str) -> None:
    listed = json.loads(mimir("tools", "--json").out)
    served = process("--db", db, stdin='{"jsonrpc":"2.0","id":1,"method":"tools/list"}\n')
    assert listed == json.loads(served.out)["result"]["tools"]


def test_tools_follow_the_profile(mimir: RunMimir) -> None:
    every, core = (json.loads(mimir("tools", "--json", "--tools", profile).out) for profile in ("all", "core"))
    assert 0 < len(core) < len(every)
    assert mimir("tools", "--tools", "no_such_tool").status == 2
