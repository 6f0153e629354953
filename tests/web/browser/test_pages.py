"""Every page draws itself, fits its place, and can be read and used by everybody."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from mimir import Memory
from tests.server.web import WebServer
from tests.web.browser.visiting import NARROW, WIDE, Serve, Visitor, settle

AUDIT = (Path(__file__).parent / "audit.js").read_text(encoding="utf-8")
PICTURES = os.environ.get("SCREENSHOTS", "")
"""Folder for a picture of each page; none are taken when it is empty."""

PAGES = {
    "overview": "/",
    "memories": "/memories",
    "memory": "/memories?id={database}",
    "search": "/search?q=why+was+the+import+slow",
    "why": "/search?q=why+was+the+import+slow&id={lesson}",
    "graph": "/graph",
    "focus": "/graph?focus={database}&depth=2",
    "timeline": "/timeline",
    "time": "/time",
    "state": "/state",
    "maintenance": "/maintenance",
}
SIZES = {"wide": WIDE, "narrow": NARROW}
NAMED_ROLES = {
    "button",
    "link",
    "textbox",
    "searchbox",
    "combobox",
    "checkbox",
    "radio",
    "slider",
    "spinbutton",
    "image",
}


@pytest.fixture(scope="module")
def paths(sample: Path) -> dict[str, str]:
    """Return the address of each page, with the identifiers of memories in it."""
    with Memory.open(str(sample), embedding="off") as memory:
        (database,) = memory.store.find("decision", "database", "")
        (lesson,) = memory.store.find("lesson", "slow-import", "")
    ids = {"database": database.entity.id, "lesson": lesson.entity.id}
    return {name: path.format(**ids) for name, path in PAGES.items()}


def faults_of(page: Page) -> list[str]:
    """Return what is wrong with a page in both themes, and what a screen reader could not name."""
    faults: list[str] = []
    for theme in ("light", "dark"):
        page.evaluate("theme => { document.documentElement.dataset.theme = theme; }", theme)
        faults += [f"{theme}: {fault}" for fault in page.evaluate(AUDIT)]
    tree = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")
    for node in tree["nodes"]:
        role = node.get("role", {}).get("value")
        if not node.get("ignored") and role in NAMED_ROLES and not node.get("name", {}).get("value", "").strip():
            faults.append(f"a {role} has no name")
    return faults


@pytest.mark.parametrize("name", PAGES)
def test_a_page_draws_itself_fits_its_place_and_has_no_fault_of_access(
    name: str, shown: WebServer, visitor: Visitor, paths: dict[str, str]
) -> None:
    page = visitor.visit(shown, paths[name])
    for size, (width, height) in SIZES.items():
        page.set_viewport_size({"width": width, "height": height})
        if name in ("graph", "focus"):
            page.wait_for_selector("canvas[data-settled=true]")
        if PICTURES:
            page.screenshot(path=f"{PICTURES}/{name}-{size}.png")
        assert [f"{size}, {fault}" for fault in faults_of(page)] == []
    expect(page.locator(".notice.bad")).to_have_count(0)


def test_every_answer_carries_a_policy_that_lets_only_own_scripts_and_styles_run(
    shown: WebServer, visitor: Visitor
) -> None:
    page = visitor.visit(shown)
    policy = shown.send("GET", "/").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    visitor.expected = ("Content Security Policy",)
    assert page.locator("script:not([src]), style").count() == 0
    ran = page.evaluate(
        "() => { const one = document.createElement('script'); one.textContent = 'window.ran = true';"
        " document.body.append(one); return window.ran === true; }"
    )
    assert ran is False


def test_the_overview_counts_what_the_store_holds(shown: WebServer, visitor: Visitor, sample: Path) -> None:
    page = visitor.visit(shown)
    with Memory.open(str(sample), embedding="off") as memory:
        counts = memory.stats()
    figures = page.locator(".figures")
    expect(figures.locator("div", has_text="Memories").locator("dd")).to_have_text(str(counts.active_entities))
    expect(figures.locator("div", has_text="Journal events").locator("dd")).to_have_text(
        str(counts.total_journal_events)
    )
    expect(page.locator(".bars a", has_text="session")).to_be_visible()
    expect(page.get_by_role("img", name=re.compile(r"^Memories over time"))).to_be_visible()
    expect(page.get_by_text("Not encrypted")).to_be_visible()


def test_an_empty_store_says_what_to_do(serve: Serve, visitor: Visitor, tmp_path: Path) -> None:
    server = serve(tmp_path / "empty.db", "--embedding", "off")
    for path, words in (
        ("/", "Nothing is remembered yet"),
        ("/memories", "Nothing is remembered here yet"),
        ("/search", "Ask in your own words"),
        ("/graph", "No memory to draw yet"),
        ("/timeline", "Nothing here yet"),
        ("/time", "Nothing was known then"),
        ("/state", "No state is kept"),
        ("/maintenance", "Nothing to compare yet"),
    ):
        page = visitor.visit(server, path)
        expect(page.get_by_text(words)).to_be_visible()
        assert faults_of(page) == []


def test_a_memory_that_does_not_exist_is_said_to_be_gone(shown: WebServer, visitor: Visitor) -> None:
    visitor.expected = ("status of 404",)
    page = visitor.visit(shown, "/memories?id=mem-none")
    expect(page.locator("#panel").get_by_role("alert")).to_contain_text("It may have been erased")


def test_a_server_that_has_stopped_is_noticed_and_tried_again(serve: Serve, visitor: Visitor, copy: Path) -> None:
    server = serve(copy, "--embedding", "off")
    page = visitor.visit(server, "/state")
    visitor.expected = ("ERR_CONNECTION_REFUSED", "ERR_INCOMPLETE_CHUNKED_ENCODING")
    server.close()
    page.get_by_label("Keys that begin with").fill("session/")
    expect(page.get_by_role("alert")).to_contain_text("The server does not answer")
    expect(page.get_by_role("button", name="Try again")).to_be_visible()
    expect(page.locator(".live")).to_have_text("Reconnecting")


def test_the_theme_is_dark_until_another_is_chosen_and_the_choice_stays(shown: WebServer, visitor: Visitor) -> None:
    page = visitor.visit(shown, color_scheme="light")
    root = page.locator("html")
    expect(root).to_have_attribute("data-theme", "dark")
    page.get_by_role("button", name="Theme: dark").click()
    expect(root).to_have_attribute("data-theme", "light")
    page.reload()
    settle(page)
    expect(root).to_have_attribute("data-theme", "light")
    page.get_by_role("button", name="Theme: light").click()
    page.get_by_role("button", name="Theme: system").wait_for()
    expect(root).to_have_attribute("data-theme", "light")
    page.emulate_media(color_scheme="dark")
    expect(root).to_have_attribute("data-theme", "dark")
