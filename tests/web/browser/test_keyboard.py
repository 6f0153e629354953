"""Everything can be done without a mouse, and one always sees where one is."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page, expect

from mimir import Memory
from tests.server.web import WebServer
from tests.web.browser.visiting import Visitor, settle

FOCUS = """() => {
  const one = document.activeElement;
  const style = getComputedStyle(one.matches('.segments input') ? one.nextElementSibling : one);
  const { width, height } = one.getBoundingClientRect();
  return {
    name: one.getAttribute('aria-label') ?? one.textContent.trim().slice(0, 40),
    tag: one.localName,
    ring: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0,
    area: width * height,
  };
}"""


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def tab_to(page: Page, name: str, most: int = 60) -> None:
    """Press Tab until the focus is on what bears a name; each stop on the way must be seen."""
    for _ in range(most):
        page.keyboard.press("Tab")
        at = page.evaluate(FOCUS)
        assert at["ring"], f"the focus on {at} is not to be seen"
        assert at["area"] > 0, f"the focus is on {at}, which has no place"
        if at["name"].startswith(name):
            return
    raise AssertionError(f"Tab does not lead to {name!r}")


def test_a_memory_is_found_opened_edited_and_closed_by_keys_alone(
    edited: WebServer, visitor: Visitor, copy: Path
) -> None:
    page = visitor.visit(edited)
    page.keyboard.press("Tab")
    assert page.evaluate(FOCUS)["name"] == "Skip to the content"
    tab_to(page, "Memories")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Memories")).to_be_visible()
    settle(page)
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.type("table-lock")
    expect(page.locator(".hit a").first).to_have_text("table-lock")
    press(page, "ArrowDown", "Enter")
    panel = page.locator("#panel")
    expect(panel.get_by_role("heading", name="table-lock", exact=True)).to_be_focused()
    page.keyboard.press("e")
    expect(panel.get_by_label("Text", exact=True)).to_be_focused()
    press(page, "Control+a")
    page.keyboard.type("Use a view instead of renaming.")
    press(page, "Control+Enter")
    expect(panel.get_by_text("Use a view instead of renaming.").first).to_be_visible()
    press(page, "Escape")
    expect(panel).to_be_hidden()
    with Memory.open(str(copy), embedding="off") as memory:
        (stored,) = memory.store.find("lesson", "table-lock", "")
    assert "Use a view" in stored.entity.body_json
    page.get_by_role("heading", name="Search").click()
    page.keyboard.press("u")
    expect(page.locator("#toasts")).to_contain_text("Undone")


def test_arrows_walk_through_the_table_and_end_at_its_ends(shown: WebServer, visitor: Visitor) -> None:
    page = visitor.visit(shown, "/memories?sort=key&order=asc")
    tab_to(page, page.locator(".list-row .name a").first.inner_text())
    press(page, "ArrowDown", "ArrowDown")
    third = page.locator(".list-row[data-index='2'] .name a")
    expect(third).to_be_focused()
    press(page, "End")
    last = page.evaluate("document.activeElement.textContent")
    press(page, "ArrowDown")
    assert page.evaluate("document.activeElement.textContent") == last
    press(page, "Home", "Enter")
    expect(page.locator("#panel h2")).to_be_focused()
    press(page, "Escape")
    expect(page.locator(".list-row[data-index='0'] .name a")).to_be_focused()


def test_every_stop_of_every_page_is_seen(shown: WebServer, visitor: Visitor) -> None:
    page = visitor.visit(shown)
    for path in ("/", "/memories", "/search?q=cache", "/graph", "/timeline", "/time", "/state", "/maintenance"):
        page.goto(shown.url + path)
        settle(page)
        page.evaluate("document.activeElement.blur()")
        for _ in range(28):
            page.keyboard.press("Tab")
            at = page.evaluate(FOCUS)
            assert at["tag"] == "body" or at["ring"], f"{path}: the focus on {at} is not to be seen"


def test_the_keys_are_told_to_who_asks(shown: WebServer, visitor: Visitor) -> None:
    page = visitor.visit(shown)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_contain_text("Undo the last action")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
