"""Files that the Rust Mimir wrote: opened, they are stores with everything that was in them, and a copy stays."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import apsw
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mimir import Busy, Locked, Memory, MimirError, StorageFailure, retrieval
from mimir.journaling import verify
from mimir.model import Entity, EventFilter, Filter, Link
from mimir.rules.chain import Payload, read_payload
from mimir.store.sqlite import filling, original, schema
from tests.conftest import OpenMemory
from tests.doubles import FixedClock, WordEmbedder
from tests.server.client import SERVE, call, wire
from tests.store.original_files import (
    CREATED_MS,
    OriginalFile,
    audit_hash,
    first_file,
    original_file,
    siphash_1_3,
)

SEALED = "AAECAwQFBgcICQoLY6OIUic4pOv9wNJazf+T7nQE0jOpkgk="
EVERYTHING = Filter(include_archived=True, every_caller=True)

Damage = Callable[[Path], None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "store"
    folder.mkdir()
    return folder


@pytest.fixture
def path(folder: Path) -> Path:
    return folder / "mimir.db"


def fingerprint(folder: Path) -> dict[str, str]:
    """Return the hash of every file in a folder, but for the shared memory of readers."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
        if not path.name.endswith("-shm")
    }


def tables(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as connection:
        return {row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}


def by_key(memory: Memory) -> dict[str, Any]:
    return {stored.entity.key: stored.entity for batch in memory.store.scan(EVERYTHING) for stored in batch}


def entity(memory: Memory, entity_id: str) -> Entity:
    stored = memory.store.get(entity_id)
    assert stored is not None
    return stored.entity


def fill(file: OriginalFile, count: int, words: int = 6) -> None:
    """Add memories, each with a version, an event and a state entry."""
    chance = random.Random(count)
    for number in range(count):
        body = {"content": " ".join(f"w{chance.randrange(5_000)}" for _ in range(words))}
        added = file.entity(f"k{number}", body)
        file.past(added, {"content": f"former text {number}"}, CREATED_MS - 10, CREATED_MS - 5, key=f"k{number}")
        file.event(entity_id=added, evaluated_json=json.dumps({"n": number}))
        file.state(f"s{number}", str(number))


# --- the stand-in itself


def test_the_hashes_of_the_stand_in_are_the_published_ones() -> None:
    assert siphash_1_3(b"") == 15_130_871_412_783_076_140
    assert audit_hash("genesis", "jrn-000000000001", 1_782_000_000_000) == "6a831f15708b79c6"


# --- entities

RICH = {
    "id": "mem-Grüße-日記",
    "category": "Entscheidung/日本",
    "status": "deprecated",
    "type": "fact",
    "tags": '["leaf", "日記", "a,b"]',
    "decay_score": 0.25,
    "retrieval_count": 7,
    "layer": "core",
    "topic_path": "tea/green",
    "archived": 1,
    "archive_reason": "decay threshold",
    "verified": 1,
    "source": "cli-write",
    "created_at_unix_ms": 1_700_000_000_000,
    "last_accessed_unix_ms": 1_700_000_900_000,
}
LATER = {
    "always_on": 1,
    "certainty": 0.875,
    "workspace_hash": "ws-1",
    "agent_id": "ada",
    "visibility": "private",
    "valid_from_unix_ms": 1_600_000_000_000,
    "valid_to_unix_ms": 1_900_000_000_000,
    "recorded_at_unix_ms": 1_700_000_500_000,
}


@pytest.mark.parametrize("upgraded", [False, True], ids=["new", "upgraded"])
@pytest.mark.parametrize("user_version", [2, 15])
def test_every_field_of_an_entity_is_kept(
    open_memory: OpenMemory, path: Path, user_version: int, upgraded: bool
) -> None:
    with original_file(path, user_version, upgraded=upgraded) as file:
        file.entity("schlüssel", '{"content":  "Grün — 緑茶 \\u0000"}', **RICH, **LATER)
    found = entity(open_memory(str(path)), str(RICH["id"]))
    expected = {**RICH, **LATER, "archived": True, "verified": True, "always_on": True}
    assert {name: getattr(found, name) for name in expected if name != "tags"} == {
        name: value for name, value in expected.items() if name != "tags"
    }
    assert found.tags == ("leaf", "日記", "a,b")
    assert found.key == "schlüssel"
    assert found.body_json == '{"content":  "Grün — 緑茶 \\u0000"}'


@pytest.mark.parametrize("user_version", [0, 1])
def test_columns_that_an_older_file_lacks_get_their_defaults(
    open_memory: OpenMemory, path: Path, user_version: int
) -> None:
    with original_file(path, user_version) as file:
        added = file.entity("k", {"content": "green tea"}, workspace_hash="ws")
    found = entity(open_memory(str(path)), added)
    assert (found.certainty, found.workspace_hash, found.visibility) == (0.5, "ws", "workspace")
    assert found.recorded_at_unix_ms == found.created_at_unix_ms == CREATED_MS + 1_000
    assert found.valid_from_unix_ms is None


def test_empty_columns_get_their_defaults(open_memory: OpenMemory, path: Path) -> None:
    nullable = ["status", "type", "tags", "decay_score", "retrieval_count", "layer", "topic_path", "archived", "links"]
    nullable += ("archive_reason", "verified", "source", "always_on", "certainty", "workspace_hash", "agent_id")
    with original_file(path) as file:
        added = file.entity("k", "{}", visibility=None, **dict.fromkeys(nullable))
    found = entity(open_memory(str(path)), added)
    assert (found.status, found.type, found.layer, found.source) == ("active", "insight", "working", "agent")
    assert (found.tags, found.links, found.decay_score, found.certainty) == ((), (), 1.0, 0.5)
    assert (found.archived, found.verified, found.workspace_hash, found.visibility) == (
        False,
        False,
        "",
        "workspace",
    )


@pytest.mark.parametrize(
    "body",
    ["Tea is brewed at eighty degrees.", "", "{broken", '{"a": 1} trailing', "日記 — no JSON", "{'a': 1}", "a" * 64],
    ids=repr,
)
def test_a_body_that_is_no_json_becomes_the_content_of_one(open_memory: OpenMemory, path: Path, body: str) -> None:
    with original_file(path) as file:
        added = file.entity("k", body)
    memory = open_memory(str(path))
    assert json.loads(entity(memory, added).body_json) == {"content": body}


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ('["a", "b"]', ("a", "b")),
        ("a, b", ("a", "b")),
        ('"a", "b"', ('"a"', '"b"')),
        ('["a", 5]', ("a", "5")),
        ("[]", ()),
        ("", ()),
        ("{}", ()),
    ],
)
def test_tags_are_read_as_json_or_as_a_comma_list(
    open_memory: OpenMemory, path: Path, tags: str, expected: tuple[str, ...]
) -> None:
    with original_file(path) as file:
        added = file.entity("k", "{}", tags=tags)
    assert entity(open_memory(str(path)), added).tags == expected


