"""Trials of every fault: each puts one store through one mishap and counts what was lost.

The tests run a few of each, `python -m benchmarks.reliability` as many as it is told to.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import apsw
import msgspec
from msgspec import Struct

from mimir import Memory, MimirError, StorageFailure
from mimir.config import environment_for_child
from mimir.crypto import write_key_file
from mimir.store.sqlite import schema
from tests.doubles import DAY_MS, FixedClock, WordEmbedder
from tests.faults.ledger import FORGOTTEN, Deed, body, losses, unsound
from tests.faults.vfs import CALLS, CHANGING, Disk, Fault
from tests.faults.work import COPY, WENT, newer_migrations, prepare, write
from tests.server.client import SERVE, Client, call
from tests.store.original_files import original_file

ROOT: Final = Path(__file__).absolute().parents[2]
PATIENCE_S: Final = 120.0
ALWAYS: Final = 10**9
"""So many calls that a fault stays until the process ends."""

KILLED: Final = (
    "write",
    "sealed write",
    "sealed purge",
    "bulk",
    "migrate",
    "upgrade",
    "purge",
    "embed",
    "reindex",
    "vacuum",
    "groom",
    "export",
)
"""Work that is killed: `migrate` brings over a file of the Rust Mimir, `upgrade` one of an older format of ours."""

_ENTITY_COUNT: Final = 40
_SHOTS: Final = 12
"""How often the power fails in one round of writing at most."""

_SEALED: Final = "sealed "
_STORAGE: Final = StorageFailure.exit_status


class Outcome(Struct, kw_only=True):
    """What came of the trials of one suite; every entry of `lost` is a sentence.

    `met` counts those in which the mishap came about: a call that is to fail may not be made. `told` counts those in
    which the program said so.
    """

    suite: str
    trials: int = 0
    met: int = 0
    told: int = 0
    acknowledged: int = 0
    lost: list[str] = msgspec.field(default_factory=list)


class Done(NamedTuple):
    """What a process of `tests.faults.work` printed and how it ended."""

    status: int
    deeds: list[Deed]
    errors: list[dict[str, str]]
    calls: dict[str, int]
    met: int
    stderr: str


def do(work: str, path: Path, **options: object) -> Done:
    """Run a piece of work in a process of its own."""
    work = {"migrate": "start", "upgrade": "start"}.get(work, work).removeprefix(_SEALED)
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.work", work, str(path), json.dumps(options)],
        env=environment_for_child(PYTHONPATH=str(ROOT)),
        cwd=path.parent,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    # The last line of a process that was killed may be torn.
    lines = [json.loads(line) for line in done.stdout.splitlines(keepends=True) if line[0] == "{" and line[-1] == "\n"]
    counted: dict[str, Any] = next((line for line in lines if "calls" in line), {"calls": {}, "met": 0})
    return Done(
        status=done.returncode,
        deeds=[Deed(*line["deed"]) for line in lines if "deed" in line],
        errors=[line for line in lines if "error" in line],
        calls=counted["calls"],
        met=counted["met"],
        stderr=done.stderr,
    )


def kill_trials(folder: Path, work: str, numbers: Iterable[int], seed: int = 1) -> Outcome:
    """Kill a process at any of its writes to the disk, then open the store, check it, and let the work be done."""
    outcome = Outcome(suite=f"kill -9 during {work}")
    chance = random.Random(f"{work} {seed}")
    template, deeds = _template(folder / f"{work}-template", work)
    options = {"newer": True} if work == "upgrade" else _key_option(work)
    kinds = (*CHANGING, "file")
    calls = _calls_of(work, template, folder, **options)
    total = sum(calls.get(kind, 0) for kind in kinds)
    for number in numbers:
        path = _copy(template, folder / f"{work}-{number}")
        done = do(work, path, fault=["kill", kinds, chance.randint(1, total)], **options)
        outcome.trials += 1
        outcome.met += done.status == -signal.SIGKILL
        _expect_quiet(outcome, done, killed=True)
        deeds_then = [*deeds, *done.deeds]
        outcome.acknowledged += len(deeds_then)
        with _version(newer=work == "upgrade"):
            _judge(outcome, f"{path}", path, deeds_then, work, key=_key_for(path, work))
        again = do(work, path, **{"first": 50_000, **options})
        _expect_quiet(outcome, again)
        outcome.lost += [f"{path}: the next run failed: {error}" for error in again.errors]
        with _version(newer=work == "upgrade"):
            deeds_now = [*deeds_then, *again.deeds]
            key = _key_for(path, work)
            _judge(outcome, f"{path}, next run", path, deeds_now, work, finished=True, key=key)
        shutil.rmtree(path.parent)
    return outcome


KEYS: Final = {"seal": ("", "old"), "rekey": ("old", "new"), "unseal": ("old", ""), "backup": ("old", "old")}
"""Work on the whole file: the key that opens the store before, and the one after."""


def key_trials(folder: Path, work: str, numbers: Iterable[int], seed: int = 1) -> Outcome:
    """Kill a change of keys or a backup: one of the two keys opens the store, which holds everything, and no other."""
    outcome = Outcome(suite=f"kill -9 during {work}")
    chance = random.Random(f"{work} {seed}")
    before, after = KEYS[work]
    template = folder / f"{work}-template" / "memory.db"
    template.parent.mkdir(parents=True)
    for name in ("old", "new"):
        write_key_file(str(template.with_name(f"{name}.key")))
    deeds = prepare(str(template), _key_beside(template, before))
    calls = _calls_of(work, template, folder, key="old.key")
    kinds = (*CHANGING, "file")
    total = sum(calls.get(kind, 0) for kind in kinds)
    for number in numbers:
        path = _copy(template, folder / f"{work}-{number}")
        done = do(work, path, fault=["kill", kinds, chance.randint(1, total)], key="old.key")
        outcome.trials += 1
        outcome.met += done.status == -signal.SIGKILL
        outcome.acknowledged += len(deeds)
        _expect_quiet(outcome, done, killed=True)
        opening = [name for name in ("", "old", "new") if _opens(path, name)]
        if opening not in ([before], [after]):
            outcome.lost.append(f"{path}: opened by {opening}, not by {before!r} or {after!r} alone")
            continue
        _judge(outcome, str(path), path, deeds, key=_key_beside(path, opening[0]))
        if opening == [before]:
            path.with_name(COPY).unlink(missing_ok=True)
            _expect_quiet(outcome, do(work, path, key="old.key"))
        _judge(outcome, f"{path}, next run", path, deeds, key=_key_beside(path, after))
        if work == "backup":
            _judge(outcome, f"{path}, copy", path.with_name(COPY), deeds, key=_key_beside(path, after))
        left = {one.name for one in path.parent.iterdir()} - {"memory.db", "old.key", "new.key", COPY}
        if left:
            outcome.lost.append(f"{path}: {sorted(left)} were left behind")
        shutil.rmtree(path.parent)
    return outcome


def error_trials(folder: Path, numbers: Iterable[int], seed: int = 1) -> Outcome:
    """Let calls to the disk fail, once or from then on, and check what was acknowledged on a disk that works again."""
    outcome = Outcome(suite="failing reads, writes, syncs, truncations")
    chance = random.Random(seed)
    works = (
        *("write", "write", "sealed write", "bulk", "purge", "sealed purge", "vacuum", "reindex", "embed", "migrate"),
        "groom",
    )
    made = {work: _template(folder / f"{work}-whole", work) for work in dict.fromkeys(works)}
    counts = {work: _calls_of(work, template, folder, **_key_option(work)) for work, (template, _) in made.items()}
    for number in numbers:
        work = chance.choice(works)
        template, deeds = made[work]
        call = chance.choice([call for call in CALLS if counts[work].get(call)])
        first = chance.randint(1, counts[work][call])
        path = _copy(template, folder / f"error-{number}")
        fault = ["error", [call], first, chance.choice((1, 3, ALWAYS))]
        _fault_trial(outcome, work, path, deeds, fault)
    return outcome


def full_trials(folder: Path, numbers: Iterable[int], seed: int = 1) -> Outcome:
    """Let the disk run full at any write: no space from then on, or files that may not grow beyond a size."""
    outcome = Outcome(suite="full disk")
    chance = random.Random(seed)
    works = ("write", "sealed write", "bulk", "vacuum", "reindex", "migrate")
    made = {work: _template(folder / f"{work}-before", work) for work in dict.fromkeys(works)}
    counts = {
        work: _calls_of(work, template, folder, **_key_option(work))["write"] for work, (template, _) in made.items()
    }
    for number in numbers:
        work = chance.choice(works)
        template, deeds = made[work]
        path = _copy(template, folder / f"full-{number}")
        if number % 3 == 2:
            _fault_trial(outcome, work, path, deeds, None, file_limit=chance.randrange(8_192, 400_000))
        else:
            fault = ["full", ["write"], chance.randint(1, counts[work]), chance.choice((1, ALWAYS))]
            _fault_trial(outcome, work, path, deeds, fault)
    return outcome


def server_trials(folder: Path, numbers: Iterable[int], seed: int = 1) -> Outcome:
    """Let the disk fail under a server: its client gets answers that say so, and the next server has everything."""
    outcome = Outcome(suite="failing disk under a server")
    chance = random.Random(seed)
    template, prepared = _template(folder / "server-template", "write")
    sound = _serve_on(_copy(template, folder / "server-sound"), None)
    outcome.lost += sound.wrong
    for number in numbers:
        path = _copy(template, folder / f"server-{number}")
        what, kind = chance.choice((("error", "write"), ("full", "write"), ("error", "sync"), ("error", "read")))
        fault = [what, [kind], chance.randint(1, sound.calls[kind]), chance.choice((1, 5, ALWAYS))]
        served = _serve_on(path, fault)
        outcome.trials += 1
        outcome.met += bool(served.met)
        outcome.told += served.refused > 0
        outcome.lost += served.wrong
        deeds = [*prepared, *served.deeds]
        outcome.acknowledged += len(deeds)
        _judge(outcome, str(path), path, deeds)
        shutil.rmtree(path.parent)
    return outcome


class Served(NamedTuple):
    """What a client saw of a server, and what the server's disk went through."""

    deeds: list[Deed]
    refused: int
    wrong: list[str]
    calls: dict[str, int]
    met: int


