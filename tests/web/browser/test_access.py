"""Who may look: the token in a browser, and workspaces kept apart."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from mimir import Memory
from tests.server.web import WebServer
from tests.web.browser.visiting import Serve, Visitor, settle

TOKEN = "a-token-for-the-dashboard"


@pytest.fixture
def guarded(serve: Serve, copy: Path) -> WebServer:
    return serve(copy, "--embedding", "off", "--web-auth-token", TOKEN)


def sign_in(page: Page, token: str) -> None:
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Sign in").click()


def test_a_page_asks_for_the_token_and_then_shows_what_was_asked_for(guarded: WebServer, visitor: Visitor) -> None:
    visitor.expected = ("status of 401",)
    page = visitor.visit(guarded, "/timeline")
    expect(page.get_by_role("heading", name="Mimir")).to_be_visible()
    sign_in(page, "another")
    expect(page.get_by_role("alert")).to_be_visible()
    sign_in(page, TOKEN)
    expect(page.get_by_role("heading", name="Timeline")).to_be_visible()
    assert TOKEN not in page.url
    assert not any(TOKEN in url for url in visitor.requests)
    assert page.evaluate("document.cookie") == ""


def test_signing_out_ends_the_session(guarded: WebServer, visitor: Visitor) -> None:
    page = visitor.visit(guarded, "/")
    sign_in(page, TOKEN)
    settle(page)
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Token")).to_be_visible()
    page.goto(f"{guarded.url}/memories")
    expect(page.get_by_label("Token")).to_be_visible()


def test_a_read_only_dashboard_offers_no_change(serve: Serve, visitor: Visitor, copy: Path) -> None:
    server = serve(copy, "--embedding", "off", "--read-only")
    page = visitor.visit(server, "/memories")
    expect(page.get_by_text("Read only")).to_be_visible()
    expect(page.get_by_role("button", name="New memory")).to_have_count(0)
    page.locator(".list-row .name a").first.click()
    expect(page.locator("#panel h2")).to_be_visible()
    expect(page.get_by_role("button", name="Edit")).to_have_count(0)


def test_a_workspace_shows_nothing_of_another_on_any_page(serve: Serve, visitor: Visitor, tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    with Memory.open(str(path), embedding="off") as memory:
        for name in ("atlas", "borealis"):
            first = memory.remember("plan", f"{name}-first", {"content": f"The goal of {name}."}, workspace_hash=name)
            memory.remember("plan", f"{name}-second", {"content": f"The way of {name}."}, workspace_hash=name)
            memory.link("plan", f"{name}-second", first.id, f"{name}_link", workspace_hash=name)
            memory.journal("decision", acted={"for": name}, category="plan", key=f"{name}-first", workspace_hash=name)
    server = serve(path, "--embedding", "off")
    page = visitor.visit(server)
    page.get_by_label("Workspace").select_option("atlas (2)")
    for title in ("Memories", "Search", "Graph", "Timeline", "Time machine", "Overview"):
        page.get_by_role("navigation").get_by_role("link", name=title).click()
        expect(page.get_by_role("heading", name=title, level=1)).to_be_visible()
        if title == "Search":
            page.get_by_role("searchbox").fill("goal way plan")
            expect(page.locator(".hit")).to_have_count(2)
        settle(page)
        content = page.locator("main").inner_text()
        assert "borealis" not in content, title
        if title != "Overview":
            expect(page.locator("main")).to_contain_text("atlas")
    expect(page.locator(".figures div", has_text="Memories").locator("dd")).to_have_text("2")