@pytest.mark.parametrize("score", [0.0, 1.0, 1.75, -3.0, 9e999, "high"])
def test_scores_are_brought_within_their_bounds(open_memory: OpenMemory, path: Path, score: object) -> None:
    with original_file(path) as file:
        added = file.entity("k", "{}", decay_score=score, certainty=score)
    found = entity(open_memory(str(path)), added)
    assert 0.0 <= found.decay_score <= 1.0
    assert 0.0 <= found.certainty <= 1.0


def test_layers_are_kept_by_their_stored_names(open_memory: OpenMemory, path: Path) -> None:
    with original_file(path) as file:
        for layer in ("buffer", "working", "core", "world", "episodic", "semantic", "mine"):
            file.entity(layer, "{}", layer=layer)
    layers = {key: entity.layer for key, entity in by_key(open_memory(str(path))).items()}
    assert layers == {
        "buffer": "buffer",
        "working": "working",
        "core": "core",
        "world": "core",
        "episodic": "buffer",
        "semantic": "working",
        "mine": "mine",
    }


def test_an_explicit_score_stays_a_floor(open_memory: OpenMemory, path: Path) -> None:
    with original_file(path, 15) as file:
        scored = file.entity("scored", "{}", importance=0.75)
        other = file.entity("other", "{}")
    store = open_memory(str(path)).store
    floors = [stored.score_floor for entity_id in (scored, other) if (stored := store.get(entity_id)) is not None]
    assert floors == [0.75, None]


def test_the_same_key_in_two_workspaces_is_two_memories(open_memory: OpenMemory, path: Path) -> None:
    with original_file(path, 4) as file:
        file.entity("k", {"content": "here"}, workspace_hash="here")
        file.entity("k", {"content": "there"}, workspace_hash="there")
    memory = open_memory(str(path))
    assert [stored.entity.workspace_hash for stored in memory.store.find("note", "k", None)] == ["here", "there"]


def test_rows_that_share_an_identity_are_all_kept(open_memory: OpenMemory, path: Path) -> None:
    with original_file(path) as file:
        file.connection.execute("DROP INDEX idx_entities_category_key")
        first = file.entity("k", {"content": "first"})
        second = file.entity("k", {"content": "second"})
    keys = {entity.id: entity.key for entity in by_key(open_memory(str(path))).values()}
    assert keys == {first: "k", second: f"k~{second}"}


def test_the_state_digest_is_the_same_before_and_after(open_memory: OpenMemory, path: Path) -> None:
    with original_file(path) as file:
        file.connection.execute(
            "INSERT INTO entities (id, key, body_json, created_at_unix_ms, last_accessed_unix_ms)"
            " VALUES ('a', 'k1', '{}', 1, 1), ('b', 'k2', '{\"x\":1}', 1, 1)"
        )
    assert open_memory(str(path)).store.digest(str) == ("6025dc011d83d95e", 2)


