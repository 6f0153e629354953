"""Eight servers on one file, a client at each, and a ninth that runs maintenance: what they wrote is all there."""

from __future__ import annotations

import json
import random
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

import msgspec

from benchmarks.measure import resident_mb
from mimir import Memory
from mimir.crypto import write_key_file
from tests.doubles import WordEmbedder
from tests.faults.ledger import FORGOTTEN, Deed, body, losses, unsound
from tests.faults.trials import Outcome
from tests.server.client import Client, call

SERVERS: Final = 8
LONGEST_READ_WAIT_MS: Final = 250.0
MOST_LOG_MB: Final = 64.0
MOST_GROWN_MB: Final = 32.0
"""Of memory, by the largest server in the second half of a run."""

SETTLED_S: Final = 45.0
"""How long a run must be at least for its second half to say anything about memory."""

LEAST_STEPS: Final = 12

HUB: Final = "hub"

_KINDS: Final = {
    "remember": 3,
    "change": 2,
    "shared": 1,
    "counted": 2,
    "recall": 3,
    "get": 1,
    "history": 1,
    "as_of": 1,
    "link": 2,
    "unlink": 1,
    "journal": 1,
    "state": 1,
    "supersede": 1,
    "forget": 1,
    "context": 1,
    "timeline": 1,
    "list": 1,
}
"""What a client does, each with how often of 24 times."""

_MAINTENANCE: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("mimir_decay", {}),
    ("mimir_cohere", {}),
    ("mimir_purge", {}),
    ("mimir_reindex", {}),
    ("mimir_maintenance", {"all": True}),
    ("mimir_autocohere", {}),
)


class CrowdOutcome(Outcome, kw_only=True):
    """What eight clients did and saw; times in milliseconds, sizes in MB of 10^6 bytes."""

    calls: Counter[str] = msgspec.field(default_factory=Counter)
    upkeeps: int = 0
    read_wait_ms: float = 0.0
    write_wait_ms: float = 0.0
    log_mb: float = 0.0
    file_mb: float = 0.0
    grown_mb: float = 0.0


