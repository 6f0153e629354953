"""Remember: what is written is kept, exactly, under its identity."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimir import InvalidInput, Memory
from mimir.model import RememberedMany
from mimir.operations.entities import Found
from tests.conftest import OpenMemory
from tests.doubles import START_MS, FixedClock

SURROGATE = "half \ud800 pair"


def stored(memory: Memory, category: str, key: str, workspace: str = "") -> Found:
    """Return the entity under an identity, archived or not."""
    entity_id = memory.as_of(category, key, 1 << 60, workspace_hash=workspace).id
    assert isinstance(entity_id, str)
    return memory.get_entity(entity_id)


def keys_of(memory: Memory, query: str, **arguments: Any) -> list[str]:  # noqa: ANN401 - recall's own
    arguments.setdefault("reinforce", False)
    return [hit.key for hit in memory.recall(query, **arguments).items]


def test_a_new_memory_has_the_published_defaults(memory: Memory) -> None:
    result = memory.remember("decision", "db", '{"content": "sqlite"}')
    assert (result.action, result.category, result.key) == ("created", "decision", "db")
    assert result.id == "mem-000000000001"
    entity = memory.get_entity(result.id)
    assert entity == Found(
        id=result.id,
        category="decision",
        key="db",
        body_json='{"content": "sqlite"}',
        status="active",
        entity_type="insight",
        tags=(),
        decay_score=0.5,
        retrieval_count=0,
        layer="buffer",
        always_on=False,
        certainty=0.5,
        created_at_unix_ms=START_MS,
        last_accessed_unix_ms=START_MS,
        topic_path="",
        archived=False,
        archive_reason="",
        links=(),
        verified=False,
        source="agent",
        workspace_hash="",
        agent_id="",
        visibility="workspace",
        recorded_at_unix_ms=START_MS,
        valid_from_unix_ms=None,
        valid_to_unix_ms=None,
    )


def test_every_given_field_is_kept(memory: Memory) -> None:
    result = memory.remember(
        "c",
        "k",
        {"content": "x"},
        status="draft",
        type="note",
        tags=["a", "ü"],
        importance=0.9,
        topic_path="/a/b",
        workspace_hash="w",
        agent_id="me",
        always_on=True,
        certainty=0.25,
        visibility="public",
        layer="semantic",
        valid_from_unix_ms=1,
        valid_to_unix_ms=1 << 50,
    )
    entity = memory.get_entity(result.id)
    assert entity.status == "draft"
    assert entity.entity_type == "note"
    assert entity.tags == ("a", "ü")
    assert entity.decay_score == 0.9
    assert entity.topic_path == "/a/b"
    assert entity.workspace_hash == "w"
    assert entity.agent_id == "me"
    assert entity.always_on is True
    assert entity.certainty == 0.25
    assert entity.visibility == "public"
    assert entity.layer == "working"
    assert (entity.valid_from_unix_ms, entity.valid_to_unix_ms) == (1, 1 << 50)


@pytest.mark.parametrize(
    ("word", "layer"),
    [("world", "core"), ("semantic", "working"), ("episodic", "buffer"), ("core", "core"), ("archive", "archive")],
)
def test_layers_are_stored_under_their_own_word(memory: Memory, word: str, layer: str) -> None:
    assert memory.get_entity(memory.remember("c", "k", {}, layer=word).id).layer == layer


def test_an_agent_is_the_author_of_what_it_remembers(open_memory: OpenMemory) -> None:
    memory = open_memory(agent_id="scribe")
    assert stored_agent(memory, "k") == "scribe"
    assert stored_agent(memory, "k2", agent_id="other") == "other"


def stored_agent(memory: Memory, key: str, **fields: str) -> str:
    return memory.get_entity(memory.remember("c", key, {}, **fields).id).agent_id  # type: ignore[arg-type]  # strings


def test_remembering_again_updates_under_the_same_id(memory: Memory, clock: FixedClock) -> None:
    first = memory.remember("c", "k", {"content": "one"})
    clock.advance(10)
    second = memory.remember("c", "k", {"content": "two"})
    assert (second.id, second.action) == (first.id, "updated")
    entity = memory.get_entity(first.id)
    assert json.loads(entity.body_json) == {"content": "two"}
    assert entity.created_at_unix_ms == START_MS
    assert entity.recorded_at_unix_ms == START_MS + 10
    assert entity.last_accessed_unix_ms == START_MS + 10
    assert entity.retrieval_count == 1
    assert entity.decay_score == 0.75


FIELDS: dict[str, tuple[Any, str]] = {
    "status": ("draft", "status"),
    "type": ("note", "entity_type"),
    "tags": (("a", "b"), "tags"),
    "topic_path": ("/p", "topic_path"),
    "agent_id": ("someone", "agent_id"),
    "always_on": (True, "always_on"),
    "certainty": (0.9, "certainty"),
    "visibility": ("public", "visibility"),
    "layer": ("core", "layer"),
}


@pytest.mark.parametrize("body", [{"content": "one"}, {"content": "two"}], ids=["same text", "new text"])
@pytest.mark.parametrize("field", FIELDS)
def test_an_update_keeps_what_it_leaves_out(memory: Memory, field: str, body: dict[str, str]) -> None:
    value, name = FIELDS[field]
    entity_id = memory.remember("c", "k", {"content": "one"}, **{field: value}).id
    memory.remember("c", "k", body)
    assert getattr(memory.get_entity(entity_id), name) == value


@pytest.mark.parametrize("field", FIELDS)
def test_an_update_changes_what_it_names(memory: Memory, field: str) -> None:
    value, name = FIELDS[field]
    entity_id = memory.remember("c", "k", {"content": "one"}).id
    memory.remember("c", "k", {"content": "one"}, **{field: value})
    assert getattr(memory.get_entity(entity_id), name) == value


def test_an_update_can_empty_tags_and_unpin(memory: Memory) -> None:
    entity_id = memory.remember("c", "k", {}, tags=["a"], always_on=True, topic_path="/p").id
    memory.remember("c", "k", {}, tags=[], always_on=False, topic_path="")
    entity = memory.get_entity(entity_id)
    assert (entity.tags, entity.always_on, entity.topic_path) == ((), False, "")


def test_importance_counts_only_for_a_new_memory(memory: Memory) -> None:
    entity_id = memory.remember("c", "k", {}, importance=0.1).id
    memory.remember("c", "k", {}, importance=0.9)
    assert memory.get_entity(entity_id).decay_score == pytest.approx(0.35)


def test_strength_never_exceeds_one(memory: Memory) -> None:
    entity_id = memory.remember("c", "k", {}, importance=0.9).id
    for _ in range(4):
        memory.remember("c", "k", {})
    assert memory.get_entity(entity_id).decay_score == 1.0


def test_five_updates_raise_a_memory_and_none_lowers_it(memory: Memory) -> None:
    entity_id = memory.remember("c", "k", {}).id
    for _ in range(5):
        memory.remember("c", "k", {})
    assert memory.get_entity(entity_id).layer == "working"
    chosen = memory.remember("c", "k2", {}, layer="world").id
    memory.remember("c", "k2", {"content": "new"})
    assert memory.get_entity(chosen).layer == "core"


def test_the_same_key_in_another_workspace_is_another_memory(memory: Memory) -> None:
    ids = {memory.remember("c", "k", {"in": name}, workspace_hash=name).id for name in ("", "a", "b")}
    assert len(ids) == 3
    assert json.loads(stored(memory, "c", "k", "a").body_json) == {"in": "a"}


def test_the_same_key_in_another_category_is_another_memory(memory: Memory) -> None:
    assert memory.remember("a", "k", {}).id != memory.remember("b", "k", {}).id


@pytest.mark.parametrize(
    "body",
    [
        '{"a": 1,   "b":2}',
        "5",
        '"words"',
        "null",
        "[1, 2]",
        "true",
        '{"a": 1, "a": 2}',
        '"\\u0000 inside"',
        '{"n": 18446744073709551616}',
        '"\\ud83d\\ude00"',
        " {} ",
    ],
)
def test_a_body_in_json_text_is_kept_to_the_letter(memory: Memory, body: str) -> None:
    entity_id = memory.remember("c", "k", body).id
    assert memory.get_entity(entity_id).body_json == body


@pytest.mark.parametrize("body", [{"a": [1, None, "ü"]}, [1, 2], 5, True, None, 1.5], ids=repr)
def test_a_body_as_a_value_becomes_its_json_text(memory: Memory, body: object) -> None:
    assert json.loads(memory.get_entity(memory.remember("c", "k", body).id).body_json) == body


@pytest.mark.parametrize(
    "body",
    [
        "plain words",
        "",
        "{",
        "{'a': 1}",
        "NaN",
        '{"a": 1} x',
        '"\\ud800"',
        '{"a": "\\udc00 b"}',
        SURROGATE,
        "[" * 100_000,
    ],
    ids=lambda body: repr(body)[:20],
)
def test_a_body_that_is_no_json_is_refused_and_nothing_is_stored(memory: Memory, body: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        memory.remember("c", "k", body)
    assert raised.value.hint
    assert memory.stats().total_entities == 0


@pytest.mark.parametrize(
    "body",
    [object(), {"a": {1, 2}.__iter__()}, {"a": SURROGATE}, float("nan"), {"a": [float("inf")]}],
    ids=["object", "iterator", "surrogate", "nan", "infinity"],
)
def test_a_value_that_json_cannot_hold_is_refused(memory: Memory, body: object) -> None:
    with pytest.raises(InvalidInput):
        memory.remember("c", "k", body)
    assert memory.stats().total_entities == 0


@pytest.mark.parametrize("name", ["", " ", "\t\n"])
def test_an_empty_category_or_key_is_refused(memory: Memory, name: str) -> None:
    with pytest.raises(InvalidInput, match="category"):
        memory.remember(name, "k", {})
    with pytest.raises(InvalidInput, match="key"):
        memory.remember("c", name, {})


@pytest.mark.parametrize(
    "write",
    [
        lambda memory: memory.remember(SURROGATE, "k", {}),
        lambda memory: memory.remember("c", SURROGATE, {}),
        lambda memory: memory.remember("c", "k", {}, status=SURROGATE),
        lambda memory: memory.remember("c", "k", {}, type=SURROGATE),
        lambda memory: memory.remember("c", "k", {}, tags=["a", SURROGATE]),
        lambda memory: memory.remember("c", "k", {}, topic_path=SURROGATE),
        lambda memory: memory.remember("c", "k", {}, workspace_hash=SURROGATE),
        lambda memory: memory.remember("c", "k", {}, agent_id=SURROGATE),
        lambda memory: memory.remember("c", "k", {}, layer=SURROGATE),
        lambda memory: memory.remember("c", "k", {}, recall_when=[SURROGATE]),
        lambda memory: memory.remember_many([{"category": "c", "key": "k", "body_json": {}, "tags": [SURROGATE]}]),
    ],
    ids=["category", "key", "status", "type", "tags", "topic", "workspace", "agent", "layer", "recall_when", "many"],
)
def test_half_of_a_surrogate_pair_is_refused_in_every_field(memory: Memory, write: Callable[[Memory], object]) -> None:
    with pytest.raises(InvalidInput) as raised:
        write(memory)
    assert raised.value.hint
    assert memory.stats().total_entities == 0


def test_names_and_bodies_have_bounds_in_bytes(memory: Memory) -> None:
    memory.remember("é" * 128, "é" * 512, json.dumps("a" * (4 * 1024 * 1024 - 2)))
    for category, key, body, name in (
        ("é" * 128 + "a", "k", "{}", "category"),
        ("c", "é" * 512 + "a", "{}", "key"),
        ("c", "k", json.dumps("a" * (4 * 1024 * 1024 - 1)), "body_json"),
        ("c", "k", json.dumps("é" * (2 * 1024 * 1024), ensure_ascii=False), "body_json"),
    ):
        with pytest.raises(InvalidInput, match=name):
            memory.remember(category, key, body)
    with pytest.raises(InvalidInput, match="body_json"):
        memory.remember("c", "k", {"content": "a" * (4 * 1024 * 1024)})
    assert memory.stats().total_entities == 1


@pytest.mark.parametrize("field", ["importance", "certainty"])
@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), float("inf")])
def test_a_share_outside_nought_to_one_is_refused(memory: Memory, field: str, value: float) -> None:
    with pytest.raises(InvalidInput, match=field):
        memory.remember("c", "k", {}, **{field: value})  # type: ignore[arg-type]  # one of two floats


def test_an_unknown_visibility_is_refused_with_the_known_ones(memory: Memory) -> None:
    with pytest.raises(InvalidInput, match="secret") as raised:
        memory.remember("c", "k", {}, visibility="secret")
    assert "private" in raised.value.hint


@pytest.mark.parametrize("end", [5, 4])
def test_a_period_that_ends_before_it_begins_is_refused(memory: Memory, end: int) -> None:
    with pytest.raises(InvalidInput, match="valid_to_unix_ms"):
        memory.remember("c", "k", {}, valid_from_unix_ms=5, valid_to_unix_ms=end)


def test_an_update_that_turns_a_period_around_is_refused(memory: Memory) -> None:
    memory.remember("c", "k", {"content": "same"}, valid_from_unix_ms=100)
    with pytest.raises(InvalidInput, match="valid_to_unix_ms"):
        memory.remember("c", "k", {"content": "same"}, valid_to_unix_ms=50)
    assert stored(memory, "c", "k").valid_to_unix_ms is None


def test_triggers_are_kept_in_the_body(memory: Memory) -> None:
    entity_id = memory.remember("c", "k", '{"z": 1, "a": 2}', recall_when=["deploying"]).id
    assert memory.get_entity(entity_id).body_json == '{"a":2,"recall_when":["deploying"],"z":1}'


def test_triggers_beside_a_body_that_is_no_object_are_ignored(memory: Memory) -> None:
    entity_id = memory.remember("c", "k", '"words"', recall_when=["deploying"]).id
    assert memory.get_entity(entity_id).body_json == '"words"'


# --- what resembles an older memory


def test_a_text_that_resembles_another_is_stored_and_told(memory: Memory) -> None:
    first = memory.remember("c", "k", {"content": "The database port of the staging server is 5432"})
    second = memory.remember("c", "k2", {"content": "The database port of the staging server is 5433"})
    assert second.action == "created"
    assert second.id != first.id
    assert not isinstance(second.similar_to, type(first.similar_to))
    (similar,) = second.similar_to  # type: ignore[misc]  # set, as the line above says
    assert (similar.id, similar.key) == (first.id, "k")
    assert 0.7 <= similar.similarity < 1.0


def test_only_live_memories_of_the_same_place_are_told_as_similar(memory: Memory) -> None:
    text = {"content": "the quick brown fox jumps over the lazy dog"}
    memory.remember("other", "k", text)
    memory.remember("c", "k", text, workspace_hash="w")
    memory.remember("c", "gone", text)
    memory.forget("c", "gone")
    result = memory.remember("c", "new", text)
    assert "similar_to" not in json.loads(json.dumps(msgspec_plain(result)))


def msgspec_plain(result: object) -> object:
    import msgspec

    return msgspec.to_builtins(result)


def test_equal_texts_are_both_stored_by_default(memory: Memory) -> None:
    assert memory.remember("c", "a", {"content": "same"}).action == "created"
    assert memory.remember("c", "b", {"content": "same"}).action == "created"
    assert memory.stats().total_entities == 2


@pytest.mark.parametrize("dedup", ["exact", "similar"])
def test_an_equal_text_merges_when_asked(memory: Memory, clock: FixedClock, dedup: Any) -> None:  # noqa: ANN401
    first = memory.remember("c", "a", {"content": "The  deploy is on Friday."})
    clock.advance(5)
    second = memory.remember("c", "b", {"content": "the deploy is on friday"}, dedup=dedup)
    assert second.id == first.id
    assert second.action == "deduped (new key not created)"
    assert (second.category, second.key) == ("c", "b")
    entity = memory.get_entity(first.id)
    assert entity.decay_score == pytest.approx(0.65)
    assert entity.retrieval_count == 1
    assert entity.last_accessed_unix_ms == START_MS + 5
    assert memory.stats().total_entities == 1


def test_the_setting_gives_the_default_of_merging(open_memory: OpenMemory) -> None:
    memory = open_memory(dedup="exact")
    memory.remember("c", "a", {"content": "same"})
    assert memory.remember("c", "b", {"content": "same"}).action.startswith("deduped")
    assert memory.remember("c", "d", {"content": "same"}, dedup="off").action == "created"


def test_merging_stays_within_category_and_workspace_and_live_rows(memory: Memory) -> None:
    memory.remember("c", "a", {"content": "same"})
    assert memory.remember("d", "a", {"content": "same"}, dedup="exact").action == "created"
    assert memory.remember("c", "b", {"content": "same"}, dedup="exact", workspace_hash="w").action == "created"
    memory.forget("c", "a", workspace_hash="")
    assert memory.remember("c", "z", {"content": "same"}, dedup="exact").action == "created"


def test_an_existing_key_is_updated_whatever_else_is_equal(memory: Memory) -> None:
    memory.remember("c", "a", {"content": "same"})
    second = memory.remember("c", "b", {"content": "other"})
    assert memory.remember("c", "b", {"content": "same"}, dedup="similar").id == second.id
    assert memory.stats().total_entities == 2


PAIRS = [
    ("the port is 5432", "the port is 5433"),
    ("paid on 2024-01-02", "paid on 2024-02-01"),
    ("the offset is -5 degrees", "the offset is 5 degrees"),
    ("a factor of 1.5", "a factor of 15"),
    ("a factor of .5", "a factor of 5"),
    (".5", "5"),
    ("area 10²", "area 102"),
    ("pay 1,5 percent", "pay 1 to 5 percent"),
    ("version 1.2", "version 1 2"),
    ("open at 10:30", "open at 10 30"),
    ("ratio 1/2", "ratio 1.2"),
    ("we do use tabs", "we do not use tabs"),
    ("we use tabs", "we don't use tabs"),
    ("alice reports to bob", "bob reports to alice"),
    ("copy from staging to production", "copy to staging from production"),
    ("written in C", "written in C++"),
    ("deploy with the flag", "deploy without the flag"),
    ("you may deploy", "you must deploy"),
    ("a > b", "a < b"),
]


@pytest.mark.parametrize("dedup", ["exact", "similar"])
@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_texts_that_say_something_else_never_merge(
    memory: Memory,
    old: str,
    new: str,
    dedup: Any,  # noqa: ANN401 - one of recall's words
) -> None:
    memory.remember("c", "old", {"content": old})
    assert memory.remember("c", "new", {"content": new}, dedup=dedup).action == "created"
    assert memory.stats().total_entities == 2


# --- many at once


def test_many_memories_are_stored_like_single_ones(open_memory: OpenMemory, tmp_path: Any) -> None:  # noqa: ANN401
    records = [
        {
            "category": f"c{number % 3}",
            "key": f"k{number}",
            "body_json": {"content": f"memory number {number} about {'tea' if number % 2 else 'coffee'}"},
            "tags": ["even"] if number % 2 == 0 else None,
            "workspace_hash": "w" if number % 5 == 0 else "",
            "importance": 0.3,
            "topic_path": "/t" if number % 4 == 0 else None,
            "status": "deprecated" if number % 7 == 0 else None,
            "recall_when": ["brewing"] if number % 6 == 0 else (),
            "valid_to_unix_ms": 5 if number % 11 == 0 else None,
            "layer": "world",
        }
        for number in range(40)
    ]
    one_by_one = open_memory(str(tmp_path / "single.db"))
    at_once = open_memory(str(tmp_path / "many.db"))
    for record in records:
        one_by_one.remember(**{name: value for name, value in record.items() if value is not None})  # type: ignore[arg-type]  # a record of its parameters
    assert at_once.remember_many(records) == RememberedMany(created=40, updated=0)
    for query in ("tea", "coffee memory", "number 7", ""):
        for mode in ("fts5", "dense", "hybrid"):
            for archived in (False, True):
                answers = [
                    [
                        (hit.category, hit.key, hit.workspace_hash, hit.body_json, hit.tags, hit.layer, hit.score)
                        for hit in memory.recall(
                            query, mode=mode, limit=100, include_archived=archived, reinforce=False
                        ).items
                    ]
                    for memory in (one_by_one, at_once)
                ]
                assert sorted(answers[0]) == sorted(answers[1])
                assert answers[0] or (query == "number 7" and not archived)


def test_many_memories_with_the_same_identity_become_one_with_a_history(memory: Memory) -> None:
    records = [{"category": "c", "key": "k", "body_json": {"content": f"text {n}"}} for n in range(5)]
    assert memory.remember_many(records) == RememberedMany(created=1, updated=4)
    assert json.loads(stored(memory, "c", "k").body_json) == {"content": "text 4"}
    trail = memory.history("c", "k").versions
    assert [json.loads(version.body_json)["content"] for version in trail] == [f"text {n}" for n in (3, 2, 1, 0)]


def test_many_memories_update_what_is_there_and_keep_what_they_leave_out(memory: Memory) -> None:
    memory.remember("c", "k", {"content": "old zebra"}, tags=["striped"], certainty=0.9)
    records = [
        {"category": "c", "key": "k", "body_json": {"content": "new walrus"}},
        {"category": "c", "key": "n", "body_json": {"content": "another"}},
    ]
    assert memory.remember_many(records) == RememberedMany(created=1, updated=1)
    entity = stored(memory, "c", "k")
    assert (entity.tags, entity.certainty) == (("striped",), 0.9)
    assert keys_of(memory, "zebra", mode="fts5") == []
    assert keys_of(memory, "walrus", mode="fts5") == ["k"]


def test_many_memories_revive_a_forgotten_one(memory: Memory) -> None:
    memory.remember("c", "k", {"content": "zebra"})
    memory.forget("c", "k")
    memory.remember_many([{"category": "c", "key": "k", "body_json": {"content": "zebra"}}])
    assert keys_of(memory, "zebra", mode="fts5") == ["k"]


def test_batches_are_told_as_they_are_stored(memory: Memory) -> None:
    told: list[int] = []
    records = ({"category": "c", "key": f"k{n}", "body_json": {}} for n in range(25))
    result = memory.remember_many(records, batch=10, progress=told.append)
    assert result == RememberedMany(created=25, updated=0)
    assert told == [10, 20, 25]


def test_no_memories_are_nothing(memory: Memory) -> None:
    assert memory.remember_many([]) == RememberedMany(created=0, updated=0)


@pytest.mark.parametrize(
    ("record", "name"),
    [
        ({"category": "c", "key": "k"}, "body_json"),
        ({"category": "c", "body_json": {}}, "key"),
        ({"key": "k", "body_json": {}}, "category"),
        ({"category": "c", "key": "k", "body_json": "no json"}, "body_json"),
        ({"category": "c", "key": "", "body_json": {}}, "key"),
        ({"category": "c", "key": "k", "body_json": {}, "colour": "red"}, "colour"),
        ({"category": "c", "key": "k", "body_json": {}, "tags": "alpha"}, "tags"),
        ({"category": "c", "key": "k", "body_json": {}, "tags": [5]}, "tags"),
        ({"category": "c", "key": "k", "body_json": {}, "certainty": "high"}, "certainty"),
        ({"category": "c", "key": "k", "body_json": {}, "importance": "high"}, "importance"),
        ({"category": "c", "key": "k", "body_json": {}, "always_on": "yes"}, "always_on"),
        ({"category": "c", "key": "k", "body_json": {}, "status": 5}, "status"),
        ({"category": "c", "key": "k", "body_json": {}, "layer": 5}, "layer"),
        ({"category": "c", "key": "k", "body_json": {}, "workspace_hash": 5}, "workspace_hash"),
        ({"category": "c", "key": "k", "body_json": {}, "recall_when": "now"}, "recall_when"),
        ({"category": "c", "key": "k", "body_json": {}, "valid_from_unix_ms": "soon"}, "valid_from_unix_ms"),
        ({"category": 5, "key": "k", "body_json": {}}, "category"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(map(str, value.values())),
)
def test_a_bad_memory_among_many_is_named_by_its_place(memory: Memory, record: dict[str, Any], name: str) -> None:
    good = [{"category": "c", "key": f"g{n}", "body_json": {}} for n in range(3)]
    with pytest.raises(InvalidInput, match=name) as raised:
        memory.remember_many([*good, record])
    assert "3" in raised.value.message
    assert raised.value.hint
    assert memory.stats().total_entities == 0


def test_a_bad_memory_leaves_the_batches_before_it(memory: Memory) -> None:
    records: list[dict[str, Any]] = [{"category": "c", "key": f"k{n}", "body_json": {}} for n in range(7)]
    records.append({"category": "c", "key": "bad", "body_json": "no json"})
    with pytest.raises(InvalidInput, match="Memory 7"):
        memory.remember_many(records, batch=3)
    assert memory.stats().total_entities == 6


def test_an_iterable_that_fails_leaves_whole_batches(memory: Memory) -> None:
    def records() -> Any:  # noqa: ANN401 - a generator of records
        yield from ({"category": "c", "key": f"k{n}", "body_json": {}} for n in range(5))
        message = "the source broke"
        raise ConnectionError(message)

    with pytest.raises(ConnectionError):
        memory.remember_many(records(), batch=2)
    assert memory.stats().total_entities == 4


TEXT = st.text(max_size=40)


@given(
    category=TEXT.filter(str.strip),
    key=TEXT.filter(str.strip),
    body=st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | TEXT,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
        max_leaves=8,
    ),
    tags=st.lists(TEXT, max_size=3),
    workspace=TEXT,
)
def test_whatever_is_remembered_is_there_again_to_the_letter(
    keyword_memory: Memory, category: str, key: str, body: object, tags: list[str], workspace: str
) -> None:
    given_body = json.dumps(body) if isinstance(body, str) else body
    result = keyword_memory.remember(category, key, given_body, tags=tags, workspace_hash=workspace)
    entity = keyword_memory.get_entity(result.id)
    assert (entity.category, entity.key, entity.workspace_hash) == (category, key, workspace)
    assert json.loads(entity.body_json) == body
    assert entity.tags == tuple(tags)
    (hit,) = keyword_memory.recall(key, category=category, workspace_hash=workspace, limit=1).items
    assert hit.key.strip() == key.strip()