# --- search


def test_memories_are_found_by_words_and_archived_ones_only_when_asked(open_memory: OpenMemory, path: Path) -> None:
    with original_file(path) as file:
        file.entity("live", {"content": "green tea is brewed at eighty degrees"})
        file.entity("gone", {"content": "black tea is brewed at ninety degrees"}, archived=1, archive_reason="manual")
        file.entity("old", {"content": "white tea"}, status="deprecated")
    memory = open_memory(str(path), embedding="off")
    assert [hit.key for hit in memory.recall("tea").items] == ["live"]
    everything = memory.recall("tea", include_archived=True).items
    assert {hit.key: hit.archived for hit in everything} == {"live": False, "gone": True, "old": False}
    assert [hit.archive_reason for hit in everything if hit.archived] == ["manual"]


def test_vectors_are_made_anew(open_memory: OpenMemory, path: Path) -> None:
    with original_file(path) as file:
        file.entity("tea", {"content": "green tea is brewed"})
        file.entity("sea", {"content": "the harbour lies in fog"})
    memory = open_memory(str(path))
    assert (memory.stats().embedded, memory.stats().pending_embeddings) == (0, 2)
    assert memory.recall("brewed tea", mode="dense").items[0].key == "tea"
    assert (memory.stats().embedded, memory.stats().pending_embeddings) == (2, 0)


class Signalling(WordEmbedder):
    """An embedder that tells when it has embedded a text about tea."""

    def __init__(self) -> None:
        super().__init__()
        self.done = threading.Event()

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        vectors = super().embed(texts)
        if any("green tea" in text for text in texts):
            self.done.set()
        return vectors


