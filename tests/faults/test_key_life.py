"""Sealing, rekeying, unsealing and restoring that are killed: one whole store under one of the two keys is there."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mimir import Conflict, Locked, Memory
from mimir.config import IS_WINDOWS
from mimir.crypto import write_key_file

pytestmark = pytest.mark.skipif(IS_WINDOWS, reason="SIGKILL is of POSIX")

TRIALS = 5
MEMORIES = 60

RUN = """
import os, signal, sys

calls, last = 0, int(sys.argv[1])

def count(frame, event, argument):
    global calls
    if event in ("c_call", "c_return"):
        calls += 1
        if calls == last:
            os.kill(os.getpid(), signal.SIGKILL)

# What would otherwise be imported in between is no step of the work.
from mimir.cli import backups, keys, main
from mimir.store.sqlite import filling, replacing
import cryptography.hazmat.primitives.ciphers.aead

sys.setprofile(count)
status = main.run(sys.argv[2:])
sys.setprofile(None)
print(status, calls)
"""


def run(at: int, *arguments: str) -> tuple[int, str]:
    """Run a command that is killed at its ``at``-th call into C, if there is one; return its status and output."""
    ended = subprocess.run(
        [sys.executable, "-c", RUN, str(at), *arguments], capture_output=True, text=True, check=False, timeout=120
    )
    return ended.returncode, ended.stdout


class Trial:
    """One store in a folder of its own, with two keys outside of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "store"
        self.folder.mkdir()
        self.db = str(self.folder / "memory.db")
        self.digest = ("", 0)
        self.one, self.two = str(folder / "one"), str(folder / "two")
        for key in (self.one, self.two):
            write_key_file(key)

    def open(self, key: str) -> Memory:
        return Memory.open(self.db, embedding="off", encryption_key=key)

    def fill(self, key: str, scope: str) -> None:
        with Memory.open(self.db, embedding="off", encryption_key=key, encryption_scope=scope) as memory:
            memory.remember_many(
                {"category": "note", "key": f"k{number}", "body_json": {"content": f"zebraquartz {number}"}}
                for number in range(MEMORIES)
            )
            memory.remember("note", "k0", {"content": "zebraquartz changed"})
            memory.journal("decision", evaluated={"text": "zebraquartz weighed"})

    def opened_by(self, keys: tuple[str, str]) -> str:
        """Return the only one of two keys that opens the store, which must hold everything; an empty one is none."""
        fitting = []
        for key in keys:
            try:
                with self.open(key) as memory:
                    stats = memory.stats()
                    assert (stats.total_entities, stats.total_versions) == (MEMORIES, 1)
                    assert memory.verify().ok
                    digest, count = memory.store.digest(str)
                    assert (digest, count) == self.digest
            except (Locked, Conflict):
                continue
            fitting.append(key)
        assert len(fitting) == 1
        return fitting[0]


WORK = {
    "seal": ("seal", "", "full"),
    "seal bodies": ("seal", "", "body"),
    "rekey": ("rekey", "one", "full"),
    "rekey bodies": ("rekey", "one", "body"),
    "unseal": ("unseal", "one", "full"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", WORK)
def test_a_change_of_keys_that_is_killed_leaves_one_whole_store(tmp_path: Path, name: str) -> None:
    word, before, scope = WORK[name]
    chance = random.Random(name)
    is_old_left = False
    steps = 0
    for number in range(TRIALS + 1):
        folder = tmp_path / str(number)
        folder.mkdir()
        trial = Trial(folder)
        old = trial.one if before else ""
        trial.fill(old, scope if before else "")
        with trial.open(old) as memory:
            trial.digest = memory.store.digest(str)
        new = {"seal": trial.one, "rekey": trial.two, "unseal": ""}[word]
        arguments = ["--db", trial.db, "--encryption-key", trial.one]
        arguments += [trial.two] if word == "rekey" else ["--encryption-scope", scope] if word == "seal" else []
        if number == 0:
            status, printed = run(0, word, *arguments)
            assert status == 0
            steps = int(printed.split()[-1])
            assert trial.opened_by((old, new)) == new
            continue
        # Half of them near the end, where one file takes the place of the other.
        first = steps * 9 // 10 if number % 2 else 1
        status, _ = run(chance.randrange(first, steps), word, *arguments)
        assert status == -signal.SIGKILL
        present = trial.opened_by((old, new))
        is_old_left |= present == old
        if scope == "full" and present:
            leftovers = {path.name for path in trial.folder.iterdir()}
            assert leftovers == {"memory.db"}
            assert not any(b"zebraquartz" in path.read_bytes() for path in trial.folder.iterdir())
        if present == old:
            assert run(0, word, *arguments)[0] == 0
            assert trial.opened_by((old, new)) == new
    assert is_old_left


@pytest.mark.slow
def test_a_restore_that_is_killed_leaves_the_former_store_or_the_restored_one(tmp_path: Path) -> None:
    chance = random.Random("restore")
    steps = 0
    for number in range(TRIALS // 2 + 1):
        folder = tmp_path / str(number)
        folder.mkdir()
        trial = Trial(folder)
        trial.fill(trial.one, "full")
        with trial.open(trial.one) as memory:
            backed_up = memory.store.digest(str)
            memory.store.back_up(str(folder / "copy.db"))
            memory.remember("note", "later", {"content": "zebraquartz later"})
            there = memory.store.digest(str)
        arguments = ("restore", str(folder / "copy.db"), "--force", "--db", trial.db, "--encryption-key", trial.one)
        if number == 0:
            status, printed = run(0, *arguments)
            assert status == 0
            steps = int(printed.split()[-1])
        else:
            assert run(chance.randrange(1, steps), *arguments)[0] == -signal.SIGKILL
        with trial.open(trial.one) as memory:
            assert memory.verify().ok
            assert memory.store.digest(str) in ((backed_up,) if number == 0 else (backed_up, there))
