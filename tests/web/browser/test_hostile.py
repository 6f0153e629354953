"""Memories whose every field is hostile markup show as text everywhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from mimir import Memory
from tests.server.web import WebServer
from tests.web.browser.visiting import Visitor, served, settle

MARKUP = (
    "<script>window.ran=1</script>",
    "<img src=x onerror=window.ran=2>",
    '"><svg onload=window.ran=3>',
    "'-window.ran=4-'",
    "<iframe srcdoc='<script>parent.ran=5</script>'></iframe>",
    "{{constructor.constructor('window.ran=6')()}}",
)
TEXT = "\n\n".join(
    (
        *MARKUP,
        "[click](javascript:window.ran=7)",
        "[click](data:text/html,<script>window.ran=8</script>)",
        "![picture](http://192.0.2.1/track.png)",
        '<a href="javascript:window.ran=9" style="position:fixed;inset:0">cover</a>',
        "| <b onclick=window.ran=10>a</b> | b |\n|---|---|\n| <style>*{display:none}</style> | d |",
        "```<script>window.ran=11</script>\n<script>window.ran=12</script>\n```",
        "# <u>heading</u>",
    )
)
PAGES = (
    "/",
    "/memories",
    "/search?q=click+picture+cover+heading",
    "/graph",
    "/timeline",
    "/time",
    "/state",
    "/maintenance",
)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    path: Path = tmp_path_factory.mktemp("hostile") / "memory.db"
    with Memory.open(str(path), embedding="off") as memory:
        ids = []
        for number, bad in enumerate(MARKUP):
            stored = memory.remember(
                bad,
                f"{bad} {number}",
                {"content": TEXT, bad: [bad, {bad: bad}]},
                type=bad,
                tags=[bad],
                topic_path=bad,
                workspace_hash=bad,
                agent_id=bad,
            )
            memory.remember(bad, f"{bad} {number}", {"content": f"{bad} changed {TEXT}"}, workspace_hash=bad)
            ids.append(stored.id)
            memory.link(bad, f"{bad} {number}", ids[0], bad, workspace_hash=bad) if number else None
            memory.journal(bad, evaluated={bad: bad}, acted={bad: [bad]}, category=bad, key=bad, workspace_hash=bad)
            memory.state_set(f"{bad}{number}", f'{{"value": {number}}}')
        memory.forget(MARKUP[-1], f"{MARKUP[-1]} 5", MARKUP[0], workspace_hash=MARKUP[-1])
    with served(path, "--embedding", "off") as server:
        yield server


def assert_only_text(page: Page) -> None:
    assert page.evaluate("window.ran") is None
    assert (
        page.locator("main img, main iframe, main style, main script, #panel img, #panel iframe, #panel script").count()
        == 0
    )
    assert page.locator("[onerror], [onload], [onclick], [srcdoc], [style*=inset]").count() == 0
    targets = page.locator("a").evaluate_all("links => links.map(link => link.protocol)")
    assert set(targets) <= {"http:"}


@pytest.mark.parametrize("path", PAGES)
def test_hostile_markup_is_text_on_every_page(path: str, hostile: WebServer, visitor: Visitor) -> None:
    page = visitor.visit(hostile, path)
    closed = page.locator("details:not([open]) > summary")
    for _ in range(min(4, closed.count())):
        closed.first.click()
    if path != "/maintenance":
        expect(page.locator("main")).to_contain_text("<")
    assert_only_text(page)


def test_hostile_markup_is_text_in_an_opened_memory_its_history_and_its_form(
    hostile: WebServer, visitor: Visitor
) -> None:
    page = visitor.visit(hostile, "/memories?archived=true")
    links = page.locator(".list-row .name a")
    expect(links).to_have_count(len(MARKUP))
    for index in range(len(MARKUP)):
        links.nth(index).click()
        panel = page.locator("#panel")
        expect(panel.locator("h2")).to_contain_text(".ran=")
        settle(page)
        closed = panel.locator("details:not([open]) > summary")
        while closed.count():
            closed.first.click()
        expect(panel.locator(".prose")).to_contain_text("<script>window.ran=1</script>")
        assert_only_text(page)
    page.keyboard.press("Escape")
    links.first.click()
    page.locator("#panel").get_by_role("button", name="Edit").click()
    expect(page.get_by_label("Tags")).to_have_value(re.compile("window.ran"))
    assert_only_text(page)