def test_vectors_that_a_recall_does_not_wait_for_are_made_behind_it(
    open_memory: OpenMemory, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with original_file(path) as file:
        file.entity("tea", {"content": "green tea is brewed"})
    monkeypatch.setattr(retrieval, "DRAIN_S", 0.0)
    embedder = Signalling()
    assert open_memory(str(path), embedder=embedder).recall("brewed").pending == 1
    assert embedder.done.wait(60)


def test_a_new_memory_is_compared_with_the_converted_ones(open_memory: OpenMemory, path: Path) -> None:
    with original_file(path) as file:
        added = file.entity("k1", {"content": "green tea is brewed at eighty degrees for three minutes"})
    result = open_memory(str(path)).remember(
        "note", "k2", {"content": "Green tea is brewed at eighty degrees for three minutes!"}
    )
    assert isinstance(result.similar_to, tuple)
    assert [similar.id for similar in result.similar_to] == [added]


# --- links


def test_links_are_kept_with_every_relation_and_to_what_is_gone(open_memory: OpenMemory, path: Path) -> None:
    links = [
        {"target_id": "mem-2", "relationship": "depends_on", "weight": 0.9},
        {"target_id": "mem-2", "relationship": "blocks", "weight": 0.25},
        {"target_id": "mem-2", "relationship": "blocks", "weight": 0.125},
        {"target_id": "mem-gone", "relationship": "related"},
        "mem-3",
        {"target_id": "mem-4", "relationship": "weighs too much", "weight": 10**400},
        {"relationship": "to nothing"},
    ]
    with original_file(path) as file:
        file.entity("k1", "{}", id="mem-1", links=json.dumps(links))
        file.entity("k2", "{}", id="mem-2", links="no JSON")
    memory = open_memory(str(path))
    assert set(entity(memory, "mem-1").links) == {
        Link(target_id="mem-2", relationship="depends_on", weight=0.9),
        Link(target_id="mem-2", relationship="blocks", weight=0.25),
        Link(target_id="mem-gone", relationship="related", weight=0.5),
        Link(target_id="mem-3", relationship="related", weight=0.5),
        Link(target_id="mem-4", relationship="weighs too much", weight=0.5),
    }
    assert entity(memory, "mem-2").links == ()


# --- versions


def test_the_history_of_a_memory_answers_for_every_instant(open_memory: OpenMemory, path: Path) -> None:
    with original_file(path) as file:
        added = file.entity("k", {"content": "third"}, recorded_at_unix_ms=CREATED_MS + 300)
        # Not in the order of time, as no one promised.
        file.past(added, {"content": "second"}, CREATED_MS + 200, CREATED_MS + 300, tags='["t"]')
        file.past(added, {"content": "first"}, None, CREATED_MS + 200)
    memory = open_memory(str(path))
    bodies = {
        instant: memory.as_of("note", "k", CREATED_MS + instant).body_json for instant in (0, 199, 200, 299, 300, 10**9)
    }
    assert [json.loads(str(body))["content"] for body in bodies.values()] == [
        "first",
        "first",
        "second",
        "second",
        "third",
        "third",
    ]
    assert not memory.as_of("note", "k", CREATED_MS - 1).found
    history = memory.history("note", "k")
    assert [version.id for version in history.versions] == [added, added]
    assert history.versions[0].tags == ("t",)
    found = memory.recall("second", as_of_unix_ms=CREATED_MS + 250).items
    assert [json.loads(hit.body_json)["content"] for hit in found] == ["second"]


def test_a_later_status_is_no_new_text(open_memory: OpenMemory, path: Path) -> None:
    with original_file(path) as file:
        added = file.entity("k", '{"content":"one"}', status="deprecated", recorded_at_unix_ms=CREATED_MS + 300)
        file.past(added, '{"content":"one"}', CREATED_MS, CREATED_MS + 300)
    memory = open_memory(str(path))
    assert memory.as_of("note", "k", CREATED_MS + 100).status == "active"
    assert (memory.stats().total_versions, memory.stats().passages) == (1, 1)


def test_versions_of_one_millisecond_get_intervals_of_their_own(open_memory: OpenMemory, path: Path) -> None:
    with original_file(path) as file:
        added = file.entity("k", {"content": "last"}, recorded_at_unix_ms=CREATED_MS)
        for number in range(3):
            file.past(added, {"content": f"v{number}"}, CREATED_MS, CREATED_MS)
    memory = open_memory(str(path))
    assert verify(memory).ok
    versions = memory.history("note", "k").versions[::-1]
    assert [json.loads(version.body_json)["content"] for version in versions] == ["v0", "v1", "v2"]
    bounds = [(version.recorded_at_unix_ms, version.invalidated_at_unix_ms) for version in versions]
    assert bounds == [(CREATED_MS + number, CREATED_MS + number + 1) for number in range(3)]
    assert entity(memory, added).recorded_at_unix_ms == CREATED_MS + 3


INSTANTS = st.integers(CREATED_MS, CREATED_MS + 12)


@given(spans=st.lists(st.tuples(INSTANTS | st.none(), INSTANTS), max_size=6), recorded=INSTANTS)
def test_any_intervals_become_ones_that_follow_each_other(
    tmp_path_factory: pytest.TempPathFactory, spans: list[tuple[int | None, int]], recorded: int
) -> None:
    path = tmp_path_factory.mktemp("spans") / "mimir.db"
    with original_file(path) as file:
        added = file.entity("k", {"content": "now"}, recorded_at_unix_ms=recorded)
        for number, (start, end) in enumerate(spans):
            file.past(added, {"content": f"v{number}"}, start, end)
    with Memory.open(str(path), clock=FixedClock(), embedding="off") as memory:
        assert verify(memory).ok
        assert memory.history("note", "k").total == len(spans)
        assert entity(memory, added).body_json == '{"content":"now"}'


@given(cuts=st.lists(st.integers(1, 5), max_size=6), asked=st.integers(-2, 40))
def test_as_of_answers_as_the_rust_mimir_did(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int], asked: int
) -> None:
    """Its answer: of the snapshots recorded by then the one that ended first after it, else the row as it is now."""
    path = tmp_path_factory.mktemp("cuts") / "mimir.db"
    starts = [CREATED_MS + sum(cuts[:place]) for place in range(len(cuts) + 1)]
    spans = list(pairwise(starts))
    with original_file(path) as file:
        added = file.entity("k", {"content": "now"}, recorded_at_unix_ms=starts[-1])
        for number, (start, end) in enumerate(spans):
            file.past(added, {"content": f"v{number}"}, start, end)
    instant = CREATED_MS + asked
    then = [(end, f"v{number}") for number, (start, end) in enumerate(spans) if start <= instant < end]
    expected = min(then)[1] if then else "now" if starts[-1] <= instant else None
    with Memory.open(str(path), clock=FixedClock(), embedding="off") as memory:
        answer = memory.as_of("note", "k", instant)
    assert (json.loads(str(answer.body_json))["content"] if answer.found else None) == expected


def test_a_memory_that_yielded_to_another_is_kept_as_an_archived_one(open_memory: OpenMemory, path: Path) -> None:
    with original_file(path) as file:
        winner = file.entity("winner", {"content": "the port is 5433"})
        file.past("mem-loser", {"content": "the port is 5431"}, None, CREATED_MS + 10, key="loser")
        file.past(
            "mem-loser",
            {"content": "the port is 5432"},
            CREATED_MS + 10,
            CREATED_MS + 20,
            key="loser",
            superseded_by=winner,
        )
    memory = open_memory(str(path))
    loser = entity(memory, "mem-loser")
    assert (loser.archived, loser.archive_reason) == (True, f"invalidated in favour of {winner}")
    assert json.loads(loser.body_json)["content"] == "the port is 5432"
    assert memory.history("note", "loser").total == 1
    assert not memory.as_of("note", "loser", CREATED_MS + 19).archived
    assert memory.as_of("note", "loser", CREATED_MS + 20).archived
    assert [hit.id for hit in memory.recall("the port", mode="fts5").items] == [winner]
    assert verify(memory).ok


