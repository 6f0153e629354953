"""Loading a page: few requests, none twice, and nothing waits for what it does not need."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Route, expect

from mimir.web.assets import PAGES
from tests.server.web import WebServer
from tests.web.browser.visiting import Visitor, settle

MOST_REQUESTS = 18
"""Requests until a page may ask for its data, the page itself included: six connections carry them in three turns."""


@pytest.mark.parametrize("path", PAGES)
def test_a_page_comes_with_few_requests_all_modules_named_beforehand(
    path: str, shown: WebServer, visitor: Visitor
) -> None:
    visitor.visit(shown, path)
    asked = [urlsplit(url).path for url in visitor.requests]
    files = [one for one in asked if one.startswith("/static/")]
    assert len(files) == len(set(files))
    first = asked[: asked.index("/api/session")]
    assert len(first) <= MOST_REQUESTS
    named = re.findall(r'modulepreload" href="([^"]+)"', shown.send("GET", path).body.decode())
    assert {one for one in first if one.endswith(".js")} == {*named, named[0].partition("/js/")[0] + "/js/theme.js"}


@pytest.mark.parametrize(
    ("path", "read"), [("/memories?layer=buffer&sort=key", "/api/entities"), ("/", "/api/overview")]
)
def test_the_first_read_does_not_wait_for_the_session_and_is_made_once(
    path: str, read: str, shown: WebServer, visitor: Visitor
) -> None:
    page = visitor.visit(shown, "/state")
    held: list[Route] = []
    page.route("**/api/session", lambda route: held.append(route))  # noqa: PLW0108 - Playwright marks what it is given
    visitor.requests.clear()
    with page.expect_response(lambda answer: urlsplit(answer.url).path == read):
        page.goto(shown.url + path, wait_until="commit")
    expect(page.locator("main h1")).to_have_count(0)
    held[0].continue_()
    settle(page)
    assert [urlsplit(url).path for url in visitor.requests].count(read) == 1


def test_a_second_visit_asks_for_no_file_again(shown: WebServer, visitor: Visitor) -> None:
    page = visitor.visit(shown, "/memories")
    files = "performance.getEntriesByType('resource').filter(one => one.name.includes('/static/'))"
    had = page.evaluate(f"() => {files}.map(one => one.name)")
    assert had
    page.goto(f"{shown.url}/memories")
    settle(page)
    sent = page.evaluate(f"() => {files}.filter(one => one.transferSize).map(one => one.name)")
    assert set(had).isdisjoint(sent)