def _serve_on(path: Path, fault: list[Any] | None) -> Served:
    """Let a client store memories by a server on a disk with a fault, or a sound one."""
    client = Client((sys.executable, "-m", "tests.faults.work", "serve", str(path), json.dumps({"fault": fault})))
    deeds: list[Deed] = []
    wrong: list[str] = []
    refused = 0
    for place in range(25):
        reply = client.ask(call(place, "mimir_remember", category="server", key=f"k{place}", body_json=body(place)))
        content = reply["result"]["structuredContent"] if "result" in reply else reply
        if "action" in content:
            deeds.append(Deed("memory", content["id"], place))
        else:
            refused += 1
            if content.get("code") != "storage" or not content.get("hint"):
                wrong.append(f"{path}: a strange answer: {content}")
    client.stdin.close()
    client.process.wait(PATIENCE_S)
    printed = client.errors()
    client.close()
    if "Traceback" in printed:
        wrong.append(f"{path}: {printed}")
    went = json.loads(path.with_name(WENT).read_text(encoding="utf-8"))
    return Served(deeds, refused, wrong, went["calls"], went["met"])


def power_trials(
    folder: Path,
    numbers: Iterable[int],
    *,
    durability: str = "full",
    exact: bool | None = None,
    sealed: bool = False,
    lying: bool = False,
    seed: int = 1,
) -> Outcome:
    """Let the power fail at any call to the disk, with any part of what was not synced lost, and check what is left.

    With durability full every acknowledged deed must be there. With normal the latest may be missing, but what is there
    must be a state that the store had; with ``exact`` that is not enough. A disk that is ``lying`` says that it has
    synced and has not.
    """
    exact = durability == "full" if exact is None else exact
    outcome = Outcome(suite=f"power loss, durability {durability}{', sealed' if sealed else ''}")
    chance = random.Random(f"{durability} {seed}")
    path = folder / "power" / "memory.db"
    path.parent.mkdir(parents=True)
    key = _key_beside(path, "old") if sealed else ""
    if sealed:
        write_key_file(key)
    deeds = prepare(str(path), key)
    disk = Disk(Fault("lie", ("sync",), 1, ALWAYS) if lying else None, recording=True)
    shots: list[tuple[Path, list[Deed]]] = []
    rounds = 0

    def watch(call: str) -> None:
        if call in CHANGING and len(shots) < _SHOTS and chance.random() < 0.02:
            shot = folder / f"shot-{rounds}-{len(shots)}"
            disk.lose_power(shot, chance)
            shots.append((shot, list(deeds)))

    disk.watcher = watch
    for _ in numbers:
        while not shots:
            rounds += 1
            with (
                disk,
                Memory.open(str(path), embedder=WordEmbedder(), durability=durability, encryption_key=key) as memory,
            ):
                for deed in write(memory, {"first": 1_000 * rounds, "count": 60, "seed": rounds}):
                    deeds.append(deed)
                if rounds % 3 == 0:
                    deeds[:] = _after("purge", deeds)
                    memory.purge()
                if rounds % 3 == 1:
                    memory.reindex()
        shot, deeds_then = shots.pop()
        outcome.trials += 1
        outcome.met += 1
        outcome.acknowledged += len(deeds_then)
        _judge(outcome, str(shot), shot / "memory.db", deeds_then, exact=exact, key=key)
        shutil.rmtree(shot)
    return outcome


