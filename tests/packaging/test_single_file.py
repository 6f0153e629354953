"""The single file, run in an empty home without any Python on PATH."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from mimir import __version__

MEMORY = {"category": "decision", "key": "database", "body_json": {"content": "We chose SQLite for its single file."}}


class Machine:
    """A home, and what the file does in it."""

    def __init__(self, file: Path, home: Path) -> None:
        self.file = file
        self.home = home
        self.cache = home / ".cache" / "mimir"
        home.mkdir()

    def start(self, *words: str) -> subprocess.Popen[str]:
        # The bare tools of a system, no interpreter.
        environment = {"HOME": str(self.home), "PATH": "/nowhere:/usr/bin:/bin"}
        return subprocess.Popen(
            [str(self.file), *words],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )

    def run(self, *words: str, stdin: str = "") -> tuple[int | None, str, str]:
        with self.start(*words) as process:
            out, err = process.communicate(stdin, timeout=300)
        return process.returncode, out, err


@pytest.fixture
def machine(single_file: Path, tmp_path: Path) -> Machine:
    return Machine(single_file, tmp_path / "a home")


@pytest.mark.slow
def test_it_serves_with_meaning_after_it_was_unpacked_once_by_several_at_a_time(machine: Machine) -> None:
    several = [machine.start("--version") for _ in range(2)]
    assert [process.communicate(timeout=300)[0] for process in several] == [f"mimir {__version__}\n"] * 2
    (place,) = machine.cache.iterdir()
    assert machine.cache.stat().st_mode & 0o077 == place.stat().st_mode & 0o077 == 0
    unpacked_at = place.stat().st_ctime_ns

    calls = [("mimir_remember", MEMORY), ("mimir_recall", {"query": "storage engine"})]
    messages = [
        {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": {"name": name, "arguments": arguments}}
        for number, (name, arguments) in enumerate(calls)
    ]
    # One after the other: several calls in flight are answered side by side.
    replies = [machine.run("serve", stdin=json.dumps(message) + "\n") for message in messages]
    assert [(status, err) for status, _, err in replies] == [(0, "")] * 2
    recalled = json.loads(replies[1][1])["result"]["structuredContent"]
    assert recalled["arms"]["dense"] == 1
    assert recalled["items"][0]["key"] == "database"
    assert place.stat().st_ctime_ns == unpacked_at

    # Clients are to start the file, not what lies in a cache.
    status, out, _ = machine.run("doctor", "--json")
    report = json.loads(out)
    assert (status, report["command"][0]) == (0, str(machine.file))


@pytest.mark.slow
def test_a_damaged_file_says_so_and_leaves_nothing_behind(machine: Machine, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    shutil.copy2(machine.file, damaged)
    with damaged.open("r+b") as file:
        file.truncate(damaged.stat().st_size - 1)
    machine.file = damaged
    assert machine.run("--version") == (7, "", "mimir: this file is damaged: get it again.\n")
    assert list(machine.cache.iterdir()) == []


@pytest.mark.slow
def test_where_nothing_can_be_unpacked_it_says_what_to_do(machine: Machine) -> None:
    (machine.home / ".cache").write_text("not a folder", encoding="utf-8")
    status, out, err = machine.run("--version")
    assert (status, out) == (7, "")
    assert "set XDG_CACHE_HOME to a folder that can be written to" in err