def test_history_of_a_deleted_memory_belongs_to_the_one_that_took_its_key(open_memory: OpenMemory, path: Path) -> None:
    with original_file(path) as file:
        heir = file.entity("k", {"content": "new"}, recorded_at_unix_ms=CREATED_MS + 50)
        file.past("mem-former", {"content": "old"}, CREATED_MS, CREATED_MS + 20, superseded_by="mem-other")
    memory = open_memory(str(path))
    assert memory.stats().total_entities == 1
    (version,) = memory.history("note", "k").versions
    assert (version.id, version.superseded_by) == ("mem-former", "mem-other")
    assert json.loads(str(memory.as_of("note", "k", CREATED_MS + 10).body_json)) == {"content": "old"}
    assert entity(memory, heir).body_json == '{"content":"new"}'


# --- journal and state


def events(memory: Memory) -> list[Any]:
    return list(memory.store.events(EventFilter(), 100, 0))[::-1]


def test_the_journal_is_chained_anew_in_its_order_and_keeps_the_old_hashes(open_memory: OpenMemory, path: Path) -> None:
    with original_file(path) as file:
        for number in range(3):
            # All in one millisecond, the last one even before: only the order of the rows tells.
            file.event(
                "lesson",
                id=f"jrn-{number}",
                created_at_unix_ms=CREATED_MS - number // 2,
                evaluated_json='{"a":  1}',
                acted_json="no JSON",
                forward_json=None,
                category="c",
                key="k",
                entity_id="mem-1",
                agent_id="ada",
            )
        former = [row[0] for row in file.connection.execute("SELECT audit_hash FROM journal ORDER BY rowid")]
    memory = open_memory(str(path))
    found = events(memory)
    assert [event.id for event in found] == ["jrn-0", "jrn-1", "jrn-2"]
    assert [event.created_at_unix_ms for event in found] == [CREATED_MS, CREATED_MS, CREATED_MS - 1]
    assert (found[0].event_type, found[0].category, found[0].key) == ("lesson", "c", "k")
    assert (found[0].entity_id, found[0].agent_id) == ("mem-1", "ada")
    assert read_payload(found[0].payload) == ('{"a":  1}', '"no JSON"', "null")
    kept = [json.loads(event.payload)["former_hash"] for event in found]
    assert kept == former
    assert "former_hash" in Payload.__struct_fields__
    assert verify(memory).ok


def test_a_changed_byte_of_a_converted_journal_is_found(open_memory: OpenMemory, path: Path) -> None:
    with original_file(path) as file:
        file.event(evaluated_json='{"a": 1}')
        file.event(evaluated_json='{"a": 2}')
    memory = open_memory(str(path))
    with memory.store.writing() as connection:
        connection.execute("DROP TRIGGER journal_keeps_its_rows")
        connection.execute(
            "UPDATE journal SET payload = replace(payload, ?, ?) WHERE sequence = 2",
            tuple(json.loads(events(memory)[1].payload)["former_hash"][place] * 3 for place in (0, 1)),
        )
        connection.execute(
            'UPDATE journal SET payload = replace(payload, \'"former_hash":"\', \'"former_hash":"0\')'
            " WHERE sequence = 2"
        )
    check = verify(memory).journal
    assert check is not None
    assert check.broken is not None
    assert check.broken.sequence == 2


def test_state_is_kept_byte_for_byte_with_its_ends(open_memory: OpenMemory, path: Path) -> None:
    with original_file(path) as file:
        file.state("forever", '{"a":  1}')
        file.state("until", '"x"', CREATED_MS * 2)
        file.state("over", "[]", 5)
    with open_memory(str(path)).store.reading() as connection:
        rows = connection.execute("SELECT * FROM state ORDER BY key").fetchall()
    assert rows == [
        ("forever", '{"a":  1}', None, CREATED_MS),
        ("over", "[]", 5, CREATED_MS),
        ("until", '"x"', CREATED_MS * 2, CREATED_MS),
    ]


# --- 0.1


