"""A store as a few months of work on a small project leave it: every kind of thing that the pages show."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Final, NamedTuple

from mimir import Memory
from mimir.embedding import load_embedder
from mimir.model import Filter
from scripts.examples import DAY_MS, StoryClock

DAYS: Final = 75
NOTES: Final = 90


class Told(NamedTuple):
    """A memory of the sample: how many days ago it was told, and what."""

    days: int
    category: str
    key: str
    text: str
    tags: tuple[str, ...]
    layer: str = "semantic"


TOLD: Final = (
    Told(74, "decision", "database", "We chose PostgreSQL, because everybody knows it.", ("storage",)),
    Told(
        72,
        "decision",
        "cache",
        "The cache is Redis, one node per region. Keys expire after *fifteen minutes*.",
        ("storage",),
    ),
    Told(70, "fact", "port", "The database port is 5432.", ("network",), "world"),
    Told(69, "fact", "port-staging", "The database port is 5433.", ("network",), "world"),
    Told(
        66,
        "fact",
        "regions",
        "| Region | Nodes | Owner |\n|---|---|---|\n| eu | 3 | Ada |\n| us | 5 | Grace |",
        ("network",),
    ),
    Told(63, "person", "ada", "Ada owns billing and the eu region. Ask her before a release.", ("team",), "world"),
    Told(62, "person", "grace", "Grace runs the us region and reviews every migration.", ("team",), "world"),
    Told(
        58,
        "preference",
        "editor",
        "Prefers dark themes, short pull requests and tests that read like sentences.",
        ("team",),
    ),
    Told(
        55,
        "runbook",
        "rotate-keys",
        "1. Make a new key with `mimir keygen`.\n2. Rewrite the store: `mimir rekey`.\n3. Destroy the old key.\n\n"
        "> Never skip the third step.",
        ("security", "release"),
    ),
    Told(
        51,
        "runbook",
        "release-billing",
        "## Before\n\nPause the queue and wait until `jobs_running` is 0.\n\n"
        "## After\n\nResume the queue, then watch the **error rate** for ten minutes.\n\n"
        "```sh\nbilling queue resume --region eu\n```",
        ("release",),
        "world",
    ),
    Told(
        47,
        "lesson",
        "table-lock",
        "Renaming a column inside a migration locked the table for minutes. Use a view instead.",
        ("storage", "release"),
    ),
    Told(
        40,
        "lesson",
        "flaky-clock",
        "The test failed on the last day of a month: it added a month to the 31st.",
        ("testing",),
    ),
    Told(
        33,
        "decision",
        "retry-policy",
        "Retry three times with a pause that doubles, and give up after ten seconds.",
        ("network",),
    ),
    Told(
        28,
        "decision",
        "queue",
        "Jobs go through one table with `SKIP LOCKED`; a broker would be one more thing to run.",
        ("storage",),
    ),
    Told(21, "fact", "rate-limit", "The payment provider allows 50 requests a second for each account.", ("network",)),
    Told(
        14,
        "lesson",
        "slow-import",
        "The import was slow because every row was its own transaction. One per thousand rows is fast.",
        ("storage",),
    ),
    Told(
        9,
        "decision",
        "database",
        "We chose SQLite for its single file; a backup is a copy.\n\n"
        "It replaced PostgreSQL when the second server went away.",
        ("storage",),
    ),
    Told(6, "decision", "cache", "There is no cache any more: SQLite answers within a millisecond.", ("storage",)),
)

LINKS: Final = (
    ("decision", "cache", "decision", "database", "depends_on"),
    ("decision", "queue", "decision", "database", "depends_on"),
    ("lesson", "table-lock", "decision", "database", "explains"),
    ("lesson", "slow-import", "decision", "database", "explains"),
    ("runbook", "release-billing", "decision", "queue", "uses"),
    ("runbook", "release-billing", "person", "ada", "asks"),
    ("runbook", "rotate-keys", "person", "grace", "asks"),
    ("fact", "regions", "person", "ada", "names"),
    ("fact", "regions", "person", "grace", "names"),
    ("fact", "port", "decision", "database", "about"),
)  # fmt: skip

TOUCHED: Final = (
    ("lesson", "table-lock"),
    ("runbook", "release-billing"),
    ("fact", "regions"),
    ("preference", "editor"),
)

WORK: Final = ("reviewed", "measured", "rewrote", "tested", "removed", "documented")
THINGS: Final = (
    "the import",
    "the retry loop",
    "the release script",
    "the schema",
    "the report page",
    "the key rotation",
)
FINDINGS: Final = (
    "It is twice as fast now.",
    "Nothing else depended on it.",
    "One case is left: an empty file.",
    "The old way stays for a release.",
    "Grace wants to see it before Friday.",
)


def write_sample(path: Path) -> None:
    """Write the sample store; its past is counted back from now."""
    choose = random.Random(7)
    now = int(time.time() * 1000)
    clock = StoryClock(now - DAYS * DAY_MS)
    with Memory.open(str(path), clock=clock, embedder=load_embedder()) as memory:
        _tell(memory, clock, now, choose)
        for source, key, target, other, relationship in LINKS:
            memory.link(source, key, _id_of(memory, target, other), relationship)
        _link_notes(memory, choose)
        _note_down(memory, clock, now)
        clock.time_ms = now - DAY_MS // 2
        memory.decay()
        clock.time_ms = now - 60_000
        memory.embed_pending()


def _tell(memory: Memory, clock: StoryClock, now: int, choose: random.Random) -> None:
    notes = [
        Told(
            round((DAYS - 1) * (1 - (number / NOTES) ** 0.7)),
            "session",
            f"{choose.choice(WORK)}-{number:03d}",
            f"{choose.choice(WORK).capitalize()} {choose.choice(THINGS)}. {choose.choice(FINDINGS)}",
            (choose.choice(("storage", "testing", "release")),),
            "semantic" if number % 3 else "episodic",
        )
        for number in range(NOTES)
    ]
    for told in sorted((*TOLD, *notes), key=lambda one: -one.days):
        clock.time_ms = max(clock.time_ms + 1000, now - told.days * DAY_MS + choose.randrange(DAY_MS // 3))
        memory.remember(
            told.category,
            told.key,
            {"content": told.text},
            tags=list(told.tags),
            layer=told.layer,
            certainty=round(choose.uniform(0.4, 0.95), 2),
            always_on=told.key == "release-billing",
            workspace_hash="billing" if told.category == "session" and told.days % 3 == 0 else "",
        )


def _link_notes(memory: Memory, choose: random.Random) -> None:
    """Let notes of work follow from others, and touch what is known."""
    notes = [stored.entity for batch in memory.store.scan(Filter(category="session")) for stored in batch]
    known = [_id_of(memory, category, key) for category, key in TOUCHED]
    for number, note in enumerate(notes):
        if number and choose.random() < 0.6:
            earlier = notes[choose.randrange(max(0, number - 12), number)].id
            memory.link("session", note.key, earlier, "follows", workspace_hash=note.workspace_hash)
        if choose.random() < 0.2:
            memory.link("session", note.key, choose.choice(known), "touches", workspace_hash=note.workspace_hash)


def _note_down(memory: Memory, clock: StoryClock, now: int) -> None:
    clock.time_ms = now - 8 * DAY_MS
    memory.journal(
        "decision",
        evaluated={"options": ["PostgreSQL", "SQLite"]},
        acted={"chosen": "SQLite"},
        forward={"next": "move the queue"},
        category="decision",
        key="database",
    )
    clock.time_ms = now - 5 * DAY_MS
    memory.journal(
        "action", acted={"ran": "billing queue resume --region eu"}, category="runbook", key="release-billing"
    )
    memory.score("decision", "database", 0.9)
    memory.forget("fact", "rate-limit", "the provider has changed")
    clock.time_ms = now - 3 * DAY_MS
    memory.journal("observation", evaluated={"error rate": 0.002}, category="runbook", key="release-billing")
    memory.state_set("session/goal", '{"task": "move the queue", "left": ["drain", "switch", "watch"]}')
    memory.state_set("connector/github", '{"cursor": "2026-11-01T00:00:00Z"}', ttl_seconds=30 * 86_400)


def _id_of(memory: Memory, category: str, key: str) -> str:
    (stored,) = memory.store.find(category, key, "")
    return stored.entity.id
