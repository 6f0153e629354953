"""Memories are linked, parted and walked."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import jsonschema
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimir import Conflict, InvalidInput, Memory, NotFound
from mimir.catalogue import load_catalogue
from mimir.operations.graph import Traversal
from tests.conftest import OpenMemory
from tests.doubles import FixedClock


def remember(memory: Memory, *keys: str, **options: object) -> list[str]:
    """Store memories of these keys and return their ids."""
    return [memory.remember("c", key, {"content": key}, **options).id for key in keys]  # type: ignore[arg-type]  # options of remember


def links_of(memory: Memory, entity_id: str) -> set[tuple[str, str, float]]:
    return {(link.target_id, link.relationship, link.weight) for link in memory.get_entity(entity_id).links}


def keys(walk: Traversal) -> list[str]:
    return [node.key for node in walk.traversed]


# --- linking


def test_a_link_stands_on_its_source_and_is_answered_as_asked(keyword_memory: Memory) -> None:
    a, b = remember(keyword_memory, "a", "b")
    linked = keyword_memory.link("c", "a", b, "depends_on")
    assert (linked.success, linked.source, linked.target, linked.relationship) == (True, "c/a", b, "depends_on")
    assert links_of(keyword_memory, a) == {(b, "depends_on", 0.5)}
    assert links_of(keyword_memory, b) == set()


def test_a_link_without_a_name_is_called_related(keyword_memory: Memory) -> None:
    a, b = remember(keyword_memory, "a", "b")
    assert keyword_memory.link("c", "a", b).relationship == "related"
    assert keyword_memory.link("c", "a", b, "").relationship == "related"
    assert links_of(keyword_memory, a) == {(b, "related", 0.5)}


def test_several_relationships_between_two_memories_are_kept_apart(keyword_memory: Memory) -> None:
    a, b = remember(keyword_memory, "a", "b")
    keyword_memory.link("c", "a", b, "depends_on", 0.9)
    keyword_memory.link("c", "a", b, "contradicts", 0.1)
    assert links_of(keyword_memory, a) == {(b, "depends_on", 0.9), (b, "contradicts", 0.1)}


def test_linking_again_keeps_one_link_and_its_weight(keyword_memory: Memory) -> None:
    a, b = remember(keyword_memory, "a", "b")
    keyword_memory.link("c", "a", b, "depends_on", 0.9)
    assert keyword_memory.link("c", "a", b, "depends_on").weight == 0.9
    assert links_of(keyword_memory, a) == {(b, "depends_on", 0.9)}


def test_linking_again_with_a_weight_changes_only_the_weight(keyword_memory: Memory) -> None:
    a, b = remember(keyword_memory, "a", "b")
    keyword_memory.link("c", "a", b)
    assert keyword_memory.link("c", "a", b, weight=0.25).weight == 0.25
    assert links_of(keyword_memory, a) == {(b, "related", 0.25)}


def test_the_source_was_last_used_when_a_link_changed_and_not_otherwise(
    keyword_memory: Memory, clock: FixedClock
) -> None:
    a, b = remember(keyword_memory, "a", "b")

    def used() -> int:
        return keyword_memory.get_entity(a).last_accessed_unix_ms

    stored = clock.now_ms()
    linked = clock.advance(10)
    keyword_memory.link("c", "a", b)
    assert used() == linked
    clock.advance(10)
    keyword_memory.link("c", "a", b)
    keyword_memory.link("c", "a", b, weight=0.5)
    keyword_memory.unlink("c", "a", b, "contradicts")
    assert used() == linked
    weighed = clock.advance(10)
    keyword_memory.link("c", "a", b, weight=0.6)
    assert used() == weighed
    parted = clock.advance(10)
    keyword_memory.unlink("c", "a", b)
    assert used() == parted
    assert keyword_memory.get_entity(b).last_accessed_unix_ms == stored


def test_linking_is_no_new_version_of_the_source(keyword_memory: Memory) -> None:
    a, b = remember(keyword_memory, "a", "b")
    recorded = keyword_memory.get_entity(a).recorded_at_unix_ms
    keyword_memory.link("c", "a", b)
    assert keyword_memory.history("c", "a").total == 0
    assert keyword_memory.get_entity(a).recorded_at_unix_ms == recorded
    assert keyword_memory.get_entity(a).retrieval_count == 0


def test_links_survive_an_update_of_their_source(keyword_memory: Memory) -> None:
    a, b = remember(keyword_memory, "a", "b")
    keyword_memory.link("c", "a", b)
    keyword_memory.remember("c", "a", {"content": "changed"})
    assert links_of(keyword_memory, a) == {(b, "related", 0.5)}


def test_an_archived_memory_can_be_linked_to(keyword_memory: Memory) -> None:
    a, b = remember(keyword_memory, "a", "b")
    keyword_memory.forget("c", "b")
    keyword_memory.link("c", "a", b)
    assert links_of(keyword_memory, a) == {(b, "related", 0.5)}


def test_the_ends_of_a_link_may_lie_in_different_workspaces(keyword_memory: Memory) -> None:
    (a,) = remember(keyword_memory, "a", workspace_hash="one")
    (b,) = remember(keyword_memory, "b", workspace_hash="two")
    keyword_memory.link("c", "a", b, workspace_hash="one")
    assert links_of(keyword_memory, a) == {(b, "related", 0.5)}
    assert keys(keyword_memory.traverse("c", "a", workspace_hash="one")) == ["b"]


def test_the_workspace_tells_sources_of_one_key_apart(keyword_memory: Memory) -> None:
    (one,) = remember(keyword_memory, "a", workspace_hash="one")
    (two,) = remember(keyword_memory, "a", workspace_hash="two")
    (b,) = remember(keyword_memory, "b")
    for ask in (
        lambda: keyword_memory.link("c", "a", b),
        lambda: keyword_memory.unlink("c", "a", b),
        lambda: keyword_memory.traverse("c", "a"),
    ):
        with pytest.raises(Conflict, match="one, two"):
            ask()
    keyword_memory.link("c", "a", b, workspace_hash="two")
    assert (links_of(keyword_memory, one), links_of(keyword_memory, two)) == (set(), {(b, "related", 0.5)})
    keyword_memory.unlink("c", "a", b, workspace_hash="one")
    assert links_of(keyword_memory, two) == {(b, "related", 0.5)}


def test_a_link_from_or_to_nothing_is_refused_and_leaves_no_trace(keyword_memory: Memory, clock: FixedClock) -> None:
    (a,) = remember(keyword_memory, "a")
    used = clock.now_ms()
    clock.advance()
    with pytest.raises(NotFound, match="Link failed: Source entity not found: c/none"):
        keyword_memory.link("c", "none", a)
    for nothing in ("mem-ffffffffffff", ""):
        with pytest.raises(NotFound, match="Link failed: Target entity not found"):
            keyword_memory.link("c", "a", nothing)
    with pytest.raises(NotFound, match="Unlink failed: Source entity not found: c/none"):
        keyword_memory.unlink("c", "none", a)
    with pytest.raises(NotFound, match="Traverse failed: entity not found: c/none"):
        keyword_memory.traverse("c", "none")
    assert keyword_memory.get_entity(a).links == ()
    assert keyword_memory.get_entity(a).last_accessed_unix_ms == used


def test_a_memory_cannot_be_linked_to_itself(keyword_memory: Memory) -> None:
    (a,) = remember(keyword_memory, "a")
    with pytest.raises(InvalidInput, match="itself"):
        keyword_memory.link("c", "a", a)
    assert keyword_memory.get_entity(a).links == ()


@pytest.mark.parametrize("name", ["depends on", "зависит-от", "依存", "🔗", "a\0b", "x" * 256, "é" * 128])
def test_any_name_of_up_to_256_bytes_is_kept_as_it_is(keyword_memory: Memory, name: str) -> None:
    a, b = remember(keyword_memory, "a", "b")
    assert keyword_memory.link("c", "a", b, name).relationship == name
    assert links_of(keyword_memory, a) == {(b, name, 0.5)}
    assert [node.relationship for node in keyword_memory.traverse("c", "a", relationship=name).traversed] == [name]


@pytest.mark.parametrize("name", [" ", "\t\n", "x" * 257, "é" * 129, "a\ud800"], ids=repr)
def test_a_name_that_is_blank_or_too_long_or_no_text_is_refused(keyword_memory: Memory, name: str) -> None:
    a, b = remember(keyword_memory, "a", "b")
    with pytest.raises(InvalidInput, match="relationship") as raised:
        keyword_memory.link("c", "a", b, name)
    assert raised.value.hint
    assert keyword_memory.get_entity(a).links == ()


@pytest.mark.parametrize("weight", [-0.1, 1.1, float("nan"), float("inf")])
def test_a_weight_outside_nought_to_one_is_refused(keyword_memory: Memory, weight: float) -> None:
    a, b = remember(keyword_memory, "a", "b")
    with pytest.raises(InvalidInput, match="weight"):
        keyword_memory.link("c", "a", b, weight=weight)
    assert keyword_memory.get_entity(a).links == ()


# --- parting


def test_unlinking_removes_every_relationship_to_the_target_and_no_other(keyword_memory: Memory) -> None:
    a, b, d = remember(keyword_memory, "a", "b", "d")
    keyword_memory.link("c", "a", b, "depends_on")
    keyword_memory.link("c", "a", b, "contradicts")
    keyword_memory.link("c", "a", d)
    keyword_memory.link("c", "b", a)
    parted = keyword_memory.unlink("c", "a", b)
    assert (parted.success, parted.source, parted.target, parted.removed) == (True, "c/a", b, 2)
    assert links_of(keyword_memory, a) == {(d, "related", 0.5)}
    assert links_of(keyword_memory, b) == {(a, "related", 0.5)}


def test_unlinking_one_relationship_leaves_the_others(keyword_memory: Memory) -> None:
    a, b = remember(keyword_memory, "a", "b")
    keyword_memory.link("c", "a", b, "depends_on")
    keyword_memory.link("c", "a", b, "contradicts")
    assert keyword_memory.unlink("c", "a", b, "contradicts").removed == 1
    assert links_of(keyword_memory, a) == {(b, "depends_on", 0.5)}


def test_unlinking_what_is_not_linked_succeeds(keyword_memory: Memory) -> None:
    remember(keyword_memory, "a")
    parted = keyword_memory.unlink("c", "a", "mem-ffffffffffff")
    assert (parted.success, parted.removed) == (True, 0)


# --- many at once

LINK = """
import sys
from mimir import Memory
with Memory.open(sys.argv[1], embedding="off") as memory:
    print("ready", flush=True)
    sys.stdin.readline()
    for target in sys.argv[2:]:
        memory.link("c", "hub", target)
