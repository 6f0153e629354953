"""Measure the dashboard's answers on a large store.

    .venv/bin/python -m benchmarks.dashboard [--memories 100000]

Prints for each read of the pages the median and the fastest of several requests to a real server, and for the first
page of memories in a browser how long it takes until its rows can be seen, in milliseconds.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.request import urlopen

from mimir import Memory
from tests.server.web import WebServer, free_port
from tests.web.browser.visiting import started_browser

BATCH = 10_000
READS: Mapping[str, str] = {
    "first page of memories": "/api/entities?limit=100&sort=changed",
    "by strength": "/api/entities?limit=100&sort=strength",
    "one category": "/api/entities?limit=100&category=topic-3",
    "overview": "/api/overview",
    "search by words": "/api/search?q=topic+417&mode=fts5",
    "graph of 500": "/api/graph?limit=500",
    "journal": "/api/journal?limit=60",
}


def fill(path: str, memories: int) -> None:
    """Write a store with so many short memories, some of them linked."""
    with Memory.open(path, embedding="off", durability="normal") as memory:
        for start in range(0, memories, BATCH):
            memory.remember_many(_texts(start, min(start + BATCH, memories)))


def _texts(start: int, end: int) -> Iterator[dict[str, object]]:
    for number in range(start, end):
        text = f"Fact number {number} is about topic {number % 997} and was noted in week {number // 2000}."
        yield {"category": f"topic-{number % 9}", "key": f"memory-{number:06d}", "body_json": {"content": text}}


def main() -> None:
    """Fill a store, serve it and time each read."""
    parser = argparse.ArgumentParser(prog="benchmarks.dashboard", description=__doc__)
    parser.add_argument("--memories", type=int, default=100_000)
    parser.add_argument("--requests", type=int, default=7)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "memory.db")
        fill(path, chosen.memories)
        port = free_port()
        command = [sys.executable, "-m", "mimir", "web", "--db", path, "--port", str(port), "--embedding", "off"]
        server = WebServer(command, port)
        try:
            print(f"{chosen.memories:,} memories, {chosen.requests} requests each")
            for name, read in READS.items():
                _print(name, [_timed(server.url + read) for _ in range(chosen.requests)])
            _print("rows seen in a browser", list(_loads(server, chosen.requests)))
        finally:
            server.close()


def _loads(server: WebServer, loads: int) -> Iterator[float]:
    """Yield how long each of several visits with an empty cache takes until the first row is there."""
    with started_browser() as browser:
        for _ in range(loads):
            page = browser.new_context().new_page()
            started = time.perf_counter()
            page.goto(f"{server.url}/memories")
            page.wait_for_selector(".list-row .name a")
            yield (time.perf_counter() - started) * 1000
            page.context.close()


def _print(name: str, times: list[float]) -> None:
    print(f"{name:24} median {statistics.median(times):7.1f} ms   fastest {min(times):7.1f} ms", flush=True)


def _timed(url: str) -> float:
    started = time.perf_counter()
    with urlopen(url) as answer:  # noqa: S310 - an address of this machine
        answer.read()
    return (time.perf_counter() - started) * 1000


if __name__ == "__main__":
    main()
