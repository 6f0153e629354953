"""Notes: what is written for people comes back as the same memory."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from mimir import InvalidInput
from mimir.model import Entity, Link
from mimir.rules.note import NoteLink, note_name, read_note, write_note

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
LINES = st.lists(
    TEXT | st.sampled_from(["---", "## Links", "- [[a|b]] (c)", "```json", "```", "", "key: value", "# Title", "{}"]),
    max_size=6,
).map("\n".join)
MOMENTS = st.integers(-(1 << 63), (1 << 63) - 1)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | LINES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
BODIES = (
    st.builds(lambda name, text: {name: text}, st.sampled_from(["content", "text", "value"]), LINES)
    | st.dictionaries(TEXT, VALUES, max_size=3)
    | VALUES
)
LINKS = st.lists(
    st.builds(Link, target_id=TEXT.filter(bool), relationship=TEXT.filter(bool), weight=st.floats(0, 1)), max_size=3
).map(tuple)
ENTITIES = st.builds(
    Entity,
    id=TEXT.filter(bool),
    category=TEXT,
    key=LINES,
    body_json=BODIES.map(json.dumps) | BODIES.map(lambda body: json.dumps(body, ensure_ascii=False, indent=1)),
    status=TEXT,
    type=TEXT,
    tags=st.lists(TEXT.filter(bool), max_size=3).map(tuple),
    decay_score=st.integers(0, 10_000).map(lambda share: share / 10_000),
    retrieval_count=st.integers(0, 1 << 40),
    layer=TEXT,
    topic_path=TEXT,
    verified=st.booleans(),
    source=TEXT,
    always_on=st.booleans(),
    certainty=st.floats(0, 1),
    workspace_hash=TEXT,
    agent_id=TEXT,
    visibility=st.sampled_from(["private", "workspace", "public"]),
    created_at_unix_ms=MOMENTS,
    last_accessed_unix_ms=MOMENTS,
    recorded_at_unix_ms=MOMENTS,
    valid_from_unix_ms=st.none() | MOMENTS,
    valid_to_unix_ms=st.none() | MOMENTS,
    links=LINKS,
)


def entity(body: object = None, **fields: Any) -> Entity:  # noqa: ANN401 - any field
    values = {"id": "mem-0123456789ab", "category": "decision", "key": "database", **fields}
    return Entity(body_json=json.dumps({"content": "We chose SQLite."} if body is None else body), **values)


def front_matter(note: str) -> str:
    return note.split("---\n")[1]


def of_original(body: str, **changed: str) -> str:
    """Return a note in the layout of the Rust Mimir."""
    fields = {
        "id": "mem-0123456789ab",
        "category": "decision",
        "key": "database",
        "type": "insight",
        "workspace_hash": "",
        "agent_id": "",
        "tags": '["storage","a, b"]',
        "decay_score": "0.7500",
        "retrieval_count": "3",
        "layer": "working",
        "created": "2026-01-31T12:00:00Z",
        "last_accessed": "2026-02-01T00:00:00Z",
        **changed,
    }
    return "---\n" + "".join(f"{name}: {value}\n" for name, value in fields.items()) + f"---\n\n{body}\n"


@given(entity=ENTITIES, floor=st.none() | st.floats(0, 1), known=st.booleans())
@example(entity=entity({"content": "a\n\n## Links\n\n- [[x]] (y)"}), floor=None, known=True)
@example(entity=entity({"content": '{"a": 1}'}), floor=None, known=True)
@example(entity=entity({"content": "```json\n```"}), floor=None, known=True)
@example(entity=entity({"content": " spaces around \n"}), floor=None, known=True)
@example(entity=entity({"content": "a\r\nb"}), floor=0.25, known=False)
def test_every_entity_comes_back_from_its_note(entity: Entity, floor: float | None, known: bool) -> None:
    keys = {link.target_id: f"key of {link.target_id}" for link in entity.links} if known else {}
    note = read_note(write_note(entity, keys, floor))
    assert json.loads(note.body_json) == json.loads(entity.body_json)
    for name in Entity.__struct_fields__:
        if name not in ("body_json", "links", "archived", "archive_reason"):
            default = None if name.startswith("valid_") else ""
            assert note.fields.get(name, default) == getattr(entity, name), name
    assert note.fields.get("score_floor") == floor
    if known:
        expected = {(note_name(link.target_id), link.relationship, link.weight, False) for link in entity.links}
        assert set(map(tuple, note.links)) == expected


@given(entity=ENTITIES)
def test_a_note_that_is_read_and_written_again_is_the_same(entity: Entity) -> None:
    keys = {link.target_id: link.target_id for link in entity.links}
    first = write_note(entity, keys)
    note = read_note(first)
    fields = {name: value for name, value in note.fields.items() if name in Entity.__struct_fields__}
    again = Entity(**fields, body_json=note.body_json, links=entity.links)
    assert write_note(again, keys) == first


@given(entity=ENTITIES)
def test_other_readers_of_yaml_see_the_same_texts(entity: Entity) -> None:
    told = yaml.safe_load(front_matter(write_note(entity, {})))
    for name in ("id", "category", "key", "type", "workspace_hash", "status", "source"):
        assert told[name] == getattr(entity, name)
    assert told["tags"] == list(entity.tags)
    assert told["verified"] is entity.verified


@given(text=LINES | st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    for note in (text, f"---\n{text}\n---\nbody", f"---\nkey: k\n---\n{text}"):
        try:
            read = read_note(note)
        except InvalidInput:
            continue
        json.loads(read.body_json)


def test_a_note_reads_like_a_note() -> None:
    one = entity(
        {"content": "We chose SQLite.\n\nIt is one file."},
        tags=("storage", "a: b"),
        created_at_unix_ms=1_769_860_800_000,
        last_accessed_unix_ms=1_769_860_800_123,
        recorded_at_unix_ms=1_769_860_800_000,
        valid_to_unix_ms=1 << 62,
        links=(
            Link(target_id="mem-2", relationship="supersedes", weight=0.5),
            Link(target_id="mem-3", relationship="related", weight=0.25),
        ),
    )
    assert (
        write_note(one, {"mem-2": "old [database]"})
        == """\
