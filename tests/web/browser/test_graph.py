"""The graph: a picture to move in, a list that says the same, 5,000 memories at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from mimir import Memory
from tests.server.web import WebServer
from tests.web.browser.visiting import Serve, Visitor, wait_until

MANY = 5_000
CHANGED = "before => document.querySelector('canvas').toDataURL() !== before"


def settled(page: Page) -> None:
    page.wait_for_selector("canvas[data-settled=true]")


def ink(page: Page) -> Any:  # noqa: ANN401 - compared only with itself
    """Return what is drawn."""
    return page.locator("canvas").evaluate("canvas => canvas.toDataURL()")


def test_a_click_on_a_memory_shows_its_neighbours_and_leads_to_it(shown: WebServer, visitor: Visitor) -> None:
    page = visitor.visit(shown, "/graph?category=decision")
    settled(page)
    side = page.locator(".graph-side")
    side.get_by_role("button", name="database").click()
    box = page.locator("canvas").bounding_box()
    assert box is not None
    side.get_by_role("button", name="All memories").click()
    # The list has brought the memory to the middle of the picture.
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    chosen = page.get_by_role("region", name="Chosen memory")
    expect(chosen.get_by_role("heading", name="database")).to_be_visible()
    expect(chosen).to_contain_text("← depends_on")
    chosen.get_by_role("button", name="queue").click()
    expect(chosen.get_by_role("heading", name="queue")).to_be_visible()
    chosen.get_by_role("link", name="Open").click()
    expect(page.locator("#panel").get_by_role("heading", name="queue")).to_be_visible()


def test_the_picture_is_zoomed_panned_and_dragged(shown: WebServer, visitor: Visitor) -> None:
    page = visitor.visit(shown, "/graph")
    settled(page)
    canvas = page.locator("canvas")
    box = canvas.bounding_box()
    assert box is not None
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    pictures = [ink(page)]

    def has_changed() -> None:
        wait_until(page, CHANGED, pictures[-1])
        settled(page)
        pictures.append(ink(page))

    page.mouse.move(*middle)
    page.mouse.wheel(0, -300)
    has_changed()
    page.mouse.move(box["x"] + 4, box["y"] + 4)
    page.mouse.down()
    page.mouse.move(box["x"] + 90, box["y"] + 60, steps=4)
    page.mouse.up()
    has_changed()
    page.locator(".graph-side").get_by_role("button", name="database").click()
    has_changed()
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0] + 120, middle[1] + 40, steps=4)
    page.mouse.up()
    has_changed()
    canvas.focus()
    page.keyboard.press("0")
    has_changed()
    page.keyboard.press("+")
    has_changed()
    page.keyboard.press("ArrowLeft")
    has_changed()


def test_the_graph_is_filtered_by_relation_and_centred_on_one_memory(shown: WebServer, visitor: Visitor) -> None:
    page = visitor.visit(shown, "/graph")
    page.get_by_label("Relation").select_option("depends_on")
    expect(page.locator(".tally")).to_contain_text("2 links")
    page.locator(".graph-side").get_by_role("button", name="database").click()
    page.get_by_role("button", name="Centre on it").click()
    expect(page.get_by_label("Around it")).to_be_visible()
    page.get_by_role("button", name="Show the whole graph").click()
    expect(page.get_by_label("Most memories")).to_be_visible()


@pytest.mark.slow
def test_five_thousand_memories_are_drawn_and_stay_movable(serve: Serve, visitor: Visitor, tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    with Memory.open(str(path), embedding="off", durability="normal") as memory:
        memory.remember_many(
            {
                "category": f"topic-{number % 9}",
                "key": f"memory-{number:04d}",
                "body_json": {"content": f"Fact {number}."},
            }
            for number in range(MANY)
        )
        ids = {key: stored.entity.id for batch in _all(memory) for key, stored in batch.items()}
        with memory.writing():
            for number in range(1, MANY):
                (source,) = memory.store.find(f"topic-{number % 9}", f"memory-{number:04d}", "")
                memory.store.add_link(source.number, ids[f"memory-{number // 3:04d}"], "follows", 1.0, 0)
    server = serve(path, "--embedding", "off")
    page = visitor.visit(server, f"/graph?limit={MANY}")
    expect(page.locator(".tally")).to_have_text("5,000 memories, 4,999 links")
    # It can be moved long before it has come to rest.
    page.wait_for_selector("canvas[data-settled]")
    before = ink(page)
    page.locator("canvas").focus()
    page.keyboard.press("+")
    wait_until(page, CHANGED, before)


def _all(memory: Memory) -> Any:  # noqa: ANN401 - batches of stored memories by key
    from mimir.model import Filter

    return ({stored.entity.key: stored for stored in batch} for batch in memory.store.scan(Filter()))
