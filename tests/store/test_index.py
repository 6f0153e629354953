"""The text index and the past stay in step with the rows through every change."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mimir import Memory
from mimir.model import Entity, Filter, Recalled
from mimir.rules.query import Query, parse_query
from mimir.store import Store
from mimir.store.sqlite.text import RANKED_MATCHES
from tests.conftest import OpenMemory
from tests.doubles import START_MS, FixedClock, WordEmbedder

EVERYTHING = Filter(include_archived=True, every_caller=True)


def keys(answer: Recalled) -> list[str]:
    return [hit.key for hit in answer.items]


def words(*given: str) -> Query:
    return Query(words=given, phrases=(), exact=" ".join(given))


def live(store: Store, word: str) -> list[str]:
    """Return the keys of the entities whose live text holds a word."""
    found, complete = store.match_text(words(word), EVERYTHING, 1_000)
    assert complete
    loaded = store.load(candidate.owner for candidate in found)
    return sorted(loaded[candidate.owner].entity.key for candidate in found)


def past(store: Store, word: str) -> list[str]:
    """Return the keys of the archived, retired and former texts that hold a word; those of versions marked."""
    found = store.match_past(words(word), Filter(include_archived=True, every_caller=True, past_versions=True), 1_000)
    entities = store.load(candidate.owner for candidate in found if candidate.owner > 0)
    versions = store.load_versions(-candidate.owner for candidate in found if candidate.owner < 0)
    return sorted(
        entities[candidate.owner].entity.key
        if candidate.owner > 0
        else f"{versions[-candidate.owner][1].entity.key} (version)"
        for candidate in found
    )


# --- identity


def test_category_key_and_workspace_together_are_the_identity(memory: Memory) -> None:
    names = [("c", "k", ""), ("c", "k", "w"), ("C", "k", ""), ("c", "K", ""), ("ck", "", ""), ("c", "k ", "")]
    names = [(category, key or "x", workspace) for category, key, workspace in names]
    ids = {name: memory.remember(name[0], name[1], {"n": 1}, workspace_hash=name[2]).id for name in names}
    assert len(set(ids.values())) == len(names)
    for (category, key, workspace), entity_id in ids.items():
        again = memory.remember(category, key, {"n": 2}, workspace_hash=workspace)
        assert (again.id, again.action) == (entity_id, "updated")
        (found,) = memory.store.find(category, key, workspace)
        assert found.entity.id == entity_id
    assert memory.stats().total_entities == len(names)


def test_an_entity_keeps_its_number_and_id_through_every_change(memory: Memory) -> None:
    memory.remember("c", "k", {"content": "green"})
    (before,) = memory.store.find("c", "k", "")
    memory.remember("c", "k", {"content": "black"}, tags=["x"])
    memory.forget("c", "k")
    memory.remember("c", "k", {"content": "green"})
    (after,) = memory.store.find("c", "k", "")
    assert (after.number, after.entity.id) == (before.number, before.entity.id)
    assert after.entity.created_at_unix_ms == before.entity.created_at_unix_ms


# --- in step


def test_a_change_of_text_moves_the_former_text_to_the_past(memory: Memory) -> None:
    memory.remember("c", "k", {"content": "zebra"})
    memory.remember("c", "k", {"content": "walrus"})
    assert (live(memory.store, "zebra"), live(memory.store, "walrus")) == ([], ["k"])
    assert (past(memory.store, "zebra"), past(memory.store, "walrus")) == (["k (version)"], [])


def test_forgetting_moves_a_text_to_the_past_and_reviving_brings_it_back(memory: Memory) -> None:
    memory.remember("c", "k", {"content": "zebra"})
    memory.forget("c", "k")
    assert (live(memory.store, "zebra"), past(memory.store, "zebra")) == ([], ["k"])
    memory.remember("c", "k", {"content": "zebra"})
    assert (live(memory.store, "zebra"), past(memory.store, "zebra")) == (["k"], [])


@pytest.mark.parametrize("status", ["deprecated", "superseded", "expired", "invalidated"])
def test_a_retired_status_moves_a_text_to_the_past(memory: Memory, status: str) -> None:
    memory.remember("c", "k", {"content": "zebra"})
    memory.remember("c", "k", {"content": "zebra"}, status=status)
    assert (live(memory.store, "zebra"), past(memory.store, "zebra")) == ([], ["k"])
    memory.remember("c", "k", {"content": "zebra"}, status="active")
    assert (live(memory.store, "zebra"), past(memory.store, "zebra")) == (["k"], [])


def test_a_memory_that_is_born_retired_is_in_the_past_only(memory: Memory) -> None:
    memory.remember("c", "one", {"content": "zebra"}, status="deprecated")
    memory.remember_many([{"category": "c", "key": "two", "body_json": {"content": "zebra"}, "status": "deprecated"}])
    assert (live(memory.store, "zebra"), past(memory.store, "zebra")) == ([], ["one", "two"])


def test_tags_and_topic_are_indexed_as_they_are_now(memory: Memory) -> None:
    memory.remember("c", "k", {"content": "zebra"}, tags=["leaf"], topic_path="/garden/pond")
    assert live(memory.store, "leaf") == live(memory.store, "pond") == ["k"]
    memory.remember("c", "k", {"content": "zebra"}, tags=["bark"], topic_path="/garden/hedge")
    assert live(memory.store, "leaf") == live(memory.store, "pond") == []
    assert live(memory.store, "bark") == live(memory.store, "hedge") == live(memory.store, "zebra") == ["k"]
    memory.remember("c", "k", {"content": "walrus"}, tags=["root"])
    assert live(memory.store, "bark") == []
    assert live(memory.store, "root") == live(memory.store, "walrus") == ["k"]
    assert past(memory.store, "bark") == ["k (version)"]


def test_a_revived_memory_with_a_new_text_is_found_by_it_alone(memory: Memory) -> None:
    memory.remember("c", "k", {"content": "zebra"})
    memory.forget("c", "k")
    memory.remember("c", "k", {"content": "walrus"})
    assert (live(memory.store, "zebra"), live(memory.store, "walrus")) == ([], ["k"])
    assert past(memory.store, "zebra") == ["k (version)"]


def test_a_write_that_fails_leaves_every_index_as_it_was(memory: Memory) -> None:
    memory.remember("c", "k", {"content": "zebra"})

    def change() -> None:
        with memory.store.writing():
            memory.remember("c", "k", {"content": "walrus"})
            memory.remember("c", "new", {"content": "walrus"})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        change()
    assert (live(memory.store, "zebra"), live(memory.store, "walrus")) == (["k"], [])
    assert past(memory.store, "zebra") == []
    stats = memory.stats()
    assert (stats.total_entities, stats.total_versions, stats.passages, stats.pending_embeddings) == (1, 0, 1, 1)


# --- any history, then a rebuilt index

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "茶"]),
        st.sampled_from(["remember", "forget", "retire", "tag", "move", "bulk"]),
        st.sampled_from(["green tea", "black coffee", "绿茶 and milk", "long " * 300 + "tail", "one\n\ntwo"]),
    ),
    max_size=12,
)
QUESTIONS = ("tea", "coffee", "绿茶", "tail", "milk", "leaf", "garden", "a", "茶", "two", "green milk")


def answers(memory: Memory) -> list[object]:
    """Return every answer that depends on the index: what, in which order, with which score, by which passage."""
    found: list[object] = []
    for mode in ("fts5", "hybrid"):
        for query in QUESTIONS:
            for arguments in ({}, {"include_archived": True}, {"as_of_unix_ms": START_MS + 6}):
                answer = memory.recall(query, mode=mode, reinforce=False, **arguments)
                found.append([(hit.id, hit.score, hit.evidence, hit.scores) for hit in answer.items] + [answer.arms])
    return found


@settings(max_examples=20)
@given(steps=STEPS)
def test_a_rebuilt_index_changes_no_answer(
    steps: list[tuple[str, str, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    clock = FixedClock()
    path = str(tmp_path_factory.mktemp("rebuilt") / "memory.db")
    with Memory.open(path, clock=clock, embedder=WordEmbedder(), durability="normal") as memory:
        for key, step, text in steps:
            body = {"content": text}
            if step == "remember":
                memory.remember("c", key, body)
            elif step == "forget":
                memory.forget("c", key)
            elif step == "retire":
                memory.remember("c", key, body, status="superseded")
            elif step == "tag":
                memory.remember("c", key, body, tags=["leaf"], status="active")
            elif step == "move":
                memory.remember("c", key, body, topic_path="/garden")
            else:
                memory.remember_many([{"category": "c", "key": key, "body_json": body}] * 2)
            clock.advance()
        memory.embed_pending()
        before = answers(memory)
        memory.reindex()
        assert answers(memory) == before


# --- many at once


@pytest.fixture
def rows() -> list[dict[str, object]]:
    texts = ["green tea", "long " * 500, "绿茶", "", "one\0two", "x" * 5_000]
    return [
        {
            "category": f"c{number % 3}",
            "key": f"k{number % 25}",
            "body_json": {"content": texts[number % 6], "n": number % 4},
            "workspace_hash": ["", "w"][number % 2],
            "tags": ["leaf", "茶"][: number % 3],
            "topic_path": ["", "/t"][number % 2],
            "status": ["active", "deprecated", None][number % 3],
            "importance": number / 100,
            "visibility": ["private", None][number % 2],
            "layer": ["world", None, "semantic"][number % 3],
            "valid_from_unix_ms": [None, 5][number % 2],
            "recall_when": [["brewing"], None][number % 2],
        }
        for number in range(90)
    ]


Dump = dict[str, list[tuple[object, ...]]]


def dump(memory: Memory) -> Dump:
    """Return what the file holds in rows, without ids, which are random, and marks, which bulk writes leave out."""
    with memory.store.reading() as connection:
        shown = {
            table: connection.execute(f"SELECT {columns} FROM {table} ORDER BY 1, 2").fetchall()  # noqa: S608 - ours
            for table, columns in {
                "passages": "owner, id, start, length",
                "pending": "passage, leased_until_unix_ms",
                "versions": "entity, recorded_at_unix_ms, key, body_json, invalidated_at_unix_ms, amended",
            }.items()
        }
    found: Dump = shown
    found["entities"] = [
        (
            stored.number,
            stored.passages,
            *(getattr(stored.entity, name) for name in Entity.__struct_fields__ if name != "id"),
        )
        for batch in memory.store.scan(EVERYTHING)
        for stored in batch
    ]
    return found


def test_a_bulk_write_stores_what_single_writes_store(
    tmp_path: Path, open_memory: OpenMemory, rows: list[dict[str, object]]
) -> None:
    single, bulk = (open_memory(str(tmp_path / f"{name}.db"), clock=FixedClock()) for name in ("single", "bulk"))
    for row in rows:
        single.remember(**row)  # type: ignore[arg-type]  # a mapping of its parameters
    counted = bulk.remember_many(rows)
    assert counted.created == single.stats().total_entities
    assert counted.created + counted.updated == len(rows)
    assert dump(bulk)["versions"] == dump(single)["versions"]
    assert sorted(map(repr, dump(bulk)["entities"])) == sorted(map(repr, dump(single)["entities"]))
    for word in ("tea", "leaf", "long", "茶", "绿茶"):
        assert live(bulk.store, word) == live(single.store, word), word
        assert past(bulk.store, word) == past(single.store, word), word


def test_a_bulk_write_is_the_same_in_any_batches(
    tmp_path: Path, open_memory: OpenMemory, rows: list[dict[str, object]]
) -> None:
    dumps = []
    for size in (1, 7, 1_000):
        memory = open_memory(str(tmp_path / f"{size}.db"), clock=FixedClock())
        memory.remember_many(rows, batch=size)
        dumps.append(dump(memory))
    assert [sorted(map(repr, one["entities"])) for one in dumps[1:]] == [
        sorted(map(repr, dumps[0]["entities"])) for _ in dumps[1:]
    ]
    assert [one["versions"] for one in dumps[1:]] == [dumps[0]["versions"]] * 2


# --- more matches than are ranked


def fill(memory: Memory, count: int, text: Callable[[int], str], category: str = "crowd") -> None:
    memory.remember_many(
        {"category": category, "key": f"{category}{number}", "body_json": json.dumps(text(number))}
        for number in range(count)
    )


NOTE = "very common words"


def noted(answer: Recalled) -> bool:
    return isinstance(answer.degraded, str) and NOTE in answer.degraded


def test_a_reply_says_when_not_all_matches_were_ranked(keyword_memory: Memory) -> None:
    fill(keyword_memory, RANKED_MATCHES, lambda _: "alpha")
    assert not noted(keyword_memory.recall("alpha", mode="fts5"))
    keyword_memory.remember("crowd", "one more", '"alpha"')
    assert noted(keyword_memory.recall("alpha", mode="fts5"))
    assert not noted(keyword_memory.recall("unheard", mode="fts5"))


@pytest.fixture
def crowded(keyword_memory: Memory) -> Memory:
    """Return a memory in which a word stands in more texts than are ranked, and older ones answer better."""
    keyword_memory.remember("rare", "old and best", '"alpha"')
    keyword_memory.remember("rare", "old and whole", '"alpha zulu in an old text"')
    fill(keyword_memory, RANKED_MATCHES + 500, lambda n: f"alpha in text {n} of many")
    keyword_memory.remember("rare", "new and poor", '"alpha among a great many words that say nothing about it"')
    return keyword_memory


def test_a_memory_with_every_word_is_found_behind_the_crowd(crowded: Memory) -> None:
    answer = crowded.recall("alpha zulu", mode="fts5", limit=3)
    assert keys(answer)[0] == "old and whole"


def test_a_rarer_word_needs_no_crowd(crowded: Memory) -> None:
    assert keys(crowded.recall("zulu", mode="fts5")) == ["old and whole"]


@pytest.mark.parametrize("limit", [1, 3, 10])
def test_a_filter_decides_before_the_crowd_is_cut(crowded: Memory, limit: int) -> None:
    """A category with few rows is ranked in full, however common the word is elsewhere."""
    answer = crowded.recall("alpha", category="rare", mode="fts5", limit=limit)
    assert keys(answer) == ["old and best", "old and whole", "new and poor"][:limit]
    assert not noted(answer)


def test_no_memory_stands_twice_when_the_crowd_is_cut(crowded: Memory) -> None:
    found = keys(crowded.recall("alpha zulu", mode="fts5", limit=1_000))
    assert len(set(found)) == len(found) == 1_000


def test_a_word_in_every_memory_of_a_large_store_still_finds(keyword_memory: Memory) -> None:
    fill(keyword_memory, 20_100, lambda n: f"alpha {n}")
    answer = keyword_memory.recall("alpha 7", mode="fts5", limit=1)
    assert keys(answer) == ["crowd7"]
    assert len(keyword_memory.recall("alpha", mode="fts5", limit=50).items) == 50


def test_a_search_by_category_looks_up_the_owners_of_the_first_matches_only(keyword_memory: Memory) -> None:
    keyword_memory.remember_many(
        {"category": "ab"[number % 2], "key": f"k{number}", "body_json": json.dumps(f"alpha {number}")}
        for number in range(400)
    )
    assert len(owners_looked_up(keyword_memory, "b", 10)) <= 50


def test_a_search_in_a_small_category_looks_up_no_owners_of_the_whole_crowd(crowded: Memory) -> None:
    assert len(owners_looked_up(crowded, "rare", 3)) <= 64


def owners_looked_up(memory: Memory, category: str, limit: int) -> list[int]:
    """Return the passages whose owners a search for alpha asks for, one by one; it finds as many as it may."""
    asked: list[int] = []

    def note(_: object, sql: str, bindings: tuple[str, ...]) -> bool:
        if "json_each(?)" in sql and "FROM passages p CROSS JOIN entities" in sql:
            asked.extend(json.loads(next(value for value in bindings if value.startswith("["))))
        return True

    store = memory.store
    connection = store.database.connection  # type: ignore[attr-defined]  # the store is one in SQLite
    connection.exec_trace = note
    try:
        found, _ = store.match_text(words("alpha"), Filter(category=category), limit)
    finally:
        connection.exec_trace = None
    assert len(found) == limit
    return asked


def test_the_last_write_is_the_latest_of_what_was_made_changed_and_stored_in_bulk(
    memory: Memory, clock: FixedClock
) -> None:
    last_write = memory.store.last_write_ms
    assert last_write() is None
    for write in (
        lambda: memory.remember("c", "a", '"one"'),
        lambda: memory.remember("c", "b", '"two"'),
        lambda: memory.remember("c", "a", '"three"'),
        lambda: memory.remember_many([{"category": "c", "key": "d", "body_json": '"four"'}]),
    ):
        clock.advance(1_000)
        write()
        assert last_write() == clock.now_ms()
    memory.forget("c", "a")
    assert last_write() == clock.now_ms()


# --- match strings


@given(st.text(max_size=30))
def test_any_text_is_a_valid_expression(keyword_memory: Memory, text: str) -> None:
    query = parse_query(text)
    for prefix in (False, True):
        assert keyword_memory.store.match_text(query, EVERYTHING, 10, prefix=prefix) == ([], True)
    assert keyword_memory.store.match_past(query, EVERYTHING, 10) == []


def test_document_frequencies_count_live_passages_by_stem(memory: Memory) -> None:
    memory.remember("c", "a", {"content": "deploying the deployments"})
    memory.remember("c", "b", {"content": "deploy " * 500})
    memory.remember("c", "gone", {"content": "deploy"})
    memory.forget("c", "gone")
    (long,) = memory.store.find("c", "b", "")
    frequencies, total = memory.store.document_frequencies(["deploy", "deployed", "unheard"])
    assert frequencies == {"deploy": 1 + long.passages, "deployed": 1 + long.passages, "unheard": 0}
    assert total == 2 + long.passages
