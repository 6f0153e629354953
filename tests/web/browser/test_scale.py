"""A hundred thousand memories: one request for the first page, and never more rows than the window shows."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from benchmarks.dashboard import fill
from tests.server.web import WebServer
from tests.web.browser.visiting import Visitor, chromium, served, settle, wait_until

MANY = 100_000
FIRST_PAGE = 100
MOST_ROWS = 60

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    chromium()
    path = tmp_path_factory.mktemp("large") / "memory.db"
    fill(str(path), MANY)
    with served(path, "--embedding", "off") as server:
        yield server


def rows(page: Page) -> int:
    count: int = page.locator(".list-row").count()
    return count


def test_the_first_page_of_a_hundred_thousand_is_one_request_and_few_rows(large: WebServer, visitor: Visitor) -> None:
    visitor.visit(large, "/state")
    visitor.requests.clear()
    started = time.perf_counter()
    page = visitor.visit(large, "/memories")
    expect(page.locator(".list-row .name a").first).to_be_visible()
    took = time.perf_counter() - started
    print(f"\nfirst page of {MANY:,} memories after {took * 1000:.0f} ms")  # noqa: T201 - a figure to read, none to pass
    asked = [url for url in visitor.requests if "/api/entities" in url]
    assert len(asked) == 1
    assert f"limit={FIRST_PAGE}" in asked[0]
    expect(page.get_by_text("100,000 memories")).to_be_visible()
    expect(page.get_by_role("table")).to_have_attribute("aria-rowcount", str(MANY + 1))
    assert rows(page) <= MOST_ROWS


def test_scrolling_fetches_on_and_keeps_the_window_small(large: WebServer, visitor: Visitor) -> None:
    page = visitor.visit(large, "/memories?sort=key&order=asc")
    for reached in range(1, 11):
        page.locator("#main").evaluate("main => { main.scrollTop = main.scrollHeight; }")
        reach = "least => document.querySelector('.rows').offsetHeight >= least * 58"
        wait_until(page, reach, (reached + 1) * FIRST_PAGE)
        assert rows(page) <= MOST_ROWS
    keys = page.locator(".list-row .name a").all_inner_texts()
    assert keys == sorted(keys)


def test_every_page_opens_on_a_hundred_thousand(large: WebServer, visitor: Visitor) -> None:
    for path in ("/", "/search?q=topic", "/graph", "/timeline", "/time", "/maintenance"):
        page = visitor.visit(large, path)
        settle(page)
        expect(page.locator(".notice.bad")).to_have_count(0)
