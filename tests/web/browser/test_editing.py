"""Correcting: every change goes through the operations, can be taken back, and never overwrites another unseen."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from mimir import Memory
from mimir.model import Entity
from tests.server.web import WebServer
from tests.web.browser.visiting import Visitor


@pytest.fixture
def other(copy: Path) -> Iterator[Memory]:
    """Return the same store as another program has it open."""
    with Memory.open(str(copy), embedding="off") as memory:
        yield memory


def stored(memory: Memory, category: str, key: str) -> Entity:
    (found,) = memory.store.find(category, key, "")
    return found.entity


def text_of(memory: Memory, category: str, key: str) -> str:
    content: str = json.loads(stored(memory, category, key).body_json)["content"]
    return content


def opened(visitor: Visitor, server: WebServer, memory: Memory, category: str, key: str) -> Page:
    page = visitor.visit(server, f"/memories?id={stored(memory, category, key).id}", timezone_id="UTC")
    page.locator("#panel").get_by_role("heading", name=key, exact=True).wait_for()
    return page


def test_an_edited_text_is_versioned_and_journaled_as_the_dashboard(
    edited: WebServer, visitor: Visitor, other: Memory
) -> None:
    page = opened(visitor, edited, other, "decision", "queue")
    panel = page.locator("#panel")
    panel.get_by_role("button", name="Edit").click()
    panel.get_by_label("Text", exact=True).fill("Jobs go through a broker now.")
    panel.get_by_label("Tags").fill("storage, broker")
    panel.get_by_label("Certainty").fill("0.8")
    panel.get_by_role("button", name="Save").click()
    expect(panel.get_by_text("Jobs go through a broker now.").first).to_be_visible()
    expect(page.locator("#toasts")).to_contain_text("Saved")
    entity = stored(other, "decision", "queue")
    assert text_of(other, "decision", "queue") == "Jobs go through a broker now."
    assert (entity.tags, entity.certainty) == (("storage", "broker"), 0.8)
    assert other.history("decision", "queue").total == 1
    event = other.timeline(limit=1).items[0]
    assert (event.agent_id, event.key) == ("dashboard", "queue")
    assert other.verify_journal().broken is None


def test_layer_type_validity_and_verification_are_edited_and_stay_in_the_form(
    edited: WebServer, visitor: Visitor, other: Memory
) -> None:
    page = opened(visitor, edited, other, "decision", "queue")
    panel = page.locator("#panel")
    before = stored(other, "decision", "queue")
    panel.get_by_role("button", name="Edit").click()
    panel.get_by_label("Layer").select_option(label="World")
    panel.get_by_label("Type").fill("preference")
    panel.get_by_label("Holds from").fill("2026-01-02T03:04:05")
    panel.get_by_label("Holds until").fill("2026-06-07T08:09:10")
    panel.get_by_label("Verified").check()
    panel.get_by_role("button", name="Save").click()
    expect(page.locator("#toasts")).to_contain_text("Saved")
    entity = stored(other, "decision", "queue")
    assert (entity.layer, entity.type, entity.verified) == ("core", "preference", True)
    held = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), datetime(2026, 6, 7, 8, 9, 10, tzinfo=UTC)
    assert (entity.valid_from_unix_ms, entity.valid_to_unix_ms) == tuple(int(at.timestamp()) * 1000 for at in held)
    assert (entity.body_json, entity.tags, entity.certainty) == (before.body_json, before.tags, before.certainty)
    panel.get_by_role("button", name="Edit").click()
    expect(panel.get_by_label("Layer")).to_have_value("core")
    expect(panel.get_by_label("Holds from")).to_have_value("2026-01-02T03:04:05")
    expect(panel.get_by_label("Verified")).to_be_checked()
    panel.get_by_label("Holds until").fill("")
    panel.get_by_label("Verified").uncheck()
    panel.get_by_role("button", name="Save").click()
    expect(panel.get_by_text("to open")).to_be_visible()
    entity = stored(other, "decision", "queue")
    assert (entity.valid_to_unix_ms, entity.verified) == (None, False)


def test_a_forgotten_memory_comes_back_with_undo(edited: WebServer, visitor: Visitor, other: Memory) -> None:
    page = opened(visitor, edited, other, "lesson", "slow-import")
    page.get_by_role("button", name="Forget…").click()
    page.get_by_label("Reason, kept in the journal").fill("no longer true")
    page.get_by_role("dialog").get_by_role("button", name="Forget").click()
    expect(page.locator("#panel").get_by_role("button", name="Restore")).to_be_visible()
    assert stored(other, "lesson", "slow-import").archived
    page.locator("#toasts").get_by_role("button", name="Undo").click()
    expect(page.locator("#panel").get_by_role("button", name="Forget…")).to_be_visible()
    assert not stored(other, "lesson", "slow-import").archived


def test_a_forgotten_memory_can_be_restored_later(edited: WebServer, visitor: Visitor, other: Memory) -> None:
    page = opened(visitor, edited, other, "fact", "rate-limit")
    page.get_by_role("button", name="Restore").click()
    expect(page.get_by_role("button", name="Forget…")).to_be_visible()
    assert not stored(other, "fact", "rate-limit").archived


def test_a_change_made_meanwhile_is_shown_beside_ones_own_and_not_overwritten(
    edited: WebServer, visitor: Visitor, other: Memory
) -> None:
    visitor.expected = ("status of 409",)
    page = opened(visitor, edited, other, "decision", "queue")
    panel = page.locator("#panel")
    panel.get_by_role("button", name="Edit").click()
    panel.get_by_label("Text", exact=True).fill("What the reader wrote.")
    other.remember("decision", "queue", {"content": "What a program wrote."})
    panel.get_by_role("button", name="Save").click()
    both = panel.get_by_role("region", name="Two versions")
    expect(both).to_contain_text("What a program wrote.")
    expect(both).to_contain_text("What the reader wrote.")
    assert text_of(other, "decision", "queue") == "What a program wrote."
    both.get_by_role("button", name="Keep editing mine").click()
    panel.get_by_role("button", name="Save").click()
    expect(panel.get_by_text("What the reader wrote.").first).to_be_visible()
    assert text_of(other, "decision", "queue") == "What the reader wrote."


def test_what_is_stored_can_be_taken_in_place_of_ones_own(edited: WebServer, visitor: Visitor, other: Memory) -> None:
    visitor.expected = ("status of 409",)
    page = opened(visitor, edited, other, "decision", "queue")
    panel = page.locator("#panel")
    panel.get_by_role("button", name="Edit").click()
    panel.get_by_label("Text", exact=True).fill("What the reader wrote.")
    other.remember("decision", "queue", {"content": "What a program wrote."})
    panel.get_by_role("button", name="Save").click()
    panel.get_by_role("button", name="Take what is stored").click()
    expect(panel.get_by_text("What a program wrote.").first).to_be_visible()
    assert text_of(other, "decision", "queue") == "What a program wrote."


def test_pins_layers_and_links_are_changed_and_taken_back(edited: WebServer, visitor: Visitor, other: Memory) -> None:
    page = opened(visitor, edited, other, "lesson", "flaky-clock")
    panel = page.locator("#panel")
    panel.get_by_role("button", name="Pin", exact=True).click()
    expect(panel.get_by_role("button", name="Unpin")).to_be_visible()
    assert stored(other, "lesson", "flaky-clock").always_on
    panel.get_by_role("button", name="Link…").click()
    page.get_by_label("Which memory").fill("queue")
    page.get_by_role("radio", name="queue").first.check()
    page.get_by_label("Relationship").fill("reminds_of")
    page.get_by_role("dialog").get_by_role("button", name="Link").click()
    expect(panel.locator(".links")).to_contain_text("reminds_of")
    assert [link.relationship for link in stored(other, "lesson", "flaky-clock").links] == ["reminds_of"]
    panel.get_by_role("button", name="Remove the link to queue").click()
    expect(panel.locator(".links")).to_have_count(0)
    page.locator("#toasts").get_by_role("button", name="Undo").click()
    expect(panel.locator(".links")).to_contain_text("reminds_of")


def test_a_superseded_memory_is_replaced_and_linked(edited: WebServer, visitor: Visitor, other: Memory) -> None:
    page = opened(visitor, edited, other, "fact", "port-staging")
    page.get_by_role("button", name="Supersede…").click()
    page.get_by_label("Which memory").fill("port")
    page.get_by_role("radio", name="port").first.check()
    page.get_by_role("dialog").get_by_role("button", name="Supersede").click()
    expect(page.locator("#panel").get_by_text("deprecated").first).to_be_visible()
    assert stored(other, "fact", "port-staging").status == "deprecated"


def test_a_new_memory_is_remembered(edited: WebServer, visitor: Visitor, other: Memory) -> None:
    page = visitor.visit(edited, "/memories")
    page.get_by_role("button", name="New memory").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Category").fill("decision")
    dialog.get_by_label("Key").fill("language")
    dialog.get_by_label("Text", exact=True).fill("We write Python.")
    dialog.get_by_role("button", name="Remember").click()
    expect(page.locator("#panel").get_by_role("heading", name="language")).to_be_visible()
    assert text_of(other, "decision", "language") == "We write Python."


def test_upkeep_is_previewed_before_it_runs_and_erasing_asks_for_a_word(
    edited: WebServer, visitor: Visitor, other: Memory
) -> None:
    page = visitor.visit(edited, "/maintenance")
    compact = page.get_by_role("region", name="Compact")
    expect(compact.get_by_role("button", name="Archive them")).to_be_disabled()
    compact.get_by_label("Weaker than").fill("1")
    compact.get_by_role("button", name="Preview").click()
    expect(compact).to_contain_text("It would do this")
    live = other.stats().active_entities
    compact.get_by_role("button", name="Archive them").click()
    expect(compact).to_contain_text("Done")
    assert other.stats().active_entities < live
    purge = page.get_by_role("region", name="Purge")
    purge.get_by_role("button", name="Preview").click()
    purge.get_by_role("button", name="Erase for good…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("button", name="Erase for good")).to_be_disabled()
    dialog.get_by_label("Type purge to go on").fill("purge")
    dialog.get_by_role("button", name="Erase for good").click()
    expect(purge).to_contain_text("Done")
    assert other.store.find("fact", "rate-limit", "") == ()


def conflicts_of_facts(page: Page) -> Locator:
    conflicts = page.get_by_role("region", name="Conflicts")
    conflicts.get_by_label("Category").select_option("fact")
    conflicts.get_by_role("button", name="Find conflicts").click()
    return conflicts


def test_a_contradiction_is_found_and_settled_by_keeping_one_side(
    edited: WebServer, visitor: Visitor, other: Memory
) -> None:
    conflicts = conflicts_of_facts(visitor.visit(edited, "/maintenance"))
    pair = conflicts.locator(".pair-box").first
    expect(pair).to_contain_text("5433")
    pair.get_by_role("button", name="Keep port", exact=True).click()
    expect(conflicts.locator(".pair-box")).to_have_count(0)
    assert stored(other, "fact", "port-staging").status != "active"
    assert stored(other, "fact", "port").status == "active"


def test_two_memories_that_contradict_each_other_are_merged_and_parted_again(
    edited: WebServer, visitor: Visitor, other: Memory
) -> None:
    page = visitor.visit(edited, "/maintenance")
    conflicts = conflicts_of_facts(page)
    former = {key: text_of(other, "fact", key) for key in ("port", "port-staging")}
    conflicts.locator(".pair-box").first.get_by_role("button", name="Merge…").click()
    dialog = page.get_by_role("dialog")
    for text in former.values():
        assert text in dialog.get_by_label("Merged text").input_value()
    dialog.get_by_label("Merged text").fill("The port is 5433, on staging as everywhere.")
    dialog.get_by_role("button", name="Merge", exact=True).click()
    expect(dialog).to_have_count(0)
    expect(conflicts.locator(".pair-box")).to_have_count(0)
    status = {key: stored(other, "fact", key).status for key in former}
    (kept,) = [key for key, state in status.items() if state == "active"]
    assert text_of(other, "fact", kept) == "The port is 5433, on staging as everywhere."
    event = other.timeline(limit=1).items[0]
    assert event.agent_id == "dashboard"
    page.locator("#toasts").get_by_role("button", name="Undo").click()
    expect(page.locator("#toasts")).to_contain_text("Undone")
    assert {key: text_of(other, "fact", key) for key in former} == former
    assert {stored(other, "fact", key).status for key in former} == {"active"}