def damage_trials(folder: Path, numbers: Iterable[int], seed: int = 1) -> Outcome:
    """Damage every part of a file and of its log, and use it through a server and the command line.

    What was damaged may be lost, and noticed or not: the text in a plain store can be any, free pages hold nothing, and
    a log that is torn ends there, as after a crash. What must not happen is a crash or a traceback.
    """
    outcome = Outcome(suite="flipped bits, truncated files")
    chance = random.Random(seed)
    template = folder / "damage-template" / "memory.db"
    template.parent.mkdir(parents=True)
    prepare(str(template))
    kept = _with_log(template, folder / "damage-kept")
    regions = _regions(kept)
    names = sorted(regions)
    for number in numbers:
        name = names[number % len(names)]
        path = _copy(kept, folder / f"damage-{number}")
        _damage(path, regions[name], name, chance)
        outcome.trials += 1
        outcome.met += 1
        outcome.told += _use_damaged(outcome, f"{name} {number}", path)
        shutil.rmtree(path.parent)
    return outcome


FOREIGN: Final[dict[str, bytes]] = {
    "text": b"Dear diary, this is no database at all.\n" * 300,
    "image": b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40,
    "archive": b"PK\x03\x04" + bytes(8_000),
    "noise": random.Random(1).randbytes(16_384),
    "beginning of a database": b"SQLite format 3\0" + bytes(84),
    "zeros": bytes(8_192),
}