"""


def test_no_link_is_lost_when_several_processes_link_one_memory_at_once(db: str, keyword_memory: Memory) -> None:
    hub, *others = remember(keyword_memory, "hub", *(f"k{number}" for number in range(40)))
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", LINK, db, *others[start::4]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for start in range(4)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [process.communicate(timeout=120)[1] for process in processes] == [""] * 4
    assert links_of(keyword_memory, hub) == {(other, "related", 0.5) for other in others}


def test_threads_that_link_and_unlink_one_memory_do_not_undo_each_other(keyword_memory: Memory) -> None:
    hub, *others = remember(keyword_memory, "hub", *(f"k{number}" for number in range(20)))
    for other in others[:10]:
        keyword_memory.link("c", "hub", other)
    together = threading.Barrier(4)

    def change(targets: list[str], *, linked: bool) -> None:
        together.wait()
        for target in targets:
            if linked:
                keyword_memory.unlink("c", "hub", target)
            else:
                keyword_memory.link("c", "hub", target)

    with ThreadPoolExecutor(4) as pool:
        done = [pool.submit(change, others[start : start + 5], linked=start < 10) for start in range(0, 20, 5)]
        for one in done:
            one.result()
    assert {target for target, _, _ in links_of(keyword_memory, hub)} == set(others[10:])


# --- walking


def link_all(memory: Memory, *pairs: str) -> dict[str, str]:
    """Store a memory for each letter and link the two of each pair; ids go by key, so that links come in that order."""
    ids = dict(zip(names := sorted({*"".join(pairs)}), remember(memory, *names), strict=True))
    for pair in pairs:
        memory.link("c", pair[0], ids[pair[1]])
    return ids


def test_a_walk_goes_depth_first_and_tells_how_it_came(keyword_memory: Memory) -> None:
    link_all(keyword_memory, "ab", "ad", "bc", "de")
    walk = keyword_memory.traverse("c", "a")
    assert walk.entity.key == "a"
    assert [(node.key, node.depth) for node in walk.traversed] == [("b", 1), ("c", 2), ("d", 1), ("e", 2)]
    assert {node.relationship for node in walk.traversed} == {"related"}
    assert walk.truncated is False


def test_every_node_of_a_walk_shows_its_body_and_its_own_links(keyword_memory: Memory) -> None:
    ids = link_all(keyword_memory, "ab", "bc", "bd")
    walk = keyword_memory.traverse("c", "a", max_depth=1)
    (node,) = walk.traversed
    assert [link.target_id for link in walk.entity.links] == [ids["b"]]
    assert (node.id, node.category, node.key, json.loads(node.body_json)) == (ids["b"], "c", "b", {"content": "b"})
    assert [link.target_id for link in node.links] == [ids["c"], ids["d"]]


def test_a_walk_ends_in_a_circle_and_shows_each_memory_once(keyword_memory: Memory) -> None:
    link_all(keyword_memory, "ab", "bc", "ca", "ac", "cb")
    assert keys(keyword_memory.traverse("c", "a", max_depth=64)) == ["b", "c"]


def test_two_relationships_lead_to_a_memory_once(keyword_memory: Memory) -> None:
    _, b = remember(keyword_memory, "a", "b")
    keyword_memory.link("c", "a", b, "second")
    keyword_memory.link("c", "a", b, "first")
    walk = keyword_memory.traverse("c", "a")
    assert [(node.key, node.relationship) for node in walk.traversed] == [("b", "first")]
    assert [link.relationship for link in walk.entity.links] == ["first", "second"]


def test_answers_of_the_graph_fit_their_output_schemas(keyword_memory: Memory) -> None:
    ids = link_all(keyword_memory, "ab")
    tools = {name: entry["tool"] for name, entry in load_catalogue().items()}
    for name, answer in (
        ("link", keyword_memory.link("c", "b", ids["a"])),
        ("traverse", keyword_memory.traverse("c", "a", direction="both")),
        ("traverse", keyword_memory.traverse("c", "a", max_depth=0)),
        ("unlink", keyword_memory.unlink("c", "b", ids["a"])),
        ("unlink", keyword_memory.unlink("c", "b", ids["a"])),
    ):
        wire = json.loads(msgspec.json.encode(answer))
        jsonschema.validate(wire, tools[name]["outputSchema"])
        assert wire.keys() >= {"link": {"from", "to"}, "unlink": {"from", "to"}}.get(name, set())


@pytest.mark.parametrize(("depth", "found"), [(-5, ""), (0, ""), (1, "b"), (2, "bc"), (3, "bcd"), (1_000, "bcdef")])
def test_a_walk_goes_as_deep_as_it_is_told(keyword_memory: Memory, depth: int, found: str) -> None:
    link_all(keyword_memory, "ab", "bc", "cd", "de", "ef")
    walk = keyword_memory.traverse("c", "a", max_depth=depth)
    assert "".join(keys(walk)) == found
    assert walk.truncated is False


def test_a_walk_goes_three_links_deep_unless_told_otherwise(keyword_memory: Memory) -> None:
    link_all(keyword_memory, "ab", "bc", "cd", "de")
    assert keys(keyword_memory.traverse("c", "a")) == ["b", "c", "d"]


def test_a_walk_is_never_deeper_than_64_links(keyword_memory: Memory) -> None:
    ids = remember(keyword_memory, *(f"k{number:02}" for number in range(70)))
    for number in range(69):
        keyword_memory.link("c", f"k{number:02}", ids[number + 1])
    walk = keyword_memory.traverse("c", "k00", max_depth=10**30)
    assert [node.depth for node in walk.traversed] == list(range(1, 65))


@pytest.mark.parametrize(("most", "found"), [(-1, ""), (0, ""), (1, "b"), (2, "bc"), (3, "bcd"), (10**9, "bcd")])
def test_a_walk_never_returns_more_than_it_is_told_and_says_when_there_is_more(
    keyword_memory: Memory, most: int, found: str
) -> None:
    link_all(keyword_memory, "ab", "ac", "ad")
    walk = keyword_memory.traverse("c", "a", max_nodes=most)
    assert "".join(keys(walk)) == found
    assert walk.truncated is (len(found) < 3)


def test_a_memory_may_have_thousands_of_links(keyword_memory: Memory) -> None:
    names = [f"k{number:04}" for number in range(2_001)]
    keyword_memory.remember_many({"category": "c", "key": name, "body_json": {"content": name}} for name in names)
    ids = [keyword_memory.traverse("c", name).entity.id for name in names]
    with keyword_memory.store.writing():
        for target in ids[1:]:
            keyword_memory.store.add_link(1, target, "related", 0.5, 0)
    assert keys(keyword_memory.traverse("c", "k0000", max_nodes=3_000)) == names[1:]
    assert len(keyword_memory.traverse("c", "k0000").traversed) == 100


def test_archived_and_retired_memories_are_walked_and_marked(keyword_memory: Memory) -> None:
    link_all(keyword_memory, "ab", "bc", "cd")
    keyword_memory.forget("c", "b")
    keyword_memory.remember("c", "c", {"content": "c"}, status="deprecated")
    walk = keyword_memory.traverse("c", "a")
    assert [(node.key, node.archived, node.status) for node in walk.traversed] == [
        ("b", True, "active"),
        ("c", False, "deprecated"),
        ("d", False, "active"),
    ]


def test_a_link_to_a_memory_that_is_gone_leads_nowhere(keyword_memory: Memory) -> None:
    ids = link_all(keyword_memory, "ab", "ac", "bd")
    keyword_memory.forget("c", "b")
    keyword_memory.purge(dry_run=False)
    walk = keyword_memory.traverse("c", "a")
    assert keys(walk) == ["c"]
    assert walk.truncated is False
    assert ids["b"] not in [node.id for node in walk.traversed]


def test_a_private_memory_of_another_agent_is_neither_linked_nor_shown_nor_walked_through(
    open_memory: OpenMemory,
) -> None:
    mine, theirs = open_memory(agent_id="me", embedding="off"), open_memory(agent_id="them", embedding="off")
    _, private, end = remember(mine, "a", "b", "d")
    mine.link("c", "a", private)
    mine.link("c", "b", end)
    mine.remember("c", "b", {"content": "secret"}, visibility="private")
    assert keys(mine.traverse("c", "a")) == ["b", "d"]
    assert keys(theirs.traverse("c", "a")) == []
    assert keys(theirs.traverse("c", "d", direction="in")) == []
    with pytest.raises(NotFound, match="Target entity not found"):
        theirs.link("c", "a", private, "found")
    for ask in (
        lambda: theirs.link("c", "b", end),
        lambda: theirs.unlink("c", "b", end),
        lambda: theirs.traverse("c", "b"),
    ):
        with pytest.raises(NotFound, match="not found: c/b"):
            ask()
    assert links_of(mine, private) == {(end, "related", 0.5)}


def test_a_walk_may_follow_one_relationship_only(keyword_memory: Memory) -> None:
    _, b, d, e = remember(keyword_memory, "a", "b", "d", "e")
    keyword_memory.link("c", "a", b, "depends_on")
    keyword_memory.link("c", "a", d)
    keyword_memory.link("c", "b", d)
    keyword_memory.link("c", "b", e, "depends_on")
    assert keys(keyword_memory.traverse("c", "a", relationship="depends_on")) == ["b", "e"]
    assert len(keyword_memory.traverse("c", "a", relationship="depends_on").entity.links) == 2


def test_a_walk_may_go_against_the_links_or_both_ways(keyword_memory: Memory) -> None:
    ids = link_all(keyword_memory, "ab", "bc", "db")
    back = keyword_memory.traverse("c", "b", direction="in")
    assert keys(back) == ["a", "d"]
    assert [link.target_id for link in back.traversed[0].links] == [ids["b"]]
    assert keys(keyword_memory.traverse("c", "c", direction="in")) == ["b", "a", "d"]
    assert keys(keyword_memory.traverse("c", "a", direction="both")) == ["b", "c", "d"]


def test_a_walk_changes_nothing(keyword_memory: Memory, clock: FixedClock) -> None:
    link_all(keyword_memory, "ab")
    before = keyword_memory.recall("", reinforce=False)
    clock.advance()
    keyword_memory.traverse("c", "a")
    keyword_memory.flush_uses()
    after = keyword_memory.recall("", reinforce=False)
    assert [hit.retrieval_count for hit in before.items] == [hit.retrieval_count for hit in after.items]
    assert [hit.last_accessed_unix_ms for hit in before.items] == [hit.last_accessed_unix_ms for hit in after.items]


# --- against a naive model

NAMES = "abcdef"
RELATIONSHIPS = ("x", "y")
changes = st.lists(
    st.tuples(
        st.sampled_from(["link", "link", "link", "unlink", "unlink one"]),
        st.sampled_from(NAMES),
        st.sampled_from(NAMES),
        st.sampled_from(RELATIONSHIPS),
    ),
    max_size=25,
)


@given(
    changes=changes,
    depth=st.integers(0, 6),
    most=st.integers(0, 6),
    relationship=st.none() | st.sampled_from(RELATIONSHIPS),
    direction=st.sampled_from(["out", "in", "both"]),
)
def test_walks_agree_with_a_naive_model_after_any_changes(
    keyword_memory: Memory,
    changes: list[tuple[str, str, str, str]],
    depth: int,
    most: int,
    relationship: str | None,
    direction: str,
) -> None:
    ids = dict(zip(NAMES, remember(keyword_memory, *NAMES), strict=True))
    edges: set[tuple[str, str, str]] = set()
    for source in NAMES:
        for target in NAMES:
            keyword_memory.unlink("c", source, ids[target])
    for change, source, target, name in changes:
        if source == target:
            continue
        if change == "link":
            keyword_memory.link("c", source, ids[target], name)
            edges.add((source, target, name))
        elif change == "unlink":
            keyword_memory.unlink("c", source, ids[target])
            edges = {edge for edge in edges if edge[:2] != (source, target)}
        else:
            keyword_memory.unlink("c", source, ids[target], name)
            edges.discard((source, target, name))

    def next_to(node: str) -> list[tuple[str, str]]:
        out = sorted((target, name) for source, target, name in edges if source == node)
        back = sorted((source, name) for source, target, name in edges if target == node)
        found = {"out": out, "in": back, "both": out + back}[direction]
        return [pair for pair in found if relationship in (None, pair[1])]

    expected: list[tuple[str, str, int]] = []
    seen = {"a"}

    def visit(node: str, level: int) -> None:
        for target, name in next_to(node) if level <= depth else ():
            if target not in seen:
                seen.add(target)
                expected.append((target, name, level))
                visit(target, level + 1)

    visit("a", 1)
    walk = keyword_memory.traverse(
        "c",
        "a",
        max_depth=depth,
        max_nodes=most,
        relationship=relationship,
        direction=direction,  # type: ignore[arg-type]  # one of the three words
    )
    assert [(node.key, node.relationship, node.depth) for node in walk.traversed] == expected[:most]
    assert walk.truncated is (len(expected) > most)
