"""Measure the dashboard on a large store: `python -m benchmarks.dashboard`.

A read is one request of the pages to a real server, on a connection of its own, from its start to the last byte. The
browser is a real Chromium without a window. `cold` is a visit with an empty cache, in a page that was never used,
`warm` another visit with the files of the one before. Both count from the start of the navigation, by the clock of the
page itself (`performance.timeOrigin`), to the frame after the one in which the first row of the table was there: what
starting a browser or opening a tab takes is no part of it. Server, browser and measurement share the machine.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.request import urlopen

from benchmarks.budgets import FULL_SIZE, print_verdicts
from benchmarks.measure import circumstances, spread
from benchmarks.report import Row, add_options, publish
from mimir import Memory
from tests.server.web import WebServer, free_port
from tests.web.browser.visiting import WIDE, started_browser

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

BATCH: Final = 10_000
READS: Final[Mapping[str, str]] = {
    "first page of memories": "/api/entities?limit=100&sort=changed",
    "by strength": "/api/entities?limit=100&sort=strength",
    "one category": "/api/entities?limit=100&category=topic-3",
    "overview": "/api/overview",
    "search by words": "/api/search?q=topic+417&mode=fts5",
    "graph of 500": "/api/graph?limit=500",
    "journal": "/api/journal?limit=60",
}

_WATCH: Final = """
new Promise(resolve => {
  const look = () => {
    if (!document.querySelector(".list-row .name a")) requestAnimationFrame(look);
    else requestAnimationFrame(() => resolve(performance.now()));
  };
  look();
})
"""


def fill(path: str, memories: int) -> None:
    """Write a store with so many short memories."""
    with Memory.open(path, embedding="off", durability="normal") as memory:
        for start in range(0, memories, BATCH):
            memory.remember_many(_texts(start, min(start + BATCH, memories)))


def _texts(start: int, end: int) -> Iterator[dict[str, object]]:
    for number in range(start, end):
        text = f"Fact number {number} is about topic {number % 997} and was noted in week {number // 2000}."
        yield {"category": f"topic-{number % 9}", "key": f"memory-{number:06d}", "body_json": {"content": text}}


def main() -> None:
    """Fill a store, serve it, time each read and then visits of a browser."""
    parser = argparse.ArgumentParser(prog="benchmarks.dashboard", description=__doc__)
    parser.add_argument("--memories", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=15, help="requests of each read, and visits")
    add_options(parser)
    chosen = parser.parse_args()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "memory.db")
        fill(path, chosen.memories)
        about = circumstances()
        port = free_port()
        command = [sys.executable, "-m", "mimir", "web", "--db", path, "--port", str(port), "--embedding", "off"]
        server = WebServer(command, port)
        try:
            for name, read in READS.items():
                rows.append(_row(name, [_read(server.url + read) for _ in range(chosen.runs)], chosen.memories))
            with started_browser() as browser:
                visits = [_visits(browser, f"{server.url}/memories") for _ in range(chosen.runs)]
        finally:
            server.close()
    budget = "first page" if chosen.memories == FULL_SIZE else ""
    rows.append(_row("rows in a browser, cold", [cold for cold, _ in visits], chosen.memories, budget))
    rows.append(_row("rows in a browser, warm", [warm for _, warm in visits], chosen.memories))
    publish("dashboard", rows, chosen, about)
    print_verdicts(rows)


def _row(what: str, times: list[float], memories: int, budget: str = "") -> Row:
    return {"what": what, "memories": f"{memories:,}", **spread(times), "least ms": min(times), "budget": budget}


def _visits(browser: Browser, address: str) -> tuple[float, float]:
    """Return how long a first visit and one after it take until the rows can be seen."""
    page = browser.new_context(viewport={"width": WIDE[0], "height": WIDE[1]}).new_page()
    times = _visit(page, address), _visit(page, address)
    page.context.close()
    return times


def _visit(page: Page, address: str) -> float:
    page.goto(address, wait_until="commit")
    took: float = page.evaluate(_WATCH)
    return took


def _read(url: str) -> float:
    started = time.perf_counter()
    with urlopen(url) as answer:  # noqa: S310 - an address of this machine
        answer.read()
    return (time.perf_counter() - started) * 1000


if __name__ == "__main__":
    main()