class Member:
    """One client with a server of its own, which keeps an account of what it was told."""

    def __init__(self, number: int, client: Client, hub: str) -> None:
        self.number = number
        self.client = client
        self.hub = hub
        self.deeds: list[Deed] = []
        self.calls: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.counted = 0
        self.shared = 0
        self._chance = random.Random(number)
        self._next = 0
        self._own: dict[str, tuple[str, int, int]] = {}
        self._linked: dict[str, int] = {}
        self._told: list[tuple[str, int, int]] = []

    def work(self, until: float) -> None:
        """Do one thing after the other until a time of the monotonic clock, and some at least on a busy machine."""
        try:
            while self._next < LEAST_STEPS or time.monotonic() < until:
                self.step()
        except Exception as error:  # noqa: BLE001 - a thread's failure is the outcome
            self.wrong.append(f"client {self.number}: {error!r}")

    def step(self) -> None:
        """Do one thing."""
        (kind,) = self._chance.choices(list(_KINDS), list(_KINDS.values()))
        self.calls[kind] += 1
        self._next += 1
        getattr(self, f"_{kind}")() if kind in _READS or len(self._own) > 3 else self._remember()

    def use(self, tool: str, **arguments: object) -> dict[str, Any]:
        """Call a tool; a failure is noted, whatever it is."""
        return _use(self.client, tool, arguments)

    @property
    def category(self) -> str:
        """Return the category in which only this client writes."""
        return f"c{self.number}"

    def _some(self) -> str:
        return self._chance.choice(sorted(self._own))

    def _remember(self) -> None:
        key = f"k{self._next}"
        told = self.use("mimir_remember", category=self.category, key=key, body_json=body(self._next))
        self._own[key] = (told["id"], self._next, 0)
        self.deeds.append(Deed("memory", told["id"], self._next))

    def _change(self) -> None:
        key = self._some()
        entity_id, _, changes = self._own[key]
        told = self.use("mimir_remember", category=self.category, key=key, body_json=body(self._next))
        if told["action"] != "updated":
            self.wrong.append(f"{self.category}/{key} was {told['action']}, not updated")
        self._own[key] = (entity_id, self._next, changes + 1)
        self.deeds += [Deed("memory", entity_id, self._next), Deed("versions", entity_id, changes + 1)]

    def _shared(self) -> None:
        number = self.number * 1_000_000 + self._next
        self.use("mimir_remember", category="shared", key="version", body_json={"content": f"said {number}"})
        self.shared += 1

    def _counted(self) -> None:
        found = self.use("mimir_recall", query="tally", category="counted", mode="fts5", limit=5)
        if [item["key"] for item in found["items"]] != ["tally"]:
            self.wrong.append(f"the counted memory was not recalled: {found}")
        self.counted += 1

    def _recall(self) -> None:
        key = self._some()
        number = self._own[key][1]
        mode = self._chance.choice(("fts5", "hybrid", ""))
        found = self.use("mimir_recall", query=f"{number} kettle", category=self.category, mode=mode, limit=20)
        # Its number stands in the text of the one alone.
        if key not in [item["key"] for item in found["items"]]:
            self.wrong.append(f"{self.category}/{key} was not found by {number} in mode {mode!r}")

    def _get(self) -> None:
        entity_id, number, _ = self._own[self._some()]
        found = self.use("mimir_get_entity", id=entity_id)
        if json.loads(found["body_json"])["number"] != number:
            self.wrong.append(f"{entity_id} is not as it was written last: {found['body_json']}")

    def _history(self) -> None:
        key = self._some()
        found = self.use("mimir_history", category=self.category, key=key)
        if found["total"] != self._own[key][2]:
            self.wrong.append(f"{self.category}/{key} has {found['total']} versions, not {self._own[key][2]}")

    def _as_of(self) -> None:
        key = self._some()
        found = self.use("mimir_as_of", category=self.category, key=key, as_of_unix_ms=1 << 52)
        if f"text {self._own[key][1]} " not in json.dumps(found):
            self.wrong.append(f"{self.category}/{key} as of the end of time: {found}")

    def _link(self) -> None:
        target = self._own[self._some()][0]
        self.use("mimir_link", from_category=HUB, from_key=HUB, to_id=target, relationship=f"r{self.number}")
        self._linked[target] = 1
        self.deeds.append(Deed("link", f"{self.hub} {target}", 1))

    def _unlink(self) -> None:
        if self._linked:
            target = self._chance.choice(sorted(self._linked))
            del self._linked[target]
            self.use("mimir_unlink", from_category=HUB, from_key=HUB, to_id=target, relationship=f"r{self.number}")
            self.deeds.append(Deed("link", f"{self.hub} {target}", 0))

    def _journal(self) -> None:
        told = self.use("mimir_journal", event_type="action", acted={"client": self.number, "n": self._next})
        self.deeds.append(Deed("event", told["id"]))

    def _state(self) -> None:
        self.use("mimir_state_set", key=f"s{self.number}", value_json=str(self._next))
        self.use("mimir_state_set", key=f"brief{self.number}/{self._next}", value_json="1", ttl_seconds=0.05)
        self.deeds.append(Deed("state", f"s{self.number}", self._next))
        found = self.use("mimir_state_get", key=f"s{self.number}")
        if found.get("value") != str(self._next):
            self.wrong.append(f"s{self.number} is {found}, not {self._next}")

    def _supersede(self) -> None:
        old, new = self._chance.sample(sorted(self._own), 2)
        entity_id, number, _ = self._own.pop(old)
        new_id, new_number, changes = self._own.pop(new)
        self.use(
            "mimir_supersede",
            from_category=self.category,
            from_key=old,
            to_category=self.category,
            to_key=new,
        )
        self.deeds.append(Deed("memory", entity_id, number))
        self.deeds.append(Deed("link", f"{new_id} {entity_id}", 1))
        self._own[new] = (new_id, new_number, changes)

    def _forget(self) -> None:
        candidates = [key for key in sorted(self._own) if self._own[key][0] not in self._linked]
        if len(candidates) > 4:
            key = self._chance.choice(candidates)
            entity_id, _, _ = self._own.pop(key)
            self.use("mimir_forget", category=self.category, key=key)
            self.deeds = [deed for deed in self.deeds if entity_id not in deed.name]
            self.deeds.append(Deed("memory", entity_id, FORGOTTEN))

    def _context(self) -> None:
        self.use("mimir_context", query="green kettle")

    def _timeline(self) -> None:
        self.use("mimir_timeline", limit=5)

    def _list(self) -> None:
        self.use("mimir_state_list")


_READS: Final = frozenset({"counted", "journal", "state", "shared", "context", "timeline", "list"})
"""Steps for which a client needs no memories of its own."""


