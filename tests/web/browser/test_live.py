"""What another program writes appears by itself, and never moves what somebody is reading."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from mimir import Memory
from tests.server.web import WebServer
from tests.web.browser.visiting import Visitor


@pytest.fixture
def other(copy: Path) -> Iterator[Memory]:
    """Return the same store as another program has it open."""
    with Memory.open(str(copy), embedding="off") as memory:
        yield memory


def test_the_overview_counts_on_when_another_program_writes(edited: WebServer, visitor: Visitor, other: Memory) -> None:
    page = visitor.visit(edited)
    expect(page.locator(".live")).to_have_text("Live")
    figure = page.locator(".figures div", has_text="Memories").locator("dd")
    before = int(figure.inner_text())
    other.remember("note", "fresh", {"content": "Just written."})
    expect(figure).to_have_text(str(before + 1))


def test_a_new_memory_appears_at_the_top_of_the_table(edited: WebServer, visitor: Visitor, other: Memory) -> None:
    page = visitor.visit(edited, "/memories")
    expect(page.locator(".live")).to_have_text("Live")
    other.remember("note", "fresh", {"content": "Just written."})
    expect(page.locator(".list-row .name a").first).to_have_text("fresh")


def test_who_reads_further_down_gets_a_hint_and_keeps_the_place(
    edited: WebServer, visitor: Visitor, other: Memory
) -> None:
    page = visitor.visit(edited, "/memories")
    expect(page.locator(".live")).to_have_text("Live")
    page.locator("#main").evaluate("main => { main.scrollTop = 1200; }")
    reading = page.locator(".list-row[data-index='24']")
    expect(reading).to_be_visible()
    key = reading.locator(".name a").inner_text()
    other.remember("note", "fresh", {"content": "Just written."})
    hint = page.get_by_role("button", name="Memories have changed")
    expect(hint).to_be_visible()
    assert reading.locator(".name a").inner_text() == key
    hint.click()
    expect(page.locator(".list-row .name a").first).to_have_text("fresh")


def test_an_open_memory_tells_that_it_has_changed(edited: WebServer, visitor: Visitor, other: Memory) -> None:
    (queue,) = other.store.find("decision", "queue", "")
    page = visitor.visit(edited, f"/memories?id={queue.entity.id}")
    panel = page.locator("#panel")
    expect(panel.get_by_role("heading", name="queue")).to_be_visible()
    expect(page.locator(".live")).to_have_text("Live")
    other.remember("decision", "queue", {"content": "Jobs go through a broker."})
    panel.get_by_role("button", name="Show the change").click()
    expect(panel.get_by_text("Jobs go through a broker.").first).to_be_visible()


def test_a_text_that_is_being_edited_stays_as_it_is(edited: WebServer, visitor: Visitor, other: Memory) -> None:
    (queue,) = other.store.find("decision", "queue", "")
    page = visitor.visit(edited, f"/memories?id={queue.entity.id}")
    page.get_by_role("button", name="Edit").click()
    page.get_by_label("Text", exact=True).fill("Half a thought")
    expect(page.locator(".live")).to_have_text("Live")
    other.remember("decision", "queue", {"content": "Jobs go through a broker."})
    expect(page.locator(".list-row .words").first).to_have_text("Jobs go through a broker.")
    expect(page.get_by_label("Text", exact=True)).to_have_value("Half a thought")


def test_new_events_and_memories_are_announced_on_the_timeline(
    edited: WebServer, visitor: Visitor, other: Memory
) -> None:
    page = visitor.visit(edited, "/timeline")
    expect(page.locator(".live")).to_have_text("Live")
    expect(page.locator(".event").first).to_be_visible()
    other.journal("observation", evaluated={"load": "high"})
    page.get_by_role("button", name="New · show").click()
    expect(page.locator(".event").first).to_contain_text("high")
    other.remember("note", "newest", {"content": "Just in"})
    page.get_by_role("button", name="New · show").click()
    expect(page.locator(".event").first).to_contain_text("Just in")