def test_a_file_of_0_1_becomes_a_store(open_memory: OpenMemory, path: Path) -> None:
    with first_file(path) as file:
        file.memory(
            "mem-日本語-0123456789abcdef",
            "Tea is brewed.",
            summary="tea",
            workspace_hash="ws",
            tags='["leaf"]',
            links='["mem-2"]',
            verified=1,
        )
        file.memory("mem-2", None)
    memory = open_memory(str(path))
    found = entity(memory, "mem-日本語-0123456789abcdef")
    assert (found.category, found.key) == ("general", "migrated-mem-日本語-0123456789ab")
    assert json.loads(found.body_json) == {"content": "Tea is brewed.", "summary": "tea"}
    assert (found.workspace_hash, found.tags) == ("ws", ("leaf", "workspace:ws"))
    assert (found.verified, found.decay_score, found.retrieval_count, found.layer) == (True, 0.75, 2, "working")
    assert found.recorded_at_unix_ms == found.created_at_unix_ms == CREATED_MS
    assert found.links == (Link(target_id="mem-2", relationship="related", weight=0.5),)
    assert [hit.id for hit in memory.recall("brewed", mode="fts5").items] == [found.id]
    assert Path(f"{path}.original-0.bak").is_file()


def test_ids_of_0_1_that_begin_alike_are_all_kept(open_memory: OpenMemory, path: Path) -> None:
    with first_file(path) as file:
        for end in "abc":
            file.memory("0123456789-0123456789" + end, f"text {end}")
    keys = sorted(by_key(open_memory(str(path))))
    assert keys == [
        "migrated-0123456789-012345678",
        "migrated-0123456789-012345678~0123456789-0123456789b",
        "migrated-0123456789-012345678~0123456789-0123456789c",
    ]


def test_a_file_of_both_ages_is_brought_over_whole(open_memory: OpenMemory, path: Path) -> None:
    """A file of 0.1 that 2.x had opened has both, and what was migrated there is in both."""
    with first_file(path) as file:
        file.memory("m-1", "migrated then")
        file.memory("m-2", "not migrated")
    with closing(sqlite3.connect(path)) as connection:
        source = path.parent / "new.db"
        with original_file(source) as file:
            file.entity("migrated-m-1", {"content": "edited since"}, id="m-1", category="general")
        with closing(sqlite3.connect(source)) as newer:
            for line in newer.iterdump():
                if "entities_fts" not in line and "sqlite_" not in line:
                    connection.execute(line)
        connection.execute("PRAGMA user_version = 2")
        connection.commit()
    bodies = {entity.id: json.loads(entity.body_json)["content"] for entity in by_key(open_memory(str(path))).values()}
    assert bodies == {"m-1": "edited since", "m-2": "not migrated"}


# --- the file


@pytest.fixture
def filled(path: Path) -> Path:
    with original_file(path, 2) as file:
        fill(file, 40)
    return path


def test_the_former_tables_and_their_words_are_gone_and_strange_tables_stay(
    open_memory: OpenMemory, path: Path
) -> None:
    with original_file(path, 15) as file:
        file.entity("k", {"content": "unforgettable"})
        file.connection.execute("CREATE TABLE mine (value TEXT)")
        file.connection.execute("INSERT INTO mine VALUES ('kept')")
        file.connection.execute("CREATE TABLE memories (title TEXT)")
    with open_memory(str(path)) as memory:
        memory.forget("note", "k")
        memory.purge()
    assert b"unforgettable" not in path.read_bytes()
    left = {name for name in tables(path) if name.startswith(("entit", "original", "memor", "commun", "dedup"))}
    assert left == {"entities", "memories"}
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT value FROM mine").fetchall() == [("kept",)]
        assert connection.execute("PRAGMA freelist_count").fetchone() == (0,)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_backup_shows_the_file_as_it_was_and_can_be_opened(
    open_memory: OpenMemory, filled: Path, folder: Path
) -> None:
    shutil.copy(filled, folder.parent / "before.db")
    open_memory(str(filled)).close()
    backup = f"{filled}.original-2.bak"
    assert {path.name for path in folder.iterdir()} == {filled.name, Path(backup).name}
    with closing(sqlite3.connect(backup)) as copied, closing(sqlite3.connect(folder.parent / "before.db")) as before:
        assert list(copied.iterdump()) == list(before.iterdump())
        assert copied.execute("PRAGMA user_version").fetchone() == (2,)
    assert open_memory(backup).stats().total_entities == 40


def test_an_older_backup_is_never_overwritten(open_memory: OpenMemory, filled: Path) -> None:
    for name in ("original-2.bak", "original-2-2.bak"):
        Path(f"{filled}.{name}").write_text("older", encoding="utf-8")
    open_memory(str(filled)).close()
    assert Path(f"{filled}.original-2.bak").read_text(encoding="utf-8") == "older"
    assert Path(f"{filled}.original-2-2.bak").read_text(encoding="utf-8") == "older"
    assert tables(Path(f"{filled}.original-2-3.bak")) >= {"entities", "entity_history"}


def test_a_converted_file_is_opened_as_any_other(open_memory: OpenMemory, filled: Path, folder: Path) -> None:
    open_memory(str(filled)).close()
    before = fingerprint(folder)
    open_memory(str(filled)).close()
    assert fingerprint(folder) == before