def crowd(
    folder: Path, seconds: float, *, servers: int = SERVERS, embedding: str = "off", sealed: bool = False
) -> CrowdOutcome:
    """Let servers on one file work for some seconds beside maintenance, and check every account afterwards."""
    path, key = folder / "crowd.db", ""
    flags = ["--db", str(path)]
    kind = f"{', sealed' if sealed else ''}{'' if embedding == 'off' else ', with vectors'}"
    outcome = CrowdOutcome(suite=f"{servers} servers on one file{kind}")
    if sealed:
        key = str(folder / "key")
        write_key_file(key)
        flags += ["--encryption-key", key]
    with Memory.open(str(path), embedding="off", encryption_key=key) as memory:
        hub = memory.remember(HUB, HUB, {"content": "hub"}, always_on=True).id
        tally = memory.remember("counted", "tally", {"content": "tally"}, always_on=True).id
        shared = memory.remember("shared", "version", {"content": "first"}, always_on=True).id
    reports = [folder / f"waits-{number}.json" for number in range(servers + 1)]
    clients = [
        Client(
            (
                *(sys.executable, "-m", "tests.faults.watched", str(report)),
                *(*flags, "--embedding", embedding if number < servers else "off"),
            )
        )
        for number, report in enumerate(reports)
    ]
    keeper = clients.pop()
    if embedding != "off":
        # Each loads its model before anything is measured.
        warming = call(0, "mimir_recall", query=HUB, category=HUB, mode="dense")
        for client in clients:
            client.send(warming)
        for client in clients:
            client.receive()
    members = [Member(number, client, hub) for number, client in enumerate(clients)]
    until = time.monotonic() + seconds
    threads = [threading.Thread(target=member.work, args=(until,)) for member in members]
    threads.append(threading.Thread(target=_keep_up, args=(keeper, until, outcome, folder / "vault")))
    for thread in threads:
        thread.start()
    _watch(path, [client.process.pid for client in clients], seconds, outcome)
    for thread in threads:
        thread.join()
    for client in (*clients, keeper):
        client.close()
    outcome.trials = outcome.met = servers
    for member in members:
        outcome.calls += member.calls
        outcome.lost += member.wrong
    _read_waits(outcome, reports)
    if outcome.log_mb > MOST_LOG_MB:
        outcome.lost.append(f"the log grew to {outcome.log_mb:.0f} MB")
    if outcome.grown_mb > MOST_GROWN_MB and seconds >= SETTLED_S:
        outcome.lost.append(f"the memory of a server grew by {outcome.grown_mb:.0f} MB")
    with Memory.open(str(path), embedder=WordEmbedder(), encryption_key=key) as memory:
        for member in members:
            outcome.acknowledged += len(member.deeds)
            outcome.lost += losses(memory, member.deeds)
        outcome.lost += unsound(memory)
        _expect(outcome, "versions of the shared memory", _versions(memory, shared), sum(m.shared for m in members))
        _expect(outcome, "uses of the counted memory", _uses(memory, tally), sum(m.counted for m in members))
        acknowledged = {deed.name for member in members for deed in member.deeds if deed.kind == "event"}
        _expect(outcome, "rows of the journal", memory.stats().total_journal_events, len(acknowledged))
        linked = {link.target_id for link in memory.get_entity(hub).links}
        left = {target for member in members for target in member._linked}  # noqa: SLF001 - its account
        _expect(outcome, "links of the hub", len(linked), len(left))
    outcome.acknowledged += sum(member.shared + member.counted for member in members)
    return outcome


def _use(client: Client, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    result = client.ask(call(0, tool, **arguments))["result"]
    content: dict[str, Any] = result["structuredContent"]
    if result.get("isError"):
        raise AssertionError(f"{tool} {arguments} failed: {content}")
    return content


def _keep_up(client: Client, until: float, outcome: CrowdOutcome, vault: Path) -> None:
    tools = (*_MAINTENANCE, ("mimir_vault_export", {"vault_dir": str(vault), "plaintext": True}))
    try:
        while not outcome.upkeeps or time.monotonic() < until:
            for tool, arguments in tools:
                done = _use(client, tool, arguments)
                outcome.upkeeps += 1
                if done.get("errors"):
                    outcome.lost.append(f"{tool}: {done['errors']}")
    except Exception as error:  # noqa: BLE001 - a thread's failure is the outcome
        outcome.lost.append(f"maintenance: {error!r}")


def _watch(path: Path, processes: list[int], seconds: float, outcome: CrowdOutcome) -> None:
    """Look at the sizes of the log and of the processes while the crowd works."""
    log = Path(f"{path}-wal")
    begun = time.monotonic()
    half = None
    while (passed := time.monotonic() - begun) < seconds:
        if log.exists():
            outcome.log_mb = max(outcome.log_mb, log.stat().st_size / 1e6)
        outcome.file_mb = max(outcome.file_mb, path.stat().st_size / 1e6)
        if half is None and passed > seconds / 2:
            half = [resident_mb(process) or 0.0 for process in processes]
        time.sleep(0.02)
    now = [resident_mb(process) or 0.0 for process in processes]
    outcome.grown_mb = max((later - sooner for later, sooner in zip(now, half or now, strict=True)), default=0.0)


def _read_waits(outcome: CrowdOutcome, reports: list[Path]) -> None:
    for report in reports:
        for tool, effect, waited_ms in json.loads(report.read_text(encoding="utf-8")):
            if effect == "read":
                outcome.read_wait_ms = max(outcome.read_wait_ms, waited_ms)
                if waited_ms > LONGEST_READ_WAIT_MS:
                    outcome.lost.append(f"{tool} waited {waited_ms:.0f} ms for a lock")
            else:
                outcome.write_wait_ms = max(outcome.write_wait_ms, waited_ms)


def _versions(memory: Memory, entity_id: str) -> int:
    stored = memory.store.get(entity_id)
    return 0 if stored is None else memory.store.count_versions(stored.number)


def _uses(memory: Memory, entity_id: str) -> int:
    return memory.get_entity(entity_id).retrieval_count


def _expect(outcome: CrowdOutcome, what: str, found: int, expected: int) -> None:
    if found != expected:
        outcome.lost.append(f"{what}: {found}, not {expected}")
