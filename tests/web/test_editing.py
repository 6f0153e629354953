"""What the pages change: versioned, journaled, refused when somebody was faster, and undone in reverse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mimir import Memory
from mimir.crypto import write_key_file
from mimir.model import Json
from tests.doubles import FixedClock
from tests.web.pages import Page, StartWeb, entity_path


@pytest.fixture
def page(start_web: StartWeb, db: str) -> Page:
    with Memory.open(db, embedding="off") as memory:
        memory.remember("decision", "database", {"content": "We chose SQLite."}, tags=["storage"])
        memory.remember("decision", "store", {"content": "We chose PostgreSQL."})
    return start_web()


def journal(page: Page) -> list[tuple[str, str]]:
    return [(one["event_type"], one["agent_id"]) for one in page.get("/api/journal")["items"]]


def texts(page: Page, key: str, **query: str) -> list[str]:
    versions = page.get(entity_path(page.find(key, **query)["id"], "versions"))["items"]
    return [json.loads(one["body_json"])["content"] for one in versions]


def test_an_edit_changes_what_was_sent_and_keeps_the_former_text(page: Page) -> None:
    before = page.find("database")
    sent: dict[str, Json] = {
        "body": {"content": "We chose SQLite 3."},
        "tags": ["file"],
        "layer": "world",
        "always_on": True,
        "certainty": 0.9,
        "type": "fact",
        "verified": True,
        "valid_from_unix_ms": 5,
    }
    after = page.change("PATCH", entity_path(before["id"]), revision=before["revision"], **sent)
    expected = {**sent, "content": "We chose SQLite 3.", "layer": "core"}
    del expected["body"]
    assert {name: after[name] for name in expected} == expected
    assert after["revision"] > before["revision"]
    assert (after["retrieval_count"], after["created_at_unix_ms"]) == (0, before["created_at_unix_ms"])
    assert texts(page, "database") == ["We chose SQLite 3.", "We chose SQLite."]
    assert page.get("/api/search", q="SQLite 3")["items"][0]["key"] == "database"
    assert journal(page) == [("edit", "dashboard")]
    (row,) = page.get("/api/journal")["items"]
    assert json.loads(row["acted_json"]) == {"action": "edit", "fields": sorted(sent)}
    lifted = page.change("PATCH", entity_path(before["id"]), revision=after["revision"], valid_from_unix_ms=None)
    assert lifted["valid_from_unix_ms"] is None


def test_a_change_made_meanwhile_is_shown_and_nothing_is_overwritten(page: Page, db: str) -> None:
    seen = page.find("database")
    with Memory.open(db, embedding="off") as memory:
        memory.remember("decision", "database", {"content": "We chose DuckDB."})
    path = entity_path(seen["id"])
    refused = page.change("PATCH", path, expects=409, revision=seen["revision"], body={"content": "Mine."})
    assert (refused["code"], refused["current"]["content"]) == ("conflict", "We chose DuckDB.")
    for verb in ("forget", "restore"):
        page.change("POST", f"{path}/{verb}", expects=409, revision=seen["revision"])
    assert page.find("database")["content"] == "We chose DuckDB."
    assert journal(page) == []
    page.change("PATCH", path, revision=refused["current"]["revision"], body={"content": "Mine."})
    assert texts(page, "database") == ["Mine.", "We chose DuckDB.", "We chose SQLite."]


def test_a_memory_is_forgotten_and_restored(page: Page) -> None:
    path = entity_path(page.find("database")["id"])
    gone = page.change("POST", f"{path}/forget", reason="outdated")
    assert (gone["archived"], gone["archive_reason"]) == (True, "outdated")
    assert page.get("/api/search", q="SQLite")["items"] == []
    page.change("POST", f"{path}/forget", expects=409)
    back = page.change("POST", f"{path}/restore")
    assert (back["archived"], back["archive_reason"]) == (False, "")
    assert page.get("/api/search", q="SQLite")["items"][0]["key"] == "database"
    assert journal(page) == [("restore", "dashboard"), ("forget", "dashboard")]


def test_one_memory_takes_the_place_of_another_and_the_other_can_be_restored(page: Page) -> None:
    old, new = page.find("database"), page.find("store")
    told = page.change("POST", entity_path(old["id"], "supersede"), to_id=new["id"], revision=old["revision"])
    assert (told["status"], told["backlinks"][0]["source"]["key"]) == ("deprecated", "store")
    assert [one["key"] for one in page.get("/api/entities")["items"]] == ["store"]
    back = page.change("POST", entity_path(old["id"], "restore"))
    assert (back["status"], back["valid_to_unix_ms"]) == ("active", None)


def test_links_are_made_and_removed(page: Page) -> None:
    source, target = page.find("database"), page.find("store")
    path = entity_path(source["id"], "links")
    linked = page.change("POST", path, target_id=target["id"], relationship="replaces")
    assert [(link["target_id"], link["relationship"]) for link in linked["links"]] == [(target["id"], "replaces")]
    left = page.change("DELETE", f"{path}/{target['id']}?relationship=replaces")
    assert left["links"] == []
    page.change("DELETE", f"{path}/{target['id']}?relationship=replaces", expects=404)
    page.change("POST", path, expects=404, target_id="no-such-id")


def test_a_new_memory_never_takes_the_place_of_one_with_its_name(page: Page) -> None:
    made = page.change("POST", "/api/entities", category="note", key="new", body={"content": "Fresh."}, tags=["t"])
    assert (made["content"], made["source"], made["tags"]) == ("Fresh.", "dashboard", ["t"])
    refused = page.change("POST", "/api/entities", expects=409, category="note", key="new", body={"content": "Other."})
    assert refused["current"]["content"] == "Fresh."
    elsewhere = page.change(
        "POST", "/api/entities", category="note", key="new", body={"content": "Other."}, workspace_hash="ws"
    )
    assert elsewhere["workspace_hash"] == "ws"


def everything(page: Page) -> dict[str, Any]:
    kept = ("content", "tags", "layer", "archived", "archive_reason", "status", "always_on", "certainty", "verified")
    told: dict[str, Any] = {}
    for one in page.get("/api/entities?archived=true")["items"]:
        fields = {name: one[name] for name in (*kept, "valid_from_unix_ms", "valid_to_unix_ms")}
        told[one["key"]] = {**fields, "links": sorted(map(str, one["links"]))}
    return told


def test_every_action_is_undone_in_reverse_and_what_was_is_there_again(page: Page) -> None:
    database, store = page.find("database"), page.find("store")
    path = entity_path(database["id"])
    states = [everything(page)]

    def act(method: str, path: str, **body: Json) -> None:
        page.change(method, path, **body)
        states.append(everything(page))

    act("PATCH", path, revision=database["revision"], body={"content": "Other."}, tags=[], certainty=0.1)
    act("POST", f"{path}/links", target_id=store["id"], relationship="related")
    act("POST", f"{path}/forget", reason="no")
    act("POST", f"{path}/restore")
    act("POST", f"{path}/supersede", to_id=store["id"])
    act("DELETE", f"{path}/links/{store['id']}?relationship=related")
    assert page.begin()["undo"] == 6
    while len(states) > 1:
        states.pop()
        assert page.change("POST", "/api/undo")["undone"]
        assert everything(page) == states[-1]
    assert page.change("POST", "/api/undo", expects=404)["code"] == "not_found"
    assert journal(page)[0] == ("undo", "dashboard")


def test_what_was_created_is_forgotten_by_undo(page: Page) -> None:
    page.change("POST", "/api/entities", category="note", key="new", body={"content": "Fresh."})
    page.change("POST", "/api/undo")
    assert page.find("new", archived="only")["archive_reason"] == "undone"


def test_undo_is_refused_when_somebody_has_changed_the_memory_since(page: Page, db: str) -> None:
    seen = page.find("database")
    page.change("PATCH", entity_path(seen["id"]), revision=seen["revision"], body={"content": "Mine."})
    with Memory.open(db, embedding="off") as memory:
        memory.remember("decision", "database", {"content": "Theirs."})
    refused = page.change("POST", "/api/undo", expects=409)
    assert refused["current"]["content"] == "Theirs."
    assert page.find("database")["content"] == "Theirs."


def test_a_browser_undoes_only_what_it_did_itself(page: Page) -> None:
    page.change("POST", entity_path(page.find("database")["id"], "forget"))
    page.another().change("POST", "/api/undo", expects=404)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"color": "red"}, "color"),
        ({"key": "other"}, "key"),
        ({"certainty": 2}, "certainty"),
        ({"verified": "perhaps"}, "verified"),
        ({"body": "no json"}, "body_json"),
        ({"tags": 5}, "tags"),
        ({"valid_from_unix_ms": 9, "valid_to_unix_ms": 3}, "valid_to_unix_ms"),
    ],
)
def test_a_wrong_value_changes_nothing_and_is_named(page: Page, changes: dict[str, Json], word: str) -> None:
    before = page.find("database")
    refused = page.change("PATCH", entity_path(before["id"]), expects=400, revision=before["revision"], **changes)
    assert word in refused["error"]
    assert page.find("database") == before
    assert journal(page) == []


def test_an_edit_without_the_revision_that_was_read_is_refused(page: Page) -> None:
    refused = page.change("PATCH", entity_path(page.find("database")["id"]), expects=400, tags=["x"])
    assert "revision" in refused["error"]


@pytest.mark.parametrize("name", ["decay", "compact", "cohere"])
def test_a_pass_is_foreseen_by_name_and_then_does_what_was_foreseen(page: Page, db: str, name: str) -> None:
    with Memory.open(db, embedding="off", clock=FixedClock()) as memory:
        memory.remember("note", "faint", {"content": "Hardly there."}, importance=0.01)
        memory.remember("note", "kept", {"content": "Pinned."}, importance=0.01, always_on=True)
    foreseen = page.change("POST", f"/api/maintenance/{name}", dry_run=True)
    leaving = [one["key"] for one in foreseen["affected"] if one["archived"]]
    assert (leaving, foreseen["archived"]) == (["faint"], 1)
    assert page.find("faint")["archived"] is False
    page.change("POST", f"/api/maintenance/{name}", dry_run=False)
    assert page.find("faint", archived="only")["archived"] is True
    assert page.find("kept")["archived"] is False
    assert journal(page) == [("maintenance", "dashboard")]


def test_a_purge_names_what_would_go_and_wants_to_be_confirmed(page: Page) -> None:
    page.change("POST", entity_path(page.find("database")["id"], "forget"))
    foreseen = page.change("POST", "/api/maintenance/purge")
    assert [one["key"] for one in foreseen["affected"]] == ["database"]
    page.change("POST", "/api/maintenance/purge", expects=400, dry_run=False)
    assert page.find("database", archived="only")
    assert page.change("POST", "/api/maintenance/purge", dry_run=False, confirm="purge")["entities_deleted"] == 1
    assert page.get("/api/entities?archived=true")["total"] == 1
    page.change("POST", "/api/undo", expects=404)


@pytest.mark.parametrize("action", ["supersede", "merge"])
def test_a_contradiction_is_found_and_settled_by_hand(page: Page, db: str, action: str) -> None:
    with Memory.open(db, embedding="off") as memory:
        memory.remember("port", "db-port", {"content": "The database port is 5432."})
        memory.remember("port", "db-port-2", {"content": "The database port is 6543."})
    found = page.change("POST", "/api/maintenance/conflicts", dry_run=True, category="port")
    (pair,) = found["conflicts"]
    assert {pair["entity_a"]["key"], pair["entity_b"]["key"]} == {"db-port", "db-port-2"}
    old, new = page.find("db-port"), page.find("db-port-2")
    kept = page.change(
        "POST",
        "/api/maintenance/conflicts",
        dry_run=False,
        action=action,
        from_id=old["id"],
        to_id=new["id"],
        from_revision=old["revision"],
        to_revision=new["revision"],
        body={"content": "The database port is 6543, once 5432."},
    )
    merged = "The database port is 6543, once 5432." if action == "merge" else "The database port is 6543."
    assert (kept["key"], kept["content"]) == ("db-port-2", merged)
    assert [one["key"] for one in page.get("/api/entities?category=port")["items"]] == ["db-port-2"]
    page.change("POST", "/api/undo")
    assert page.find("db-port")["status"] == "active"
    assert page.find("db-port-2")["content"] == "The database port is 6543."


def test_the_other_passes_report_what_they_did(page: Page) -> None:
    assert page.change("POST", "/api/maintenance/reindex", dry_run=True)["reindexed"] == 2
    assert page.change("POST", "/api/maintenance/reindex", dry_run=False)["reindexed"] == 2
    foreseen = page.change("POST", "/api/maintenance/prune", dry_run=True, min_decay=0.6)
    assert ({one["key"] for one in foreseen["affected"]}, foreseen["examined"]) == ({"database", "store"}, 2)
    assert page.change("POST", "/api/maintenance/prune", dry_run=False, min_decay=0.6)["archived"] == 2
    assert "decay" in page.change("POST", "/api/maintenance/rewrite", expects=400)["hint"]


def test_hostile_markup_comes_back_as_data_and_as_nothing_else(page: Page) -> None:
    hostile = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'`${x}</title>"
    made = page.change(
        "POST",
        "/api/entities",
        category=hostile,
        key=hostile,
        body={"content": hostile, hostile: hostile, "error": hostile, "id": hostile, "revision": hostile},
        tags=[hostile],
        type=hostile,
        workspace_hash=hostile,
    )
    assert (made["content"], made["key"], made["tags"], made[hostile]) == (hostile, hostile, [hostile], hostile)
    assert made["id"].startswith("mem-")
    assert isinstance(made["revision"], int)
    for path in ("/api/entities", "/api/search?q=script", "/api/graph", "/api/journal", "/api/session"):
        reply = page.ask("GET", path)
        assert reply.headers["content-type"] == "application/json"
        assert reply.headers["x-content-type-options"] == "nosniff"
    refused = page.ask("GET", "/api/entities?sort=" + "%3Cscript%3E")
    assert (refused.status, refused.headers["content-type"]) == (400, "application/json")


def test_a_body_that_is_no_json_object_is_refused(page: Page) -> None:
    page.begin()
    for body in (b"[1]", b"{", b'"text"', b"\xff", b'{"a":"\xaa"}', b"[" * 100_000):
        reply = page.ask("POST", "/api/undo", body, X_CSRF_Token=page.csrf)
        assert reply.status == 400, body[:10]
    assert page.get("/api/stats")["total_entities"] == 2


def test_a_sealed_store_is_read_and_changed(start_web: StartWeb, tmp_path: Path) -> None:
    key = str(tmp_path / "key")
    write_key_file(key)
    path = str(tmp_path / "sealed.db")
    with Memory.open(path, embedding="off", encryption_key=key) as memory:
        memory.remember("decision", "database", {"content": "We chose SQLite."})
    page = start_web("--encryption-key", key, path=path)
    assert page.get("/api/overview")["store"]["encryption"] == "full"
    found = page.get("/api/search", q="sqlite")["items"][0]
    page.change("POST", entity_path(found["id"], "forget"))
    assert page.get("/api/verify")["ok"]
    assert page.find("database", archived="only")["content"] == "We chose SQLite."


def test_a_private_memory_of_another_agent_cannot_be_changed(page: Page, db: str) -> None:
    with Memory.open(db, embedding="off", agent_id="other") as memory:
        hidden = memory.remember("note", "theirs", {"content": "Mine."}, visibility="private").id
    path = entity_path(hidden)
    page.change("PATCH", path, expects=404, revision=1, body={"content": "Yours."})
    for verb in ("forget", "restore"):
        page.change("POST", f"{path}/{verb}", expects=404)
    mine = page.find("database")["id"]
    page.change("POST", f"{path}/supersede", expects=404, to_id=mine)
    page.change("POST", entity_path(mine, "supersede"), expects=404, to_id=hidden)
    page.change("POST", entity_path(mine, "links"), expects=404, target_id=hidden)
    refused = page.change("POST", "/api/entities", expects=409, category="note", key="theirs", body={"content": "x"})
    assert "current" not in refused
    with Memory.open(db, embedding="off", agent_id="other") as memory:
        assert memory.get_entity(hidden).body_json == '{"content":"Mine."}'
