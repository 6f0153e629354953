"""Processes that are killed in the middle of their work: what was acknowledged is there, and the store opens."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import IO

import pytest

from mimir import Memory
from tests.conftest import OpenMemory
from tests.doubles import WordEmbedder
from tests.server.client import SERVE, remember, wire

PATIENCE_S = 60.0


def start(*command: str) -> tuple[subprocess.Popen[str], IO[str], IO[str]]:
    process = subprocess.Popen(
        [sys.executable, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    return process, process.stdin, process.stdout


def read_until_killed(process: subprocess.Popen[str], output: IO[str], count: int) -> list[str]:
    """Read ``count`` lines, kill the process at once, and return every whole line that it printed."""
    lines = [output.readline() for _ in range(count)]
    process.kill()
    lines += output.readlines()
    process.wait(PATIENCE_S)
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            with contextlib.suppress(BrokenPipeError):
                stream.close()
    return [line for line in lines if line.endswith("\n")]


def check(memory: Memory) -> None:
    """Check that the store is sound, its index is that of its rows, and it can be written."""
    assert memory.store.check_integrity() == "ok"
    with memory.store.reading() as connection:
        rows, indexed, spans = (
            connection.execute(f"SELECT count(*) FROM {table}").get  # noqa: S608 - our own table names
            for table in ("entities", "passage_text", "passages")
        )
        lost = connection.execute(
            "SELECT count(*) FROM passages"
            " WHERE id NOT IN (SELECT passage FROM pending UNION SELECT passage FROM vectors)"
        ).get
    assert rows == indexed == spans
    assert lost == 0
    assert memory.remember("after", "k", {"content": "still writable"}).action == "created"


@pytest.mark.slow
@pytest.mark.parametrize("acknowledged", [1, 40, 333])
def test_every_acknowledged_memory_survives_a_kill_of_the_server(
    db: str, open_memory: OpenMemory, acknowledged: int
) -> None:
    process, given, output = start(*SERVE[1:], "--db", db, "--embedding", "off")
    # All at once, so that the kill falls into the work and not between requests.
    with given:
        given.write("".join(wire(remember(number, f"k{number}", f"text {number}")).decode() for number in range(800)))
    replies = [json.loads(line) for line in read_until_killed(process, output, acknowledged)]
    assert acknowledged <= len(replies) < 800
    assert all(reply["result"]["structuredContent"]["action"] == "created" for reply in replies)
    memory = open_memory(clock=None)
    for reply in replies:
        entity = memory.get_entity(reply["result"]["structuredContent"]["id"])
        assert json.loads(entity.body_json) == {"content": f"text {reply['id']}"}
    assert memory.stats().total_entities >= len(replies)
    check(memory)


MANY = """
import sys
from mimir import Memory
memory = Memory.open(sys.argv[1], embedding="off")
memory.remember_many(
    ({"category": "c", "key": f"k{n}", "body_json": {"content": f"text {n}"}} for n in range(10**9)),
    batch=500,
    progress=lambda count: print(count, flush=True),
)
"""


@pytest.mark.slow
@pytest.mark.parametrize("batches", [1, 5])
def test_whole_batches_survive_a_kill_of_a_bulk_write(db: str, open_memory: OpenMemory, batches: int) -> None:
    process, _, output = start("-c", MANY, db)
    acknowledged = int(read_until_killed(process, output, batches)[-1])
    memory = open_memory(clock=None)
    total = memory.stats().total_entities
    assert total >= acknowledged
    assert total % 500 == 0
    for number in (0, acknowledged - 1, total - 1):
        (stored,) = memory.store.find("c", f"k{number}", "")
        assert stored.entity.body_json == json.dumps({"content": f"text {number}"}, separators=(",", ":"))
    check(memory)


EMBED = """
import sys
from mimir import Memory
from tests.doubles import FixedClock, WordEmbedder

class Reporting(WordEmbedder):
    def embed(self, texts):
        print(len(texts), flush=True)
        return super().embed(texts)

memory = Memory.open(sys.argv[1], clock=FixedClock(int(sys.argv[2])), embedder=Reporting())
memory.embed_pending()
print("done", flush=True)
sys.stdin.readline()
"""


@pytest.mark.slow
def test_what_was_not_embedded_when_a_process_was_killed_is_embedded_by_the_next(
    db: str, open_memory: OpenMemory
) -> None:
    memory = open_memory(embedding="off")
    memory.remember_many(
        {"category": "c", "key": f"k{number}", "body_json": {"content": f"text {number}"}} for number in range(4_000)
    )
    process, _, output = start("-c", EMBED, db, str(memory.clock.now_ms()))
    printed = read_until_killed(process, output, 3)
    assert "done\n" not in printed
    embedder = WordEmbedder()
    heir = open_memory(embedder=embedder)
    heir.embed_pending()
    left = heir.stats().pending_embeddings
    # What the killed process had taken stays its own until the lease ends.
    assert left <= 32
    heir.clock.advance(60_000)  # type: ignore[attr-defined]  # a clock of the tests
    heir.embed_pending()
    stats = heir.stats()
    assert (stats.embedded, stats.pending_embeddings) == (4_000, 0)
    assert len(embedder.embedded) <= 4_000 - 2 * 32
    check(heir)


CHURN = """
import sys
from mimir import Memory
memory = Memory.open(sys.argv[1], embedding="off")
for n in range(10**9):
    key = f"k{n % 7}"
    memory.remember("c", key, {"content": f"text {n}"}, tags=[f"t{n % 3}"])
    if n % 5 == 4:
        memory.forget("c", key)
    print(n, flush=True)
"""


def trails(memory: Memory) -> Sequence[int]:
    return [memory.history("c", f"k{number}", limit=0).total for number in range(7)]


@pytest.mark.slow
def test_histories_survive_kill_after_kill(db: str, open_memory: OpenMemory) -> None:
    written = 0
    for _ in range(3):
        process, _, output = start("-c", CHURN, db)
        written += len(read_until_killed(process, output, 30))
    memory = open_memory(clock=None)
    assert memory.store.check_integrity() == "ok"
    assert memory.stats().total_entities == 7
    assert sum(trails(memory)) >= written - 7
    for number in range(7):
        versions = memory.history("c", f"k{number}", limit=1_000).versions
        for newer, older in pairwise(versions):
            assert older.invalidated_at_unix_ms == newer.recorded_at_unix_ms
    before = [
        [(hit.id, hit.score) for hit in memory.recall(word, mode="fts5", include_archived=True, reinforce=False).items]
        for word in ("text", "t1", "k3")
    ]
    memory.reindex()
    assert before == [
        [(hit.id, hit.score) for hit in memory.recall(word, mode="fts5", include_archived=True, reinforce=False).items]
        for word in ("text", "t1", "k3")
    ]
