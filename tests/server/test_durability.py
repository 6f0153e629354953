"""What an acknowledgement is worth: many processes on one file, and a process that is killed."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.server.client import PATIENCE_S, SERVE, Client, Start, call, remember, wire


@pytest.mark.slow
def test_eight_processes_write_to_one_file_at_once_and_lose_nothing(db: str, tmp_path: Path, start: Start) -> None:
    processes = []
    for writer in range(8):
        given = tmp_path / f"{writer}.jsonl"
        given.write_bytes(b"".join(wire(remember(n, f"writer{writer} memory{n}", f"text {n}")) for n in range(500)))
        with given.open("rb") as source:
            processes.append(
                subprocess.Popen(
                    [*SERVE, "--db", db], stdin=source, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
                )
            )
    for process in processes:
        replies = [json.loads(line) for line in process.communicate(timeout=300)[0].splitlines()]
        assert process.returncode == 0
        assert [reply["id"] for reply in replies] == list(range(500))
        assert all(reply["result"]["structuredContent"].get("action") == "created" for reply in replies)
    assert start().use("mimir_stats")["total_entities"] == 4000


def test_every_acknowledged_memory_survives_a_kill_in_the_stream(server: Client, start: Start) -> None:
    server.use("mimir_health")
    server.send(*(remember(number, f"k{number}") for number in range(2000)))
    acknowledged = [server.receive() for _ in range(100)]
    server.process.kill()
    server.process.wait(PATIENCE_S)
    server.stdin.close()
    acknowledged += [json.loads(line) for line in iter(server.lines.get, b"") if line.endswith(b"\n")]
    assert 100 <= len(acknowledged) < 2000
    second = start("--embedding", "off")
    second.send(
        *(
            call(n, "mimir_get_entity", id=reply["result"]["structuredContent"]["id"])
            for n, reply in enumerate(acknowledged)
        )
    )
    for reply in acknowledged:
        assert second.receive()["result"]["structuredContent"]["key"] == f"k{reply['id']}"
