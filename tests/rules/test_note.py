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
from mimir.rules.note import Layout, NoteLink, Target, note_name, original_name, read_note, write_note

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
    | st.builds(
        lambda text, properties: {"content": text, "properties": properties},
        LINES,
        st.dictionaries(st.sampled_from(["aliases", "rating", "key", "a b", "due"]) | TEXT, VALUES, max_size=3),
    )
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
    body = {"content": "We chose SQLite."} if body is None else body
    return Entity(body_json=json.dumps(body, separators=(",", ":")), **values)


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


def targets(one: Entity) -> dict[str, Target]:
    """Return what every link of a memory leads to, as if each had a note."""
    return {link.target_id: Target(note_name(link.target_id), f"key of {link.target_id}") for link in one.links}


@given(
    entity=ENTITIES,
    floor=st.none() | st.floats(0, 1),
    known=st.booleans(),
    layout=st.sampled_from(["obsidian", "logseq"]),
)
@example(entity=entity({"content": "a\n\n## Links\n\n- [[x]] (y)"}), floor=None, known=True, layout="obsidian")
@example(entity=entity({"content": '{"a": 1}'}), floor=None, known=True, layout="obsidian")
@example(entity=entity({"content": "```json\n```"}), floor=None, known=True, layout="obsidian")
@example(entity=entity({"content": " spaces around \n"}), floor=None, known=True, layout="obsidian")
@example(entity=entity({"content": "a\r\nb"}), floor=0.25, known=False, layout="obsidian")
@example(entity=entity({"content": "a:: b"}), floor=0.25, known=False, layout="logseq")
@example(entity=entity({"content": "x", "properties": {"key": "k"}}), floor=None, known=True, layout="obsidian")
@example(
    entity=entity({"content": "x", "properties": {"aliases": ["b", "b"]}}), floor=None, known=True, layout="logseq"
)
def test_every_entity_comes_back_from_its_note(
    entity: Entity, floor: float | None, known: bool, layout: Layout
) -> None:
    note = read_note(write_note(entity, targets(entity) if known else {}, floor, layout))
    assert note.is_own
    assert note.body_json == entity.body_json or len(entity.body_json) > 100_000
    for name in Entity.__struct_fields__:
        if name not in ("body_json", "links", "archived", "archive_reason"):
            default = None if name.startswith("valid_") else () if name == "tags" else ""
            assert note.fields.get(name, default) == getattr(entity, name), name
    assert note.fields.get("score_floor") == floor
    if known:
        expected = {(note_name(link.target_id), link.relationship, link.weight, False) for link in entity.links}
        assert set(map(tuple, note.links)) == expected


@given(entity=ENTITIES, layout=st.sampled_from(["obsidian", "logseq"]))
def test_a_note_that_is_read_and_written_again_is_the_same(entity: Entity, layout: Layout) -> None:
    first = write_note(entity, targets(entity), layout=layout)
    note = read_note(first)
    fields = {name: value for name, value in note.fields.items() if name in Entity.__struct_fields__}
    again = Entity(**fields, body_json=note.body_json, links=entity.links)
    assert write_note(again, targets(entity), layout=layout) == first


@given(entity=ENTITIES)
def test_other_readers_of_yaml_see_the_same_texts(entity: Entity) -> None:
    told = yaml.safe_load(front_matter(write_note(entity, {})))
    for name in ("id", "category", "key", "type", "workspace_hash", "status", "source"):
        assert told[name] == getattr(entity, name)
    assert told["tags"] == list(entity.tags)
    assert told["aliases"][0] == entity.key
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
        write_note(one, {"mem-2": Target("mem-2", "old [database]")})
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
aliases: [database]
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
    assert json.loads(note.body_json) == {"content": "Some words.\nMore.", "properties": {"unknown": 5}}
    assert not note.is_own


