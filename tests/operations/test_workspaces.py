"""Workspaces are listed, and memories are copied between them, never moved."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mimir import Conflict, InvalidInput, Memory, NotFound
from mimir.model import Entity
from tests.conftest import OpenMemory
from tests.doubles import START_MS, FixedClock


def remember(memory: Memory, key: str, workspace: str = "", text: str = "green tea", **fields: Any) -> str:  # noqa: ANN401
    return memory.remember("c", key, {"content": text}, workspace_hash=workspace, **fields).id


def link(memory: Memory, key: str, target: str, workspace: str, relationship: str) -> None:
    (stored,) = memory.store.find("c", target, workspace)
    memory.link("c", key, stored.entity.id, relationship, workspace_hash=workspace)


def found(memory: Memory, key: str, workspace: str) -> Entity | None:
    stored = memory.store.find("c", key, workspace)
    return stored[0].entity if stored else None


def content(entity: Entity | None) -> object:
    return None if entity is None else json.loads(entity.body_json)["content"]


# --- workspace_list


def test_categories_and_workspaces_of_live_memories_are_listed(memory: Memory) -> None:
    memory.remember("tea", "a", {"content": "x"})
    memory.remember("cake", "a", {"content": "x"}, workspace_hash="team")
    memory.remember("cake", "b", {"content": "x"}, workspace_hash="team")
    memory.remember("gone", "a", {"content": "x"}, workspace_hash="old")
    memory.forget("gone", "a")
    answer = memory.workspace_list()
    assert answer.categories == ("cake", "tea")
    assert answer.total == 2
    assert [(one.workspace_hash, one.entities) for one in answer.workspaces] == [("", 1), ("team", 2)]


def test_an_empty_store_has_no_workspaces(memory: Memory) -> None:
    answer = memory.workspace_list()
    assert (answer.categories, answer.total, answer.workspaces) == ((), 0, ())


def test_private_memories_of_another_agent_are_not_counted(open_memory: OpenMemory) -> None:
    mine, theirs = open_memory(agent_id="me"), open_memory(agent_id="them")
    mine.remember("secret", "a", {"content": "x"}, workspace_hash="mine", visibility="private")
    assert mine.workspace_list().categories == ("secret",)
    assert theirs.workspace_list().workspaces == ()


# --- share


def test_sharing_copies_and_leaves_the_original(memory: Memory, clock: FixedClock) -> None:
    original = remember(
        memory,
        "k",
        "mine",
        tags=["drink"],
        certainty=0.8,
        topic_path="/tea",
        type="note",
        layer="world",
        valid_from_unix_ms=5,
    )
    memory.score("c", "k", 0.9)
    other = remember(memory, "cup", "mine")
    link(memory, "k", "cup", "mine", "goes with")
    memory.recall("green tea")
    memory.flush_uses()
    before = found(memory, "k", "mine")
    clock.advance(10)
    answer = memory.share("c", "k", "team")
    assert (answer.action, answer.from_workspace, answer.to_workspace) == ("created", "mine", "team")
    copy = memory.get_entity(answer.shared_id)
    assert answer.shared_id != original
    assert (copy.workspace_hash, copy.key, copy.tags) == ("team", "k", ("drink",))
    assert before is not None
    assert (copy.certainty, copy.verified, copy.decay_score) == (0.8, True, before.decay_score)
    assert (copy.topic_path, copy.entity_type, copy.valid_from_unix_ms) == ("/tea", "note", 5)
    assert (copy.retrieval_count, copy.layer) == (0, "buffer")
    assert (copy.created_at_unix_ms, copy.recorded_at_unix_ms) == (START_MS, START_MS + 10)
    assert [(link.target_id, link.relationship) for link in copy.links] == [(other, "goes with")]
    assert found(memory, "k", "mine") == before


@pytest.mark.parametrize("mode", ["fts5", "dense", "hybrid"])
def test_the_copy_is_recalled_in_its_workspace(memory: Memory, mode: str) -> None:
    remember(memory, "k", "mine")
    shared = memory.share("c", "k", "team").shared_id
    assert [hit.id for hit in memory.recall("green tea", mode=mode, workspace_hash="team").items] == [shared]
    assert len(memory.recall("green tea", mode=mode).items) == 2


def test_the_copy_keeps_the_floor_of_an_explicit_score(memory: Memory) -> None:
    remember(memory, "k", "mine")
    memory.score("c", "k", 0.9)
    memory.share("c", "k", "team")
    (copy,) = memory.store.find("c", "k", "team")
    assert copy.score_floor == 0.9


def test_sharing_again_updates_the_copy_and_keeps_what_it_said(memory: Memory, clock: FixedClock) -> None:
    remember(memory, "k", "mine")
    first = memory.share("c", "k", "team")
    clock.advance(10)
    remember(memory, "k", "mine", "black tea", tags=["drink"])
    again = memory.share("c", "k", "team")
    assert (again.shared_id, again.action) == (first.shared_id, "updated")
    copy = found(memory, "k", "team")
    assert copy is not None
    assert (content(copy), copy.tags) == ("black tea", ("drink",))
    (version,) = memory.history("c", "k", workspace_hash="team").versions
    assert json.loads(version.body_json)["content"] == "green tea"


def test_a_change_of_the_copy_leaves_the_original_alone(memory: Memory) -> None:
    remember(memory, "k", "mine")
    memory.share("c", "k", "team")
    remember(memory, "k", "team", "black tea")
    assert content(found(memory, "k", "mine")) == "green tea"


def test_links_of_an_updated_copy_are_joined_not_replaced(memory: Memory) -> None:
    for key in ("k", "cup", "pot"):
        remember(memory, key, "mine")
    remember(memory, "k", "team")
    remember(memory, "spoon", "team")
    link(memory, "k", "cup", "mine", "goes with")
    link(memory, "k", "spoon", "team", "goes with")
    memory.share("c", "k", "team", workspace_hash="mine")
    copy = found(memory, "k", "team")
    assert copy is not None
    assert len(copy.links) == 2


def test_the_copy_in_the_target_does_not_make_the_name_ambiguous(memory: Memory) -> None:
    remember(memory, "k", "mine")
    remember(memory, "k", "team", "old")
    assert memory.share("c", "k", "team").from_workspace == "mine"
    remember(memory, "k", "third")
    with pytest.raises(Conflict):
        memory.share("c", "k", "team")
    assert memory.share("c", "k", "team", workspace_hash="third").from_workspace == "third"


def test_sharing_to_the_global_workspace_and_from_it(memory: Memory) -> None:
    remember(memory, "k", "mine")
    assert memory.share("c", "k", "").to_workspace == ""
    assert memory.share("c", "k", "team").from_workspace == ""


def test_sharing_into_the_same_workspace_is_refused(memory: Memory) -> None:
    remember(memory, "k", "mine")
    with pytest.raises(InvalidInput, match="already"):
        memory.share("c", "k", "mine")
    with pytest.raises(InvalidInput, match="already"):
        memory.share("c", "k", "mine", workspace_hash="mine")


@pytest.mark.parametrize("forgotten", [False, True])
def test_sharing_what_is_not_there_says_so(memory: Memory, forgotten: bool) -> None:
    if forgotten:
        remember(memory, "k", "mine")
        memory.forget("c", "k")
    with pytest.raises(NotFound, match="Entity not found: c/k"):
        memory.share("c", "k", "team")


def test_a_private_memory_is_shared_by_its_own_agent_only_and_stays_private(open_memory: OpenMemory) -> None:
    mine, theirs = open_memory(agent_id="me"), open_memory(agent_id="them")
    remember(mine, "k", "mine", visibility="private")
    with pytest.raises(NotFound):
        theirs.share("c", "k", "team")
    shared = mine.share("c", "k", "team").shared_id
    assert mine.get_entity(shared).visibility == "private"
    with pytest.raises(NotFound):
        theirs.get_entity(shared)


def test_sharing_never_overwrites_a_private_memory_of_another_agent(open_memory: OpenMemory) -> None:
    mine, theirs = open_memory(agent_id="me"), open_memory(agent_id="them")
    remember(mine, "k", "team", "secret", visibility="private")
    remember(theirs, "k", "mine")
    with pytest.raises(Conflict):
        theirs.share("c", "k", "team")
    assert content(found(mine, "k", "team")) == "secret"


# --- federate


def test_federating_copies_every_live_memory(memory: Memory) -> None:
    for place in range(120):
        remember(memory, f"k{place}", "mine", f"tea number {place}")
    remember(memory, "gone", "mine")
    memory.forget("c", "gone", workspace_hash="mine")
    remember(memory, "elsewhere", "other")
    answer = memory.federate("mine", "team")
    assert (answer.exported, answer.remapped, answer.imported) == (120, 120, 120)
    assert (answer.import_errors, answer.links_dropped) == ((), 0)
    counts = {one.workspace_hash: one.entities for one in memory.workspace_list().workspaces}
    assert counts == {"mine": 120, "team": 120, "other": 1}
    assert content(found(memory, "k7", "team")) == "tea number 7"


def test_links_lead_to_the_copies_or_to_global_memories_and_others_are_dropped(memory: Memory) -> None:
    for key in ("a", "b"):
        remember(memory, key, "mine")
    common = remember(memory, "common")
    stranger = remember(memory, "stranger", "other")
    (stored,) = memory.store.find("c", "a", "mine")
    target = found(memory, "b", "mine")
    assert target is not None
    with memory.writing() as now:
        for target_id in (target.id, common, stranger, "mem-000000000000"):
            memory.store.add_link(stored.number, target_id, "goes with", 0.5, now)
    answer = memory.federate("mine", "team")
    assert answer.links_dropped == 2
    copy, copied_target = found(memory, "a", "team"), found(memory, "b", "team")
    assert copy is not None
    assert copied_target is not None
    assert {(link.target_id, link.relationship, link.weight) for link in copy.links} == {
        (copied_target.id, "goes with", 0.5),
        (common, "goes with", 0.5),
    }
    original = found(memory, "a", "mine")
    assert original is not None
    assert len(original.links) == 4


def test_links_to_memories_of_a_later_batch_are_led_to_their_copies(memory: Memory) -> None:
    for place in range(120):
        remember(memory, f"k{place}", "mine")
    link(memory, "k0", "k119", "mine", "leads to")
    memory.federate("mine", "team")
    copy, last = found(memory, "k0", "team"), found(memory, "k119", "team")
    assert copy is not None
    assert last is not None
    assert [link.target_id for link in copy.links] == [last.id]


def test_federating_again_updates_what_changed(memory: Memory, clock: FixedClock) -> None:
    remember(memory, "a", "mine")
    remember(memory, "b", "mine")
    memory.federate("mine", "team")
    clock.advance(10)
    remember(memory, "a", "mine", "black tea")
    answer = memory.federate("mine", "team")
    assert (answer.exported, answer.imported, answer.import_errors) == (2, 2, ())
    assert content(found(memory, "a", "team")) == "black tea"
    assert memory.history("c", "a", workspace_hash="team").total == 1
    assert memory.history("c", "b", workspace_hash="team").total == 0
    assert memory.workspace_list().workspaces[1].entities == 2


def test_what_cannot_be_copied_is_named_and_the_rest_is(open_memory: OpenMemory) -> None:
    mine, theirs = open_memory(agent_id="me"), open_memory(agent_id="them")
    remember(mine, "a", "team", "secret", visibility="private")
    remember(theirs, "a", "mine")
    remember(theirs, "b", "mine")
    answer = theirs.federate("mine", "team")
    assert (answer.exported, answer.imported) == (2, 1)
    assert len(answer.import_errors) == 1
    assert answer.import_errors[0].startswith("c/a: ")
    assert content(found(mine, "a", "team")) == "secret"


def test_private_memories_are_federated_for_their_own_agent_only(open_memory: OpenMemory) -> None:
    mine, theirs = open_memory(agent_id="me"), open_memory(agent_id="them")
    remember(mine, "k", "mine", visibility="private")
    assert theirs.federate("mine", "team").exported == 0
    assert mine.federate("mine", "team").imported == 1
    copy = found(mine, "k", "team")
    assert copy is not None
    assert (copy.visibility, copy.agent_id) == ("private", "me")


@pytest.mark.parametrize("workspace", ["", "mine"])
def test_federating_a_workspace_into_itself_is_refused(memory: Memory, workspace: str) -> None:
    with pytest.raises(InvalidInput, match="already"):
        memory.federate(workspace, workspace)


@pytest.mark.parametrize("folder", [None, "", "/nowhere/at/all"])
def test_no_folder_is_needed_or_made(memory: Memory, folder: str | None) -> None:
    remember(memory, "k", "mine")
    assert memory.federate("mine", "team", folder).imported == 1


def test_names_that_begin_or_read_like_the_workspace_are_left_alone(memory: Memory) -> None:
    remember(memory, "k", "mine", "workspace_hash: mine")
    remember(memory, "k", "mine-too")
    memory.federate("mine", "team")
    assert content(found(memory, "k", "team")) == "workspace_hash: mine"
    assert len(memory.store.find("c", "k", None)) == 3
