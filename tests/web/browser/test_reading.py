"""Finding and reading: the table, one memory with its past, search, timeline, time machine, state."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import Page, expect

from mimir import Memory
from tests.server.web import WebServer
from tests.web.browser.visiting import NARROW, Visitor

ENTRIES_AT_ONCE = 60


def keys_of(page: Page) -> list[str]:
    keys: list[str] = page.locator(".list-row .name a").all_inner_texts()
    return keys


def test_the_table_is_sorted_and_filtered_by_the_address(shown: WebServer, visitor: Visitor) -> None:
    page = visitor.visit(shown, "/memories?category=decision&sort=key&order=asc")
    assert keys_of(page) == ["cache", "database", "queue", "retry-policy"]
    page.get_by_role("button", name="Memory", exact=True).click()
    expect(page.locator(".list-row .name a").first).to_have_text("retry-policy")
    page.get_by_label("Layer").select_option(label="World")
    expect(page.get_by_text("No memory matches these filters")).to_be_visible()
    page.get_by_role("button", name="Clear the filters").click()
    expect(page.get_by_label("Category")).to_have_value("")
    page.get_by_label("State").select_option(label="Forgotten")
    expect(page.locator(".list-row .name a", has_text="rate-limit")).to_be_visible()


def test_a_memory_shows_its_text_rendered_its_past_and_both_ends_of_its_links(
    shown: WebServer, visitor: Visitor
) -> None:
    page = visitor.visit(shown, "/memories?category=decision&sort=key&order=asc")
    page.get_by_role("link", name="database").click()
    panel = page.locator("#panel")
    expect(panel.get_by_role("heading", name="database")).to_be_focused()
    expect(panel.locator(".prose")).to_contain_text("It replaced PostgreSQL")
    versions = panel.locator(".versions > li")
    expect(versions.first).to_contain_text("Current")
    expect(versions.last).to_contain_text("First version")
    panel.get_by_text("What changed in the text").first.click()
    expect(panel.locator(".diff").first).to_be_visible()
    expect(panel.locator(".links")).to_contain_text("slow-import")
    panel.get_by_role("link", name="slow-import").click()
    expect(panel.get_by_role("heading", name="slow-import")).to_be_visible()
    page.go_back()
    expect(panel.get_by_role("heading", name="database")).to_be_visible()
    page.keyboard.press("Escape")
    expect(panel).to_be_hidden()


def test_search_answers_while_one_types_and_says_why(shown: WebServer, visitor: Visitor) -> None:
    page = visitor.visit(shown, "/search")
    box = page.get_by_role("searchbox")
    expect(box).to_be_focused()
    box.press_sequentially("migration locked the table")
    first = page.locator(".hit").first
    expect(first.get_by_role("link")).to_have_text("table-lock")
    expect(first.locator("mark").first).to_have_text(re.compile("migration|locked|table"))
    expect(first.locator(".arms")).to_contain_text("Words")
    expect(first.locator(".arms")).to_contain_text("Meaning")
    expect(page.locator("#search-status")).to_contain_text("words")
    first.get_by_role("link").click()
    why = page.locator("#panel .why")
    expect(why).to_contain_text("Found for “migration locked the table”")
    expect(why.locator("mark").first).to_be_visible()


def test_search_by_words_uses_one_arm_and_by_meaning_the_other(shown: WebServer, visitor: Visitor) -> None:
    page = visitor.visit(shown, "/search?q=port")
    page.get_by_role("radio", name="Words").check()
    expect(page.locator(".hit").first.locator(".arms")).to_have_text(re.compile("^Words"))
    expect(page).to_have_url(re.compile("mode=fts5"))
    page.get_by_role("radio", name="Meaning").check()
    expect(page.locator(".hit").first.locator(".arms")).to_have_text(re.compile("^Meaning"))


def test_reading_changes_nothing_in_the_store(shown: WebServer, visitor: Visitor, sample: Path) -> None:
    with Memory.open(str(sample), embedding="off") as memory:
        (before,) = memory.store.find("lesson", "table-lock", "")
    page = visitor.visit(shown, "/search?q=migration+locked+the+table")
    page.locator(".hit a").first.click()
    expect(page.locator("#panel dl.facts").first).to_contain_text(f"{before.entity.retrieval_count} time")
    page.reload()
    expect(page.locator("#panel dl.facts").first).to_contain_text(f"{before.entity.retrieval_count} time")


def test_the_timeline_shows_what_happened_and_that_the_record_is_whole(shown: WebServer, visitor: Visitor) -> None:
    page = visitor.visit(shown, "/timeline")
    expect(page.get_by_text("Chain intact")).to_be_visible()
    page.get_by_label("Kind of event").fill("decision")
    expect(page).to_have_url(re.compile("type=decision"))
    expect(page.locator(".event .badge", has_text="observation")).to_have_count(0)
    event = page.locator(".event").first
    expect(event).to_contain_text("database")
    event.get_by_text("Details").click()
    expect(event).to_contain_text("PostgreSQL")


def test_the_timeline_shows_when_memories_changed_among_the_events(shown: WebServer, visitor: Visitor) -> None:
    page = visitor.visit(shown, "/timeline")
    expect(page.locator(".event .badge", has_text="remembered").first).to_be_visible()
    expect(page.locator(".event .badge", has_text="decision").first).to_be_visible()
    times = page.locator(".event time").evaluate_all("all => all.map(one => one.dateTime)")
    assert times == sorted(times, reverse=True)
    page.get_by_label("Show").select_option(label="Memories")
    expect(page.locator(".event .badge", has_text="observation")).to_have_count(0)
    changed = page.locator(".event", has=page.get_by_role("link", name="database", exact=True))
    expect(changed).to_have_count(1)
    expect(changed.locator(".badge").first).to_have_text("changed")
    page.get_by_label("Show").select_option(label="Events")
    expect(page.locator(".event .badge", has_text="remembered")).to_have_count(0)
    expect(page).to_have_url(re.compile("show=events"))


def test_a_failed_reply_leaves_no_gap_in_the_timeline(shown: WebServer, visitor: Visitor) -> None:
    visitor.expected = ("Failed to load resource",)
    page = visitor.visit(shown, "/timeline")
    page.get_by_role("button", name="Earlier").click()
    expect(page.get_by_role("button", name="Earlier")).to_have_count(0)
    whole = page.locator(".event").all_inner_texts()
    assert len(whole) > ENTRIES_AT_ONCE
    page.reload()
    expect(page.locator(".event")).to_have_count(ENTRIES_AT_ONCE)
    page.route("**/api/entities?*after=*", lambda route: route.abort())
    page.get_by_role("button", name="Earlier").click()
    page.get_by_role("button", name="Earlier").or_(page.get_by_role("button", name="Try again")).click()
    expect(page.get_by_role("button", name="Try again")).to_be_visible()
    page.unroute("**/api/entities?*after=*")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".event")).to_have_count(len(whole))
    assert page.locator(".event").all_inner_texts() == whole


def test_the_time_machine_shows_what_was_believed_then(shown: WebServer, visitor: Visitor) -> None:
    page = visitor.visit(shown, "/time?category=decision")
    database = page.locator(".line", has=page.get_by_role("link", name="database", exact=True))
    expect(database).to_contain_text("SQLite for its single file")
    page.get_by_role("button", name="A month ago").click()
    expect(database).to_contain_text("because everybody knows it")
    slider = page.get_by_role("slider")
    slider.focus()
    slider.press("Home")
    expect(page.locator("main [role=status]").first).to_contain_text("believed on")


def test_state_is_listed_with_its_values_and_found_by_prefix(shown: WebServer, visitor: Visitor) -> None:
    page = visitor.visit(shown, "/state")
    expect(page.locator(".states tbody tr")).to_have_count(2)
    page.get_by_label("Keys that begin with").fill("session/")
    expect(page.locator(".states tbody tr")).to_have_count(1)
    expect(page.locator(".states")).to_contain_text("move the queue")


def test_on_a_narrow_screen_the_pages_are_behind_a_menu_and_a_memory_fills_the_screen(
    shown: WebServer, visitor: Visitor
) -> None:
    page = visitor.visit(shown, "/", size=NARROW, has_touch=True)
    page.get_by_role("button", name="Pages").tap()
    page.get_by_role("link", name="Memories").first.tap()
    page.locator(".list-row .name a").first.tap()
    expect(page.locator("#panel")).to_be_visible()
    box = page.locator("#panel").bounding_box()
    assert box is not None
    assert box["width"] == NARROW[0]
    page.get_by_role("button", name="Close the memory").tap()
    expect(page.locator("#panel")).to_be_hidden()
