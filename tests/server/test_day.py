"""A day of an agent's work through one real server: every tool is used, and at the end everything adds up."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from mimir.catalogue import load_catalogue
from scripts.examples import language_model
from tests.server.client import PATIENCE_S, Client, Start, request


class Day:
    """The agent: it calls tools, remembers which, and fails on the first failure."""

    def __init__(self, server: Client) -> None:
        self.server = server
        self.used: set[str] = set()

    def __call__(self, tool: str, **arguments: object) -> dict[str, Any]:
        self.used.add(f"mimir_{tool}")
        return self.server.use(f"mimir_{tool}", **arguments)

    def remember(self, category: str, key: str, text: str, **more: object) -> str:
        stored = self("remember", category=category, key=key, body_json=json.dumps({"content": text}), **more)
        assert stored["action"] == "created"
        entity_id = stored["id"]
        assert isinstance(entity_id, str)
        return entity_id


@pytest.fixture
def day(start: Start, tmp_path: Path) -> Any:  # noqa: ANN401 - a generator fixture
    (tmp_path / "notes").mkdir()
    note = "# On call\n\nThe pager goes to Bea in even weeks and to Cem in odd ones.\n"
    (tmp_path / "notes" / "on-call.md").write_text(note, encoding="utf-8")
    configuration = f"connectors:\n  file_watcher:\n    enabled: true\n    paths: ['{tmp_path / 'notes'}']\n"
    (tmp_path / "connectors.yaml").write_text(configuration, encoding="utf-8")
    with closing(sqlite3.connect(tmp_path / "old.db")) as old, old:
        old.execute("CREATE TABLE memories (id TEXT, content TEXT, summary TEXT, created_at_unix_ms INTEGER)")
        old.execute("INSERT INTO memories VALUES ('m-1', 'Backups run at two in the morning.', 'backups', 1)")
    with language_model() as endpoint:
        yield Day(start("--llm-endpoint", endpoint, "--connectors-config", str(tmp_path / "connectors.yaml")))


def test_a_day_of_work_uses_every_tool_and_adds_up(day: Day, db: str, tmp_path: Path) -> None:
    look_around(day, tmp_path)
    database, ledger = work(day)
    ask(day, ledger)
    change_mind(day)
    share(day, tmp_path)
    tidy_up(day, database)
    assert day.used == {entry["tool"]["name"] for entry in load_catalogue().values()}
    assert_adds_up(day, db)


def look_around(day: Day, tmp_path: Path) -> None:
    assert day("health")["status"] == "healthy"
    assert day("stats")["total_entities"] == 0
    assert day("migrate", from_path=str(tmp_path / "old.db"))["entities_created"] == 1
    assert day("ingest", connector="file_watcher")["ingested"] == 1
    (tmp_path / "decision.txt").write_text("We bill in the first hour of each month.", encoding="utf-8")
    assert day("ingest_file", path=str(tmp_path / "decision.txt"), category="decision")["action"] == "created"


def work(day: Day) -> tuple[str, str]:
    database = day.remember("decision", "database", "The ledger lives in PostgreSQL.", tags=["storage"])
    ledger = day.remember("decision", "ledger", "Every booking is written twice.", tags=["storage"])
    day.remember("preference", "reviews", "Bea wants small pull requests.", layer="world")
    day.remember("fact", "price", "A seat costs 12 euros a month.", certainty=0.9, tags=["pricing"])
    day.remember("fact", "price-old-page", "A seat costs 10 euros a month.", certainty=0.3, tags=["pricing"])
    runbook = {"content": "Stop the queue first.", "recall_when": ["deploying billing"]}
    day("remember", category="runbook", key="deploy", body_json=json.dumps(runbook), always_on=True)
    day("link", from_category="decision", from_key="ledger", to_id=database, relationship="depends_on")
    walk = day("traverse", category="decision", key="ledger")
    assert [node["id"] for node in walk["traversed"]] == [database]
    event = day("journal", event_type="decision", acted={"chosen": "PostgreSQL"}, entity_id=database)
    assert day("timeline", entity_id=database)["items"][0]["id"] == event["id"]
    day("state_set", key="task/current", value_json='"move the ledger"', ttl_seconds=3_600)
    assert day("state_get", key="task/current")["value"] == '"move the ledger"'
    return database, ledger


def ask(day: Day, ledger: str) -> None:
    day("embed", batch_category="decision")
    assert day("recall", query="where do we keep the bookings")["items"]
    assert day("semantic_search", query="size of code reviews", limit=1)["items"][0]["key"] == "reviews"
    assert [item["key"] for item in day("recall_layer", layer="world")["items"]] == ["reviews"]
    assert [item["key"] for item in day("recall_when", context="I am deploying billing now")["items"]] == ["deploy"]
    assert "Stop the queue first." in day("context")["markdown"]
    assert day("get_entity", id=ledger)["key"] == "ledger"
    assert day("ask", query="Which database do we use?")["sources"]
    spoken = "I prefer tea. We deployed the ledger on 3 March 2026."
    assert {item["kind"] for item in day("extract", text=spoken)["items"]} >= {"preference"}


def change_mind(day: Day) -> None:
    before = int(time.time() * 1000)
    day("remember", category="decision", key="database", body_json='{"content": "The ledger lives in SQLite."}')
    assert day("history", category="decision", key="database")["total"] == 1
    past = day("as_of", category="decision", key="database", as_of_unix_ms=before - 1)
    assert "PostgreSQL" in past["body_json"]
    (conflict,) = day("conflicts", category="fact")["conflicts"]
    assert {conflict["entity_a"]["key"], conflict["entity_b"]["key"]} == {"price", "price-old-page"}
    day("supersede", from_category="fact", from_key="price-old-page", to_category="fact", to_key="price")
    day("score", category="fact", key="price", score=0.95)
    corrected = day(
        "correct",
        wrong_approach="Round each booking",
        user_correction="Round only the invoice",
        task_context="Billing in cents",
    )
    assert day("get_entity", id=corrected["entity_id"])["category"] == "correction"
    day("synthesize", session_content="We renamed a table in a migration and it locked.", session_id="s1")
    day("bench", task_description="move the ledger", turns_taken=12, tokens_used=9_000, memory_recall_used=True)


def share(day: Day, tmp_path: Path) -> None:
    day("share", category="decision", key="ledger", to_workspace="audit")
    day("federate", from_workspace="audit", to_workspace="archive")
    assert "decision" in day("workspace_list")["categories"]
    vault = str(tmp_path / "vault")
    exported = day("vault_export", vault_dir=vault)
    assert exported["exported"] == len(list(Path(vault).glob("*.md")))
    assert day("vault_import", vault_dir=vault)["errors"] == []


def tidy_up(day: Day, database: str) -> None:
    assert day("forget", category="preference", key="reviews")["archived"] is True
    day("unlink", from_category="decision", from_key="ledger", to_id=database)
    assert day("state_list", prefix="task/")["keys"] == ["task/current"]
    assert day("state_delete", key="task/current")["found"] is True
    for tool in ("decay", "cohere", "autocohere", "compact"):
        day(tool)
    day("prune", min_decay=0.0)
    day("maintenance", all=True)
    assert day("purge")["entities_deleted"] == 1
    day("reindex")


def assert_adds_up(day: Day, db: str) -> None:
    stats, health = day("stats"), day("health")
    assert (health["status"], health["db_path"]) == ("healthy", db)
    day.server.close()
    with closing(sqlite3.connect(db)) as file:

        def count(sql: str) -> int:
            return int(file.execute(sql).fetchone()[0])

        assert stats["total_entities"] == count("SELECT count(*) FROM entities") == sum(stats["by_category"].values())
        assert stats["total_entities"] == sum(stats["by_type"].values()) == sum(stats["by_layer"].values())
        assert stats["active_entities"] == count("SELECT count(*) FROM entities WHERE archived = 0")
        assert stats["total_journal_events"] == count("SELECT count(*) FROM journal")
        assert stats["total_versions"] == count("SELECT count(*) FROM versions")
        assert stats["total_links"] == count("SELECT count(*) FROM links")
        assert stats["total_state_entries"] == count("SELECT count(*) FROM state") == 0
        assert (
            count("SELECT count(*) FROM passages WHERE owner > 0 AND owner NOT IN (SELECT number FROM entities)") == 0
        )
    verified = subprocess.run(
        [sys.executable, "-m", "mimir", "verify", "--db", db], capture_output=True, timeout=PATIENCE_S, check=False
    )
    assert (verified.returncode, verified.stderr) == (0, b"")


def test_the_list_names_every_tool_once(day: Day) -> None:
    listed = [tool["name"] for tool in day.server.ask(request(1, "tools/list"))["result"]["tools"]]
    assert sorted(listed) == sorted(set(listed))
    assert set(listed) == {entry["tool"]["name"] for entry in load_catalogue().values()}