def foreign_trials(folder: Path) -> Outcome:
    """Name files of other kinds and other programs as the store: refused in a sentence, not a byte of them changed."""
    outcome = Outcome(suite="foreign files")
    places = {}
    for name, content in FOREIGN.items():
        places[name] = folder / f"{name}.db"
        places[name].write_bytes(content)
    places["another program's database"] = folder / "other.db"
    connection = apsw.Connection(str(places["another program's database"]))
    connection.execute("CREATE TABLE songs (title); INSERT INTO songs VALUES ('x')")
    connection.close()
    for name, path in places.items():
        before = path.read_bytes()
        for command in (["recall", "tea"], ["remember", "c", "k", '{"content":"x"}'], ["verify"]):
            shown = _command(path, *command)
            outcome.trials += 1
            outcome.met += 1
            outcome.told += shown.returncode != 0
            if shown.returncode not in (5, 7) or "Traceback" in shown.stderr or shown.stderr.count("\n") > 3:
                outcome.lost.append(f"{name}: {command[0]} ended with {shown.returncode}: {shown.stderr}")
        if path.read_bytes() != before:
            outcome.lost.append(f"{name}: the file was changed")
    return outcome


def clock_trials(folder: Path, numbers: Iterable[int], seed: int = 1) -> Outcome:
    """Let the clock jump back and far ahead while a store is in use: order, versions and chain hold."""
    outcome = Outcome(suite="clock going backwards and far ahead")
    chance = random.Random(seed)
    for number in numbers:
        path = folder / f"clock-{number}" / "memory.db"
        path.parent.mkdir(parents=True)
        deeds = prepare(str(path))
        clock = FixedClock(chance.randrange(1_700_000_000_000, 1_800_000_000_000))
        clock.next_id = 1 << 40
        with Memory.open(str(path), embedder=WordEmbedder(), clock=clock) as memory:
            for round_ in range(4):
                for deed in write(memory, {"first": 1_000 * (round_ + 1), "count": 15, "seed": chance.random()}):
                    deeds.append(deed)
                memory.recall("kettle", limit=3)
                clock.advance(chance.choice((-40_000, -400, -1, 400)) * DAY_MS // chance.choice((1, 1_000)))
            for page in memory.timeline(limit=50).items, memory.timeline(limit=50).items:
                if [item.sequence for item in page] != sorted((item.sequence for item in page), reverse=True):
                    outcome.lost.append(f"{path}: the journal is out of order")
        outcome.trials += 1
        outcome.met += 1
        outcome.acknowledged += len(deeds)
        _judge(outcome, str(path), path, deeds)
    return outcome


def version_trials(folder: Path, numbers: Iterable[int]) -> Outcome:
    """Let a newer program bring a file to its format while an older one serves it: refused in words, nothing lost."""
    outcome = Outcome(suite="two versions of the program on one file")
    for number in numbers:
        path = folder / f"version-{number}" / "memory.db"
        path.parent.mkdir(parents=True)
        deeds = prepare(str(path))
        client = Client((*SERVE, "--db", str(path), "--embedding", "off"))
        kept = client.use("mimir_remember", category="c", key="before", body_json=body(1))
        deeds.append(Deed("memory", kept["id"], 1))
        done = do("upgrade", path, newer=True)
        _expect_quiet(outcome, done)
        refused = client.fail("mimir_remember", category="c", key="after", body_json=body(2))
        outcome.told += 1
        if refused["code"] != "storage" or "newer" not in refused["error"] or not refused["hint"]:
            outcome.lost.append(f"{path}: the older server said {refused}")
        client.close()
        shown = _command(path, "recall", "kettle")
        if shown.returncode != _STORAGE or "newer" not in shown.stderr:
            outcome.lost.append(f"{path}: an older start ended with {shown.returncode}: {shown.stderr}")
        with _version(newer=True):
            _judge(outcome, str(path), path, deeds)
        backup = Path(f"{path}.v{len(schema.MIGRATIONS)}.bak")
        _judge(outcome, str(backup), backup, deeds)
        outcome.trials += 1
        outcome.met += 1
        outcome.acknowledged += len(deeds)
    return outcome


def read_only_trials() -> Outcome:
    """Use a store as a user who may not write it: read where that is possible, refused in words where not."""
    outcome = Outcome(suite="read-only file and folder")
    for name, file_mode, folder_mode in (("file", 0o444, 0o777), ("folder", 0o444, 0o555), ("unreadable", 0, 0o555)):
        # Not in the folder of the test, which other users may not enter.
        with tempfile.TemporaryDirectory() as place:
            path = Path(place, name, "memory.db")
            path.parent.mkdir()
            deeds = prepare(str(path))
            path.chmod(file_mode)
            path.parent.chmod(folder_mode)
            Path(place).chmod(0o755)
            for command in (["remember", "c", "k", '{"content":"x"}'], ["recall", "kettle"], ["verify"]):
                shown = _command(path, *command, as_nobody=True)
                outcome.trials += 1
                outcome.met += 1
                outcome.told += shown.returncode != 0
                refused = shown.returncode == _STORAGE and shown.stderr.startswith("mimir: ")
                was_read = command[0] != "remember" and name == "file" and shown.returncode == 0
                if not (refused or was_read) or "Traceback" in shown.stderr:
                    outcome.lost.append(f"{name}: {command[0]} ended with {shown.returncode}: {shown.stderr}")
            path.parent.chmod(0o755)
            path.chmod(0o644)
            outcome.acknowledged += len(deeds)
            _judge(outcome, name, path, deeds)
    return outcome


def _template(folder: Path, work: str) -> tuple[Path, list[Deed]]:
    """Make the store that a kind of work begins with."""
    folder.mkdir(parents=True)
    path = folder / "memory.db"
    if work.startswith(_SEALED):
        write_key_file(_key_for(path, work))
    if work != "migrate":
        return path, prepare(str(path), _key_for(path, work))
    with original_file(path) as file:
        made = [file.entity(f"k{number}", body(number)) for number in range(_ENTITY_COUNT)]
        for number in range(0, _ENTITY_COUNT, 8):
            file.event(evaluated_json=f'{{"n":{number}}}')
    return path, [Deed("memory", entity_id, number) for number, entity_id in enumerate(made)]


def _calls_of(work: str, template: Path, folder: Path, **options: object) -> dict[str, int]:
    """Return how many calls of each kind to the disk a piece of work makes when nothing fails."""
    done = do(work, _copy(template, folder / f"{work}-counted"), fault=None, **options)
    if done.status or done.errors or done.stderr:
        raise RuntimeError(f"{work} fails on a sound disk: {done.errors} {done.stderr}")
    return done.calls


def _copy(template: Path, folder: Path) -> Path:
    shutil.copytree(template.parent, folder)
    return folder / template.name


def _after(work: str, deeds: Sequence[Deed]) -> list[Deed]:
    """Return what must still be there when the work is done: a purge removes what was forgotten."""
    if work.removeprefix(_SEALED) != "purge":
        return list(deeds)
    gone = {deed.name for deed in deeds if deed == Deed("memory", deed.name, FORGOTTEN)}
    return [deed for deed in deeds if gone.isdisjoint(deed.name.split()) or deed.value == FORGOTTEN]


def _judge(
    outcome: Outcome,
    label: str,
    path: Path,
    deeds: Sequence[Deed],
    work: str = "",
    *,
    finished: bool = False,
    exact: bool = True,
    key: str = "",
) -> None:
    """Open a store after a mishap, and note what it has lost and what is wrong with it."""
    deeds = _after(work, deeds)
    try:
        with Memory.open(str(path), embedder=WordEmbedder(), encryption_key=key) as memory:
            lost = losses(memory, deeds) if exact else _unlike_any_state(memory, deeds)
            lost += unsound(memory)
            if work == "export":
                lost += _torn_notes(memory)
            if finished:
                lost += _unfinished(memory, work)
            if memory.remember("after", label, {"content": "still writable"}).action not in ("created", "updated"):
                lost.append("a memory was merged")
    except MimirError as error:
        lost = [f"does not open: {error.message}"]
    outcome.lost += [f"{label}: {one}" for one in lost]


def _key_for(path: Path, work: str) -> str:
    return _key_beside(path, "old") if work.startswith(_SEALED) else ""


def _key_option(work: str) -> dict[str, object]:
    return {"key": "old.key"} if work.startswith(_SEALED) else {}


def _key_beside(path: Path, name: str) -> str:
    return str(path.with_name(f"{name}.key")) if name else ""


def _opens(path: Path, name: str) -> bool:
    try:
        Memory.open(str(path), embedding="off", encryption_key=_key_beside(path, name)).close()
    except MimirError:
        return False
    return True


def _unlike_any_state(memory: Memory, deeds: Sequence[Deed]) -> list[str]:
    """Return nothing if the store is as it was after some of the deeds, in their order, and none of the others."""
    best: list[str] = []
    for count in range(len(deeds), -1, -1):
        lost = losses(memory, deeds[:count])
        if not lost:
            later = [deed for deed in deeds[count + 1 :] if deed.kind == "event" and not losses(memory, [deed])]
            return [f"{deed} is there, and an earlier deed is not" for deed in later]
        best = lost
    return best


def _torn_notes(memory: Memory) -> list[str]:
    """Return nothing if each note is whole: writing them again changes none."""
    done = memory.vault_export(vault_dir=str(Path(memory.store.path).parent / "vault"))
    return [f"{done.files_updated} notes were torn"] if done.files_updated else []


def _unfinished(memory: Memory, work: str) -> list[str]:
    stats = memory.stats()
    if work.removeprefix(_SEALED) == "purge" and (
        stats.total_entities != stats.active_entities or memory.store.unswept()
    ):
        return ["the next purge left something behind"]
    return []


def _expect_quiet(outcome: Outcome, done: Done, *, killed: bool = False) -> None:
    allowed = (0, -signal.SIGKILL) if killed else (0,)
    if done.stderr or done.status not in allowed:
        outcome.lost.append(f"ended with {done.status}: {done.stderr}")


def _fault_trial(
    outcome: Outcome, work: str, path: Path, deeds: Sequence[Deed], fault: list[Any] | None, **options: object
) -> None:
    rounds = 2 if work.endswith("write") else 1
    done = do(work, path, fault=fault, rounds=rounds, patience_ms=2_000, **_key_option(work), **options)
    outcome.trials += 1
    outcome.met += bool(done.met or done.errors)
    outcome.told += bool(done.errors)
    _expect_quiet(outcome, done)
    for error in done.errors:
        if error["error"] not in ("storage", "busy") or not (error["message"] and error["hint"]):
            outcome.lost.append(f"{path}: a strange error: {error}")
    everything = [*deeds, *done.deeds]
    outcome.acknowledged += len(everything)
    _judge(outcome, f"{path} {work} {fault or options}", path, everything, work, key=_key_for(path, work))
    shutil.rmtree(path.parent)


@contextmanager
def _version(*, newer: bool) -> Iterator[None]:
    """Be a later version of the program inside the block."""
    before = schema.MIGRATIONS
    if newer:
        schema.MIGRATIONS = newer_migrations()  # type: ignore[misc]  # another version has another constant
    try:
        yield
    finally:
        schema.MIGRATIONS = before  # type: ignore[misc]  # the same


def _with_log(template: Path, folder: Path) -> Path:
    """Return a copy of a store with free pages and a log that is not folded in, as a process leaves it that dies."""
    folder.mkdir()
    with Memory.open(str(template), embedder=WordEmbedder()) as memory:
        memory.remember("c", "long", {"content": "words of a long text " * 3_000})
        memory.forget("c", "long")
        with memory.store.writing():
            memory.store.erase(memory.store.archived())
        memory.embed_pending()
        memory.store.truncate_log(1.0)
        for number in range(10):
            memory.remember("late", f"k{number}", body(number))
        for ending in ("", "-wal"):
            shutil.copy(f"{template}{ending}", folder)
    return folder / template.name


def _regions(path: Path) -> dict[str, list[range]]:
    """Return the bytes of each region of a file; those of the log have a name that ends so."""
    size = 4_096
    pages: dict[str, list[range]] = {}
    connection = apsw.Connection(path.as_uri() + "?immutable=1", flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
    used = set()
    rows: list[tuple[Any, ...]] = connection.execute("SELECT name, pageno FROM dbstat").fetchall()
    for name, number in rows:
        used.add(number)
        kind = "schema page" if name == "sqlite_schema" else "text index" if "_text" in name else "tables and indexes"
        pages.setdefault(kind, []).append(range((number - 1) * size, number * size))
    connection.close()
    whole = range(1, path.stat().st_size // size + 1)
    pages["free pages"] = [range((number - 1) * size, number * size) for number in whole if number not in used]
    pages["header"] = [range(100)]
    log = Path(f"{path}-wal").stat().st_size
    pages["header of the log"] = [range(32)]
    pages["frames of the log"] = [range(32, log)]
    pages["cut off"] = [range(path.stat().st_size)]
    pages["cut off log"] = [range(log)]
    return pages


def _damage(path: Path, region: Sequence[range], name: str, chance: random.Random) -> None:
    file = Path(f"{path}-wal") if name.endswith("log") else path
    if name.startswith("cut off"):
        os.truncate(file, chance.randrange(region[0].stop))
        return
    data = bytearray(file.read_bytes())
    for _ in range(chance.choice((1, 8, 64))):
        data[chance.choice(chance.choice(region))] ^= 1 << chance.randrange(8)
    file.write_bytes(data)


_DAMAGED_USES: Final[tuple[tuple[str, dict[str, object]], ...]] = (
    ("mimir_recall", {"query": "green kettle", "limit": 50}),
    ("mimir_history", {"category": "shelf", "key": "k0"}),
    ("mimir_remember", {"category": "c", "key": "new", "body_json": {"content": "green"}}),
    ("mimir_forget", {"category": "shelf", "key": "k5"}),
    ("mimir_timeline", {}),
    ("mimir_state_get", {"key": "cursor"}),
    ("mimir_traverse", {"category": "shelf", "key": "k2"}),
    ("mimir_autocohere", {}),
    ("mimir_reindex", {}),
    ("mimir_purge", {}),
    ("mimir_stats", {}),
)


def _use_damaged(outcome: Outcome, label: str, path: Path) -> bool:
    """Use a damaged store in every way, note what is strange, and tell whether the damage was named anywhere."""
    named = False
    client = Client((*SERVE, "--db", str(path), "--embedding", "off"), MIMIR_BUSY_TIMEOUT_MS="500")
    for place, (tool, arguments) in enumerate(_DAMAGED_USES):
        client.send(
            {
                "jsonrpc": "2.0",
                "id": place,
                "method": "tools/call",
                "params": {"name": tool, "arguments": arguments},
            }
        )
    for _ in _DAMAGED_USES:
        reply = client.receive()
        content = reply["result"]["structuredContent"] if "result" in reply else reply
        if "result" not in reply or (reply["result"].get("isError") and content["code"] == "internal"):
            outcome.lost.append(f"{label}: {_DAMAGED_USES[reply['id']][0]} answered {content}")
        elif reply["result"].get("isError"):
            named = named or content["code"] == StorageFailure.code
            if not content["hint"]:
                outcome.lost.append(f"{label}: no advice in {content}")
    client.stdin.close()
    client.process.wait(PATIENCE_S)
    printed = client.errors()
    client.close()
    if "Traceback" in printed or client.process.returncode:
        outcome.lost.append(f"{label}: the server ended with {client.process.returncode}: {printed}")
    shown = _command(path, "verify")
    if shown.returncode not in (0, 1, 5, 7) or "Traceback" in shown.stderr:
        outcome.lost.append(f"{label}: verify ended with {shown.returncode}: {shown.stderr}")
    return named or shown.returncode != 0


_AS_NOBODY: Final = """
import os, sys
from mimir.cli.main import run

# Another user may not be allowed to read what is imported late.
standard_output, sys.stdout = sys.stdout, open(os.devnull, "w", encoding="utf-8")
for words in (["remember", "c", "k", "{}"], ["recall", "k"], ["verify"]):
    run([*words, "--db", sys.argv[1], "--embedding", "off"])
sys.stdout = standard_output
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
sys.exit(run(sys.argv[2:]))
"""


def _command(path: Path, *words: str, as_nobody: bool = False) -> subprocess.CompletedProcess[str]:
    spare = str(path.parent.parent / "spare.db")
    program = ["-c", _AS_NOBODY, spare] if as_nobody else ["-m", "mimir"]
    return subprocess.run(
        [sys.executable, *program, *words, "--db", str(path), "--embedding", "off"],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def within(trials: int, seconds: float) -> Iterator[int]:
    """Yield numbers of trials, from 0 on, until there are as many or the time is up: one at least."""
    until = time.monotonic() + seconds
    for number in range(trials):
        if number and time.monotonic() > until:
            return
        yield number


def _kill(work: str, folder: Path, numbers: Iterable[int]) -> Outcome:
    return kill_trials(folder, work, numbers)


def _kill_at_keys(work: str, folder: Path, numbers: Iterable[int]) -> Outcome:
    return key_trials(folder, work, numbers)


ALL: Final[dict[str, Callable[[Path, Iterable[int]], Outcome]]] = {
    **{f"kill {work}": partial(_kill, work) for work in KILLED},
    **{f"kill {work}": partial(_kill_at_keys, work) for work in KEYS},
    "errors": error_trials,
    "full": full_trials,
    "server": server_trials,
    "power full": power_trials,
    "power sealed": partial(power_trials, sealed=True),
    "power normal": partial(power_trials, durability="normal"),
    "damage": damage_trials,
    "foreign": lambda folder, _: foreign_trials(folder),
    "read-only": lambda _folder, _numbers: read_only_trials(),
    "clock": clock_trials,
    "versions": version_trials,
}
"""Every suite by its name: given a folder and the numbers of its trials."""
