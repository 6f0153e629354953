"""Many processes on one file at once, as when every agent host starts its own server."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.conftest import OpenMemory
from tests.server.client import SERVE, Client

WRITE = """
import sys
from mimir import Memory
from tests.doubles import WordEmbedder

writer = sys.argv[2]
with Memory.open(sys.argv[1], embedder=WordEmbedder()) as memory:
    print("ready", flush=True)
    sys.stdin.readline()
    for n in range(500):
        assert memory.remember(f"c{writer}", f"k{n}", {"content": f"writer {writer} text {n}"}).action == "created"
        if n % 50 == 0:
            memory.remember("shared", "counter", {"content": f"{writer} {n}"})
            keys = [hit.key for hit in memory.recall(f"text {n}", category=f"c{writer}", mode="fts5").items]
            assert f"k{n}" in keys, keys
"""


@pytest.mark.slow
def test_eight_processes_write_to_one_file_at_once(db: str, open_memory: OpenMemory) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WRITE, db, str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(8)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [process.communicate(timeout=300)[1] for process in processes] == [""] * 8
    assert [process.returncode for process in processes] == [0] * 8
    memory = open_memory(clock=None)
    stats = memory.stats()
    assert stats.total_entities == 4_000 + 1
    assert stats.by_category == {"shared": 1} | {f"c{number}": 500 for number in range(8)}
    assert memory.history("shared", "counter").total == 8 * 10 - 1
    memory.embed_pending()
    stats = memory.stats()
    assert (stats.embedded, stats.pending_embeddings) == (stats.passages, 0)
    assert memory.store.check_integrity() == "ok"


def recall_settled(server: Client, query: str) -> list[str]:
    """Return the key of what is nearest in meaning, once no other process is about to embed anything."""
    for _ in range(10_000):
        found = server.use("mimir_recall", query=query, mode="dense", limit=1)
        if "pending" not in found:
            return [item["key"] for item in found["items"]]
    raise AssertionError("vectors were pending all the time")


@pytest.mark.slow
def test_two_servers_see_each_others_memories_and_vectors(db: str) -> None:
    first, second = (Client((*SERVE, "--db", db)) for _ in range(2))
    try:
        first.use("mimir_remember", category="c", key="a", body_json={"content": "The kettle whistles when it boils."})
        assert recall_settled(second, "noise of hot water") == ["a"]
        second.use("mimir_remember", category="c", key="b", body_json={"content": "Our cat sleeps on the piano."})
        for server in (first, second):
            assert recall_settled(server, "where does the pet rest") == ["b"]
        first.use("mimir_remember", category="c", key="b", body_json={"content": "The office moved to Bergen."})
        assert recall_settled(second, "in which city do we work") == ["b"]
        second.use("mimir_forget", category="c", key="b")
        found = first.use("mimir_recall", query="Bergen office")
        assert "b" not in [item["key"] for item in found["items"]]
    finally:
        first.close()
        second.close()