def test_tags_may_be_a_comma_list() -> None:
    assert read_note("---\ntags: a, b c\n---\n").fields["tags"] == ("a", "b c")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("---\nkey: a\n", "unclosed frontmatter"),
        ("---\nkey: [a\n---\n", "no YAML"),
        ("---\n- a\n---\n", "no fields"),
        ("---\nkey: a\n---\n```json\n{\n```\n", "JSON block"),
        ("---\nrating: 5\n---\n[1, 2]\n", "'rating' is no field of a memory"),
        ("---\n" + "[" * 5_000 + "\n---\n", "frontmatter"),
    ],
)
def test_what_cannot_be_read_is_named(text: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        read_note(text)


WRONG = [
    ("key", "{a: b}"),
    ("decay_score", "strong"),
    ("certainty", ".nan"),
    ("certainty", "nan"),
    ("decay_score", "1.5"),
    ("retrieval_count", "-1"),
    ("valid_to", "99999999999999999999"),
    ("verified", "perhaps"),
    ("created", "yesterday"),
]


@pytest.mark.parametrize(("field", "value"), WRONG)
def test_a_value_of_the_wrong_kind_is_an_error_in_a_note_of_ours(field: str, value: str) -> None:
    fields = {"id": "mem-1", "category": "c", "key": "k", field: value}
    with pytest.raises(InvalidInput, match=f"'{field}'"):
        read_note("---\n" + "".join(f"{name}: {value}\n" for name, value in fields.items()) + "---\nx\n")


@pytest.mark.parametrize(("field", "value"), WRONG)
def test_in_a_note_by_hand_it_is_a_property(field: str, value: str) -> None:
    note = read_note(f"---\n{field}: {value}\n---\nx\n")
    assert field not in note.fields
    assert str(json.loads(note.body_json)["properties"][f"{field}_"]).replace("'", "") == value


@pytest.mark.parametrize("text", ["", "just words", "----\nkey: a\n---", "---\n\nbelow a rule", "# A title\n\n> words"])
def test_any_markdown_is_a_note(text: str) -> None:
    note = read_note(text)
    assert (note.fields, json.loads(note.body_json)) == ({}, {"content": text})


def test_properties_of_other_programs_are_kept_as_they_are() -> None:
    note = read_note(
        "---\naliases:\n  - Alpha\ntags: ['#work', plan]\ndue: 2026-05-01\nrating: 4.5\ndone: false\n"
        "nothing:\ncode: '007'\ncssclasses: [wide, dark]\n---\nWords.\n"
    )
    properties = {
        "aliases": ["Alpha"],
        "due": "2026-05-01",
        "rating": 4.5,
        "done": False,
        "nothing": None,
        "code": "007",
        "cssclasses": ["wide", "dark"],
    }
    assert note.fields == {"tags": ("work", "plan")}
    assert json.loads(note.body_json) == {"content": "Words.", "properties": properties}
    again = write_note(msgspec.structs.replace(entity(), body_json=note.body_json), {})
    assert again.endswith(
        'aliases: [database, Alpha]\ndue: 2026-05-01\nrating: 4.5\ndone: false\nnothing: null\ncode: "007"\n'
        'cssclasses: ["wide", "dark"]\n---\n\nWords.\n'
    )
    assert read_note(again).body_json == note.body_json


@pytest.mark.parametrize(
    "body", ['{"content": "x"}', '{"content":"caf\\u00e9"}', '{"b": 1.50, "a": [ ]}', '{ "content" : "x" }', '"x"']
)
def test_a_body_comes_back_letter_for_letter(body: str) -> None:
    note = write_note(msgspec.structs.replace(entity(), body_json=body), {})
    assert read_note(note).body_json == body
    changed = note.replace("x", "y")
    assert json.loads(read_note(changed).body_json) == json.loads(body.replace("x", "y"))


def test_a_page_of_logseq_has_properties_instead_of_front_matter() -> None:
    one = entity(tags=("storage", "a, b"), links=(Link(target_id="mem-2", relationship="used by", weight=0.5),))
    text = write_note(one, {"mem-2": Target("mem-2", "cache")}, layout="logseq")
    assert text.startswith("mimir-id:: mem-0123456789ab\ncategory:: decision\nkey:: database\n")
    assert "\ntags:: storage, [[a, b]]\n" in text
    assert text.endswith("\nalias:: database\n\nWe chose SQLite.\n\n## Links\n\n- [[mem-2|cache]] (used by)\n")
    assert read_note(text).fields["tags"] == one.tags


def test_the_layout_of_the_original_is_its_own_byte_for_byte() -> None:
    links = (
        Link(target_id="mem-2", relationship="used by", weight=0.5),
        Link(target_id="gone:1", relationship="related", weight=0.5),
    )
    one = entity(
        {"content": "We chose SQLite.", "port": 1},
        tags=("storage", "a, b"),
        key="no: #1 [odd]",
        decay_score=0.75,
        retrieval_count=3,
        layer="working",
        created_at_unix_ms=1_769_860_800_123,
        last_accessed_unix_ms=1_769_904_000_000,
        links=links,
    )
    text = write_note(one, {"mem-2": Target("elsewhere", "cache")}, layout="original")
    section = "\n## Links\n\n- [[mem-2|cache]] (used by)\n- [[gone_1]] (related) \u2014 unresolved"
    assert text == of_original(f"{one.body_json}\n{section}", key="no: #1 [odd]")
    assert original_name("gone:1") == "gone_1"


def test_the_name_of_a_note_is_safe() -> None:
    assert note_name("mem-0123456789ab") == "mem-0123456789ab"
    assert original_name("../a b:\\ü") == "___a_b__ü"
    odd = ["../a b:\\ü", "___a_b__ü", "Mem-A", "mem-a", "con", "nul", "x" * 300, "x" * 301, "", "é", "e\u0301"]
    names = [note_name(entity_id) for entity_id in odd]
    assert len({name.casefold() for name in names}) == len(odd)
    assert all(set(name) <= set(original_name(name)) and 0 < len(name) < 150 for name in names)


def test_an_unresolved_link_keeps_an_id_that_is_no_file_name() -> None:
    one = entity(links=(Link(target_id="old:7", relationship="a) 0.8", weight=0.5),))
    assert read_note(write_note(one, {})).links == (NoteLink("old:7", "a) 0.8", 0.5, unresolved=True),)


def test_a_heading_above_other_words_is_part_of_the_text() -> None:
    text = "See below.\n\n## Links\n\nnothing yet"
    note = write_note(entity({"content": text}), {})
    assert text in note
    assert json.loads(read_note(note).body_json) == {"content": text}


@pytest.mark.parametrize("weight", ["9" * 400, "-3", "1.5", "1e", "e", "..", "-"])
def test_a_weight_that_no_link_can_have_is_taken_for_none(weight: str) -> None:
    (link,) = read_note(f"---\nkey: k\n---\n\nwords\n\n## Links\n\n- [[a]] (r) {weight}\n").links
    assert (link.name, link.relationship, link.weight) == ("a", "r", 0.5)