def test_what_a_killed_server_left_in_its_log_is_brought_over(open_memory: OpenMemory, folder: Path) -> None:
    source, path = folder.parent / "source.db", folder / "mimir.db"
    with original_file(source) as file:
        file.connection.commit()
        file.entity("k", {"content": "only in the log"})
        file.connection.commit()
        for ending in ("", "-wal"):
            shutil.copy(f"{source}{ending}", f"{path}{ending}")
    assert [hit.key for hit in open_memory(str(path)).recall("log", mode="fts5").items] == ["k"]


def test_a_file_with_a_rollback_journal_is_converted(open_memory: OpenMemory, path: Path) -> None:
    with original_file(path, mode="delete") as file:
        fill(file, 3)
    assert open_memory(str(path)).stats().total_versions == 3


def test_memories_of_many_batches_come_over_in_their_order(open_memory: OpenMemory, path: Path) -> None:
    with original_file(path) as file:
        fill(file, 2 * filling.CONVERTED_BATCH + 1, words=2)
    memory = open_memory(str(path), embedding="off")
    stats = memory.stats()
    count = 2 * filling.CONVERTED_BATCH + 1
    assert (stats.total_entities, stats.total_versions, stats.total_journal_events) == (count, count, count)
    assert stats.total_state_entries == count
    keys = [stored.entity.key for batch in memory.store.scan(EVERYTHING) for stored in batch]
    assert keys == [f"k{number}" for number in range(count)]
    assert verify(memory).ok


def test_a_server_answers_from_a_file_of_the_rust_mimir(path: Path) -> None:
    with original_file(path) as file:
        file.entity("k", {"content": "green tea is brewed at eighty degrees"})
    done = subprocess.run(
        [*SERVE, "--db", str(path), "--embedding", "off"],
        input=wire(call(1, "mimir_recall", query="tea")),
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == b""
    (line,) = done.stdout.splitlines()
    assert [item["key"] for item in json.loads(line)["result"]["structuredContent"]["items"]] == ["k"]


# --- files that stay as they are


def refused(path: Path, kind: type[MimirError], match: str) -> MimirError:
    """Open a file that must be refused and be the same afterwards, byte for byte; return the error."""
    before = fingerprint(path.parent)
    with pytest.raises(kind, match=match) as raised:
        Memory.open(str(path), embedding="off")
    assert fingerprint(path.parent) == before
    assert str(path) in raised.value.message
    assert raised.value.hint
    return raised.value


@pytest.mark.parametrize("mode", ["wal", "delete"])
@pytest.mark.parametrize("table", ["entities", "entity_history"])
def test_encrypted_bodies_need_their_key(path: Path, table: str, mode: str) -> None:
    with original_file(path, mode=mode) as file:
        added = file.entity("k", {"content": "plain"} if table == "entity_history" else SEALED)
        file.past(added, SEALED if table == "entity_history" else {"content": "plain"}, None, CREATED_MS + 10)
    assert "--encryption-key" in refused(path, Locked, "encrypted").hint


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_a_format_that_is_newer_than_known_is_refused(path: Path, mode: str) -> None:
    with original_file(path, original.NEWEST_FORMAT + 1, mode=mode) as file:
        fill(file, 2)
    assert "vault-export" in refused(path, StorageFailure, "newer").hint


def root_of(path: Path, table: str) -> int:
    """Return where in a file the first page of a table begins."""
    with closing(sqlite3.connect(path)) as connection:
        row = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)).fetchone()
    return (int(row[0]) - 1) * 4096


@pytest.mark.parametrize("mode", ["wal", "delete"])
@pytest.mark.parametrize("table", ["entities", "entity_history", "journal", "state"])
def test_a_damaged_file_is_refused(path: Path, table: str, mode: str) -> None:
    with original_file(path, mode=mode) as file:
        fill(file, 200)
    data = bytearray(path.read_bytes())
    start = root_of(path, table)
    data[start : start + 4096] = b"\xff" * 4096
    path.write_bytes(data)
    refused(path, StorageFailure, "damaged")


@pytest.mark.parametrize("seed", range(6))
def test_a_file_with_damaged_pages_is_converted_or_refused_in_words(path: Path, seed: int) -> None:
    with original_file(path) as file:
        fill(file, 200)
    chance = random.Random(seed)
    data = bytearray(path.read_bytes())
    for _ in range(3):
        start = chance.randrange(1, len(data) // 4096) * 4096
        data[start : start + 4096] = chance.randbytes(4096)
    path.write_bytes(data)
    before = fingerprint(path.parent)
    error = None
    try:
        Memory.open(str(path), embedding="off").close()
    except MimirError as raised:
        error = raised
    assert error is None or (error.hint and fingerprint(path.parent) == before)


def test_a_conversion_that_fails_changes_nothing_and_leaves_no_backup(path: Path) -> None:
    with original_file(path) as file:
        fill(file, 40)
        file.connection.execute("UPDATE entities SET body_json = CAST(x'22ff22' AS TEXT) WHERE key = 'k39'")
    refused(path, StorageFailure, "damaged")


def test_a_failure_in_the_middle_changes_nothing(
    path: Path, open_memory: OpenMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    with original_file(path) as file:
        fill(file, 40)
    with monkeypatch.context() as patched:
        patched.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, _fails))
        refused(path, StorageFailure, "nowhere")
    assert open_memory(str(path)).stats().total_entities == 40


