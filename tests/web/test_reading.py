"""What the pages read: everything of a store, in pages, filtered, and nothing that is another agent's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest

from mimir import Memory
from mimir.model import Filter, Order, Sort
from mimir.store.sqlite import SqliteStore
from tests.web.pages import Page, StartWeb, entity_path

PRIVATE_READS = ["search?q=zeppelin", "entities?archived=true&limit=1000", "time?q=zeppelin", "graph?limit=5000"]
READS = ["overview", "stats", "entities", "search?q=sqlite", "journal", "changes", "verify", "graph", "time", "state"]


NAMES = {"changed": "recorded"}


def keys(answer: dict[str, Any]) -> list[str]:
    return [one["key"] for one in answer["items"]]


def test_the_session_tells_who_reads_and_what_there_is(page: Page) -> None:
    told = page.another().begin()
    assert (told["user"], told["read_only"], told["auth"]) == ("mine", True, False)
    assert told["categories"] == ["decision", "fact"]
    assert {one["workspace_hash"]: one["memories"] for one in told["workspaces"]} == {"": 2, "ws-a": 7, "ws-b": 1}


def test_the_session_tells_of_what_another_process_has_stored_since(start_web: StartWeb, db: str) -> None:
    page = start_web()
    assert page.begin()["categories"] == []
    with Memory.open(db, embedding="off") as other:
        for number in range(2):
            other.remember(f"category {number}", "a", {"content": "new"}, workspace_hash="w")
            told = page.begin()
            assert told["categories"] == [f"category {one}" for one in range(number + 1)]
            assert told["workspaces"] == [{"workspace_hash": "w", "memories": number + 1}]


def test_the_overview_counts_everything(page: Page) -> None:
    told = page.get("/api/overview")
    assert told["totals"] == {
        "memories": 10,
        "archived": 1,
        "versions": 1,
        "links": 1,
        "journal": 2,
        "state": 1,
        "vectors": 0,
        "pending": told["totals"]["pending"],
    }
    assert sum(one["created"] for one in told["growth"]) == told["growth"][-1]["total"] == 11
    assert told["categories"] == [{"category": "fact", "count": 9}, {"category": "decision", "count": 2}]
    assert sum(told["decay"]) == 10
    assert told["store"]["encryption"] == "none"
    assert told["health"]["ok"]
    assert page.get("/api/overview", workspace="ws-a")["totals"]["memories"] == 7


def test_the_originals_shape_of_the_counts_is_kept(page: Page) -> None:
    told = page.get("/api/stats")
    assert (told["total_entities"], told["by_category"], told["total_journal_events"]) == (
        11,
        {"decision": 2, "fact": 9},
        2,
    )


@pytest.mark.parametrize("sort", ["accessed", "created", "changed", "strength", "uses", "key"])
@pytest.mark.parametrize("order", ["asc", "desc"])
def test_pages_follow_each_other_without_gap_or_overlap_in_every_order(page: Page, sort: str, order: str) -> None:
    whole = page.get("/api/entities", sort=sort, order=order, archived="true")
    seen: list[str] = []
    after: str | None = ""
    while after is not None:
        part = page.get("/api/entities", sort=sort, order=order, archived="true", limit=3, after=after)
        assert part["total"] == 11
        seen += [one["id"] for one in part["items"]]
        after = part["next"]
    assert seen == [one["id"] for one in whole["items"]]
    assert len(set(seen)) == 11


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"category": "decision"}, {"database", "cache"}),
        ({"tag": "speed"}, {"cache"}),
        ({"tag": "spee"}, set()),
        ({"pinned": "true"}, {"pinned"}),
        ({"archived": "only"}, {"gone"}),
        ({"workspace": ""}, {"database", "cache"}),
        ({"workspace": "ws-b"}, {"pinned"}),
        ({"workspace": "nowhere"}, set()),
        ({"agent": "nobody"}, set()),
        ({"verified": "true"}, set()),
        ({"status": "deprecated"}, set()),
        ({"type": "insight", "workspace": "ws-b"}, {"pinned"}),
    ],
)
def test_a_list_is_filtered_and_its_total_is_that_of_the_filter(
    page: Page, query: dict[str, str], found: set[str]
) -> None:
    told = page.get(f"/api/entities?{urlencode(query)}")
    assert (set(keys(told)), told["total"]) == (found, len(found))


def test_an_offset_pages_as_the_original_did(page: Page) -> None:
    whole = keys(page.get("/api/entities"))
    assert keys(page.get("/api/entities", limit=4, offset=4)) == whole[4:8]


@pytest.mark.parametrize(("limit", "count"), [(-5, 1), (0, 1), (3, 3), (10**9, 10)])
def test_a_limit_is_moved_to_its_bounds(page: Page, limit: int, count: int) -> None:
    assert len(page.get("/api/entities", limit=limit)["items"]) == count


def test_a_memory_is_shown_with_its_links_both_ways(page: Page) -> None:
    database, cache = page.find("database"), page.find("cache")
    told = page.get(entity_path(database["id"]))
    assert told["content"] == "We chose SQLite for its single file."
    assert [(link["target_id"], link["relationship"]) for link in told["links"]] == [(cache["id"], "depends_on")]
    assert told["links"][0]["target"]["key"] == "cache"
    back = page.get(entity_path(cache["id"]))["backlinks"]
    assert [(link["source_id"], link["source"]["key"]) for link in back] == [(database["id"], "database")]
    assert told["revision"] == database["revision"] > 0


def test_what_a_memory_was_comes_newest_first_and_begins_with_what_it_is(page: Page) -> None:
    told = page.get(entity_path(page.find("database")["id"], "versions"))
    assert [one["content"] for one in told["items"]] == ["We chose SQLite for its single file.", "We chose PostgreSQL."]
    assert told["items"][0]["invalidated_at_unix_ms"] is None
    assert told["items"][1]["invalidated_at_unix_ms"] == told["items"][0]["recorded_at_unix_ms"]
    assert told["total"] == 2
    second = page.get(entity_path(page.find("database")["id"], "versions"), offset=1, limit=1)
    assert [one["content"] for one in second["items"]] == ["We chose PostgreSQL."]


def test_a_search_says_where_the_words_stand_in_the_evidence(page: Page) -> None:
    told = page.get("/api/search", q="choosing sqlite", mode="fts5")
    found = told["items"][0]
    assert (found["key"], told["mode"]) == ("database", "fts5")
    text = found["evidence"].encode("utf-16-le")
    marked = [text[2 * start : 2 * end].decode("utf-16-le") for start, end in found["spans"]]
    assert "SQLite" in marked
    assert found["scores"]["keyword"] > 0
    assert keys(page.get("/api/search", q="read", workspace="ws-b")) == ["pinned"]
    assert keys(page.get("/api/search", q="read", workspace="ws-a")) == []


def test_the_journal_comes_newest_first_and_page_by_page(page: Page) -> None:
    told = page.get("/api/journal", limit=1)
    assert [one["event_type"] for one in told["items"]] == ["looked"]
    assert told["total"] == 2
    rest = page.get("/api/journal", before=told["next"])
    assert [one["event_type"] for one in rest["items"]] == ["deployed"]
    assert rest["next"] is None
    assert page.get("/api/journal", q="RELEASE")["total"] == 1
    assert page.get("/api/journal", q="100%_")["total"] == 0
    assert page.get("/api/journal", type="looked")["total"] == 1


def test_the_chain_of_the_journal_is_verified(page: Page) -> None:
    told = page.get("/api/verify")
    assert (told["ok"], told["events"], told["first_break"]) == (True, 2, None)
    assert len(told["head"]) == 64


def test_the_graph_has_no_edge_without_both_of_its_ends(page: Page) -> None:
    told = page.get("/api/graph", limit=500)
    ids = {node["id"] for node in told["nodes"]}
    assert [(edge["relationship"], edge["from"] in ids, edge["to"] in ids) for edge in told["edges"]] == [
        ("depends_on", True, True)
    ]
    assert (told["total_nodes"], told["truncated"], told["relations"]) == (11, True, ["depends_on"])
    assert {node["label"]: node["degree"] for node in told["nodes"]}["cache"] == 1


def test_the_graph_around_a_memory_holds_its_neighbours(page: Page) -> None:
    told = page.get("/api/graph", focus=page.find("cache")["id"])
    assert [node["label"] for node in told["nodes"]] == ["cache", "database"]
    assert page.get("/api/graph", relation="depends_on", limit=1)["edges"] == []


def test_an_instant_shows_what_was_believed_then(page: Page) -> None:
    versions = page.get(entity_path(page.find("database")["id"], "versions"))["items"]
    told = page.get("/api/time", at_unix_ms=versions[1]["recorded_at_unix_ms"])
    assert [(one["key"], one["content"]) for one in told["items"]] == [("database", "We chose PostgreSQL.")]
    assert page.get("/api/time", at_unix_ms=1)["items"] == []


def test_state_is_listed_by_the_beginning_of_its_keys(page: Page) -> None:
    told = page.get("/api/state", prefix="session.")
    assert [(one["key"], one["value"]) for one in told["items"]] == [("session.step", {"n": 1})]
    assert page.get("/api/state", prefix="x")["total"] == 0


def test_no_read_shows_a_private_memory_of_another_agent(page: Page, filled: str) -> None:
    with Memory.open(filled, embedding="off", agent_id="other") as memory:
        hidden = memory.recall("zeppelin", reinforce=False).items[0].id
    for path in [
        *READS,
        "search?q=zeppelin",
        "entities?archived=true&limit=1000",
        "time?q=zeppelin",
        "graph?limit=5000",
    ]:
        answer = page.ask("GET", f"/api/{path}")
        assert answer.status == 200
        for word in ("zeppelin", "theirs", hidden):
            assert word not in answer.body.decode().replace("q=zeppelin", ""), path
    for rest in ((), ("versions",)):
        page.get(entity_path(hidden, *rest), expects=404)
    page.get("/api/graph", expects=404, focus=hidden)


def test_reading_changes_nothing(start_web: StartWeb, db: str) -> None:
    with Memory.open(db, embedding="off") as memory:
        kept = memory.remember("c", "k", {"content": "tea"})
    page = start_web()
    before = page.get(entity_path(kept.id))
    for path in READS:
        assert page.ask("GET", f"/api/{path}").status == 200
    assert page.get("/api/search", q="tea")["items"]
    page.server.close()
    with Memory.open(db, embedding="off") as memory:
        after = memory.get_entity(kept.id)
    assert (after.retrieval_count, after.last_accessed_unix_ms) == (
        before["retrieval_count"],
        before["last_accessed_unix_ms"],
    )


@pytest.mark.parametrize(
    ("status", "path"),
    [
        (400, "/api/entities?limit=many"),
        (400, "/api/entities?sort=color"),
        (400, "/api/entities?archived=perhaps"),
        (400, "/api/entities?after=%00"),
        (400, "/api/entities?after=WzEsIngiXQ"),
        (400, "/api/search?mode=magic"),
        (400, "/api/time?at_unix_ms=soon"),
        (400, "/api/time?at_unix_ms=99999999999999999999999"),
        (404, "/api/entities/no-such-id"),
        (404, "/api/entities/%2e%2e%2fetc"),
        (404, "/api/nothing"),
        (404, "/nothing"),
        (404, "/static/../app.py"),
        (404, "/static/%2e%2e/app.py"),
        (405, "/api/undo"),
    ],
)
def test_a_wrong_question_is_answered_with_what_was_wrong(page: Page, status: int, path: str) -> None:
    reply = page.ask("GET", path)
    assert reply.status == status
    if path.startswith("/api/"):
        assert {"error", "code", "hint"} <= page.get(path, expects=status).keys()


@pytest.mark.parametrize("by", ["accessed", "created", "changed", "key"])
@pytest.mark.parametrize("descending", [True, False])
def test_the_lists_are_served_from_their_indexes(filled: str, by: Sort, descending: bool) -> None:
    with Memory.open(filled, embedding="off") as memory, memory.store.reading():
        plans = explained(memory, lambda: memory.store.listing(Filter(), Order(by=by, descending=descending), 2, 0))
    assert any("SCAN e USING COVERING INDEX entities_facets" in plan for plan in plans)
    assert any(f"USING INDEX entities_{NAMES.get(by, by)}" in plan for plan in plans)
    assert not any("TEMP B-TREE" in plan for plan in plans)


def test_what_is_counted_is_read_from_an_index(filled: str) -> None:
    with Memory.open(filled, embedding="off") as memory, memory.store.reading():
        plans = explained(memory, lambda: memory.store.stats(0, Filter(include_archived=True)))
        plans += explained(memory, lambda: memory.store.created_by_day(Filter(include_archived=True)))
    looks = [plan for plan in plans if "SCAN e " in plan]
    assert looks
    assert all("COVERING INDEX entities_facets" in plan for plan in looks)


def explained(memory: Memory, read: Callable[[], object]) -> list[str]:
    """Return how SQLite goes through the tables for every statement that a read runs."""
    store = memory.store
    assert isinstance(store, SqliteStore)
    statements: list[str] = []

    def note(_cursor: object, sql: str, _bindings: object) -> bool:
        statements.append(sql)
        return True

    store.database.connection.exec_trace = note
    read()
    store.database.connection.exec_trace = None
    plans = []
    for sql in statements:
        bindings = [None] * sql.count("?")
        rows = store.database.connection.execute(f"EXPLAIN QUERY PLAN {sql}", bindings).fetchall()
        plans += [str(row[-1]) for row in rows]
    return plans