---
id: mem-0123456789ab
category: decision
key: database
type: insight
workspace_hash: ""
agent_id: ""
tags: [storage, "a: b"]
decay_score: 1.0000
retrieval_count: 0
layer: buffer
created: 2026-01-31T12:00:00Z
last_accessed: 2026-01-31T12:00:00.123Z
recorded: 2026-01-31T12:00:00Z
valid_to: 4611686018427387904
status: active
certainty: 0.5
verified: false
always_on: false
visibility: workspace
source: agent
---

We chose SQLite.

It is one file.

## Links

- [[mem-2|old database]] (supersedes)
- [[mem-3]] (related) 0.25 \u2014 unresolved
"""
    )


def test_a_body_of_several_members_is_a_json_block() -> None:
    note = write_note(entity({"content": "x", "port": 5432}), {})
    assert note.endswith('---\n\n```json\n{\n  "content": "x",\n  "port": 5432\n}\n```\n')


def test_numbers_of_a_body_keep_their_digits() -> None:
    one = msgspec.structs.replace(entity(), body_json='{"a":1.10,"b":123456789012345678901234567890}')
    assert read_note(write_note(one, {})).body_json == one.body_json


@pytest.mark.parametrize(
    "key", ["no", "1e3", "0x1F", "12:30", "2026-01-31", "null", "~", "a: b", "#5", "x # y", "[a", "@a", "é", "-", "'"]
)
def test_keys_that_mean_something_else_in_yaml_stay_texts(key: str) -> None:
    assert read_note(write_note(entity(key=key), {})).fields["key"] == key
    assert read_note(of_original('{"content":"x"}', key=key)).fields["key"] == key


def test_a_note_of_the_original_is_read() -> None:
    note = read_note(of_original('{"content":"We chose SQLite.","port":1}\n\n## Links\n\n- [[mem-2|cache]] (used by)'))
    assert note.body_json == '{"content":"We chose SQLite.","port":1}'
    assert note.links == (NoteLink("mem-2", "used by", 0.5, unresolved=False),)
    assert note.fields["tags"] == ("storage", "a, b")
    assert (note.fields["decay_score"], note.fields["retrieval_count"]) == (0.75, 3)
    assert note.fields["created_at_unix_ms"] == 1_769_860_800_000


def test_a_note_of_the_original_without_json_becomes_content() -> None:
    assert json.loads(read_note(of_original("just words")).body_json) == {"content": "just words"}


def test_a_note_written_by_hand_says_only_what_it_says() -> None:
    note = read_note("\n---\ntags: [a, b]\nkey: idea\nverified:\nunknown: 5\n---\nSome words.\r\nMore.\r\n")
    assert note.fields == {"tags": ("a", "b"), "key": "idea"}
    assert json.loads(note.body_json) == {"content": "Some words.\nMore."}


def test_tags_may_be_a_comma_list() -> None:
    assert read_note("---\ntags: a, b c\n---\n").fields["tags"] == ("a", "b c")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no frontmatter"),
        ("just words", "no frontmatter"),
        ("----\nkey: a\n---\n", "no frontmatter"),
        ("---\nkey: a\n", "unclosed frontmatter"),
        ("---\nkey: [a\n---\n", "no YAML"),
        ("---\n- a\n---\n", "no fields"),
        ("---\nkey: {a: b}\n---\n", "'key'"),
        ("---\ndecay_score: strong\n---\n", "'decay_score'"),
        ("---\ncertainty: .nan\n---\n", "'certainty'"),
        ("---\ncertainty: nan\n---\n", "'certainty'"),
        ("---\ndecay_score: 1.5\n---\n", "'decay_score'"),
        ("---\nretrieval_count: -1\n---\n", "'retrieval_count'"),
        ("---\nvalid_to: 99999999999999999999\n---\n", "'valid_to'"),
        ('---\nsource: "\\ud800"\n---\n', "frontmatter|'source'"),
        ("---\nverified: perhaps\n---\n", "'verified'"),
        ("---\ncreated: yesterday\n---\n", "'created'"),
        ("---\nkey: a\n---\n```json\n{\n```\n", "JSON block"),
        ("---\n" + "[" * 5_000 + "\n---\n", "frontmatter"),
    ],
)
def test_what_cannot_be_read_is_named(text: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        read_note(text)


def test_the_name_of_a_note_is_safe() -> None:
    assert note_name("mem-0123456789ab") == "mem-0123456789ab"
    assert note_name("../a b:\\ü") == "___a_b__ü"


def test_an_unresolved_link_keeps_an_id_that_is_no_file_name() -> None:
    one = entity(links=(Link(target_id="old:7", relationship="a) 0.8", weight=0.5),))
    assert read_note(write_note(one, {})).links == (NoteLink("old:7", "a) 0.8", 0.5, unresolved=True),)


def test_a_heading_above_other_words_is_part_of_the_text() -> None:
    text = "See below.\n\n## Links\n\nnothing yet"
    note = write_note(entity({"content": text}), {})
    assert text in note
    assert json.loads(read_note(note).body_json) == {"content": text}