def _fails(connection: apsw.Connection) -> None:
    connection.execute("INSERT INTO nowhere VALUES (1)")


def test_a_file_that_another_program_holds_is_busy(path: Path) -> None:
    with original_file(path) as file:
        fill(file, 3)
    # Not Python's own SQLite: two libraries in one process do not see each other's locks.
    with closing(apsw.Connection(str(path))) as other:
        other.execute("BEGIN IMMEDIATE")
        before = fingerprint(path.parent)
        with pytest.raises(Busy):
            Memory.open(str(path), embedding="off", busy_timeout_ms=50)
        assert fingerprint(path.parent) == before
        other.execute("ROLLBACK")


def test_memories_beside_a_strange_table_of_entities_are_left_alone(path: Path) -> None:
    with first_file(path) as file:
        file.memory("m-1", "text")
        file.connection.execute("CREATE TABLE entities (name TEXT)")
    refused(path, StorageFailure, "another program")


@pytest.mark.parametrize(
    "table",
    [
        "entities (id TEXT, category TEXT, key TEXT, body_json TEXT)",
        "entities (number INTEGER PRIMARY KEY, id, category, key, body_json, decay_score, created_at_unix_ms)",
        "memories (id TEXT PRIMARY KEY, content TEXT, created_at REAL)",
        "journal (id TEXT)",
    ],
)
def test_tables_of_another_program_with_the_same_names_are_left_alone(path: Path, table: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"CREATE TABLE {table}")
        connection.commit()
    refused(path, StorageFailure, "another program")


# --- several processes, and their end

OPEN = """
import sys
from mimir import Memory
print("ready", flush=True)
sys.stdin.readline()
with Memory.open(sys.argv[1], embedding="off") as memory:
    stats = memory.stats()
    print(stats.total_entities, stats.total_versions, stats.total_journal_events, flush=True)
"""


def start_opening(path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", OPEN, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_processes_that_open_a_file_together_convert_it_once(filled: Path, folder: Path) -> None:
    processes = [start_opening(filled) for _ in range(3)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [process.communicate(timeout=60)[0] for process in processes] == ["40 40 40\n"] * 3
    assert {path.name for path in folder.iterdir()} == {filled.name, f"{filled.name}.original-2.bak"}


KILLED = """
import sys
from mimir import Memory
from mimir.store.sqlite import filling

at, seen = int(sys.argv[2]), 0
add, add_state = filling.Filling.add, filling.Filling.add_state

def pause():
    print("here", flush=True)
    sys.stdin.readline()

def add_slowly(self, wholes):
    global seen
    seen += 1
    if seen == at:
        pause()
    return add(self, wholes)

def add_state_slowly(self, entries):
    add_state(self, entries)
    if at == 0:
        pause()

filling.CONVERTED_BATCH = 100
filling.Filling.add, filling.Filling.add_state = add_slowly, add_state_slowly
Memory.open(sys.argv[1], embedding="off")
"""


@pytest.mark.slow
@pytest.mark.parametrize("place", [1, 5, 0], ids=["at its beginning", "in its middle", "before its end"])
def test_a_conversion_that_is_killed_leaves_the_file_as_it_was(open_memory: OpenMemory, path: Path, place: int) -> None:
    with original_file(path) as file:
        fill(file, 600, words=200)
    before = path.read_bytes()
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(path), str(place)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        process.kill()
    assert path.read_bytes() == before
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM entities_fts").fetchone() == (600,)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    memory = open_memory(str(path), embedding="off")
    stats = memory.stats()
    assert (stats.total_entities, stats.total_versions, stats.total_journal_events) == (600, 600, 600)
    assert verify(memory).ok
    memory.close()
    assert {one.name for one in path.parent.iterdir()} == {path.name, f"{path.name}.original-2.bak"}


def test_a_file_that_is_converted_while_it_is_looked_at_is_no_strange_one(filled: Path) -> None:
    with closing(apsw.Connection(str(filled))) as connection:

        def convert_meanwhile(_cursor: apsw.Cursor, sql: str, _bindings: object) -> bool:
            if "user_version" in sql:
                connection.exec_trace = None
                Memory.open(str(filled), embedding="off").close()
            return True

        connection.exec_trace = convert_meanwhile
        assert schema.format_version(connection, str(filled)) == schema.ORIGINAL
        assert schema.format_version(connection, str(filled)) == len(schema.MIGRATIONS)
