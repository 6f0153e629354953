"""The whole journey of a store: out as notes, into an empty store, out again; nothing on the way may change."""

from __future__ import annotations

import itertools
import json
import random
import unicodedata
from pathlib import Path

import pytest

from mimir import Memory
from mimir.model import Filter
from tests.conftest import OpenMemory
from tests.doubles import FixedClock

MEMORIES = 5_000

PIECES = (
    "plain words",
    "\u65e5\u672c\u8a9e\u306e\u30c6\u30ad\u30b9\u30c8",
    "\u0440\u0443\u0441\u0441\u043a\u0438\u0439",
    "\u0639\u0631\u0628\u064a \u202eright to left",
    "\u05e2\u05d1\u05e8\u05d9\u05ea",
    "\u0939\u093f\u0928\u094d\u0926\u0940",
    "\ud55c\uad6d\uc5b4",
    "\u0395\u03bb\u03bb\u03b7\u03bd\u03b9\u03ba\u03ac",
    "\U0001f469\u200d\U0001f680 \U0001f3f4",
    "e\u0301 \u00e9 \ufb01 \u1e9e \u0130",
    "\"quotes\" 'and' `ticks`",
    "back\\slash \\n \\u0041",
    "---",
    "---\nkey: not a field\n---",
    "## Links\n\n- [[mem-000000000001|x]] (not a link)",
    "# Title\n\n> quote\n\n1. one\n\t- two",
    '```json\n{"a": 1}\n```',
    "```\n~~~\n``",
    "| a | b |\n|---|---|",
    "[[wiki]] ![[embed.png]] [text](file.md) #tag",
    "key: value # comment",
    "- [a, b]: {c: d} & *e !f %g @h",
    "yes",
    "null",
    "1e3",
    "0x1F",
    "2026-01-31",
    "~",
    "=",
    "<<",
    "id:: block\ntags:: a, [[b]]",
    "\u2028line\u2029paragraph\u0085next\ufeffmark",
    "tab\tand\rreturn\r\nand feed",
    " leading and trailing ",
    "\n\nblank lines\n\n",
    '{"looks": "like JSON"}',
    "<script>alert(1)</script> <!-- comment -->",
    "$x^2$ \\(y\\) %%hidden%%",
    "\x00\x01\x1f\x7f",
    'a/b\\c:d*e?f"g<h>i|j',
    "CON",
    "nul.txt",
    "..",
    "../../up",
    "x" * 900,
)


def odd(chance: random.Random) -> str:
    return chance.choice(("", " ", "\n", "\n\n")).join(chance.sample(PIECES, chance.randint(1, 3)))


def short(chance: random.Random) -> str:
    return odd(chance)[:200].replace("\x00", "0").strip() or "x"


def body(chance: random.Random) -> str:
    text = odd(chance)
    value = chance.choice(
        (
            {"content": text},
            {"content": text},
            {"text": text},
            {"content": text, "port": 5432, "deep": [{"a": None, "b": 1.5}]},
            {"content": text, "properties": {"rating": 5, "due": "2026-05-01", "aliases": [short(chance)]}},
            [text, 1],
            text,
            {"key": text, "tags": [text]},
        )
    )
    spaced = chance.random() < 0.5
    return json.dumps(
        value,
        ensure_ascii=chance.random() < 0.3,
        separators=(", ", ": ") if spaced else (",", ":"),
        indent=2 if chance.random() < 0.05 else None,
    )


def memories(chance: random.Random, count: int) -> list[dict[str, object]]:
    """Return memories in which every field is set somewhere; keys differ, some only in their capitals."""
    found: list[dict[str, object]] = []
    for number in range(count):
        key = f"{short(chance)} {number // 2}"
        found.append(
            {
                "category": chance.choice(("decision", "Decision", "fact: odd", "a/b", "\u65e5\u8a18", "---")),
                "key": key.upper() if number % 2 else key.lower() + "_",
                "body_json": body(chance),
                "workspace_hash": chance.choice(("", "", "w", "W: 1")),
                "tags": [short(chance) for _ in range(chance.randint(0, 3))],
                "type": chance.choice(("insight", "note", "no")),
                "importance": chance.randint(0, 10_000) / 10_000,
                "certainty": chance.random(),
                "status": chance.choice(("active", "active", "draft", "deprecated")),
                "layer": chance.choice(("buffer", "working", "core")),
                "topic_path": chance.choice(("", "a/b", "\u00fc: path")),
                "visibility": chance.choice(("workspace", "public")),
                "always_on": chance.random() < 0.1,
                "agent_id": chance.choice(("", "ann", "'bob'")),
                "valid_from_unix_ms": chance.choice((None, -5, 1_700_000_000_123)),
                "valid_to_unix_ms": chance.choice((None, 1 << 60)),
            }
        )
    return found


def fill(memory: Memory, clock: FixedClock, count: int) -> None:
    """Store odd memories with links, versions, archived ones among their targets, and explicit scores."""
    # The same memories in every run.
    chance = random.Random(7)
    told = memories(chance, count)
    for start in range(0, count, 500):
        clock.advance(1_234)
        memory.remember_many(told[start : start + 500])
    ids = [stored.entity.id for batch in memory.store.scan(Filter(include_archived=True)) for stored in batch]
    sources = memory.store.load(range(1, len(ids) + 1))
    with memory.writing() as now:
        for number in chance.sample(sorted(sources), count // 4):
            for target in {*chance.sample(ids, 3)} - {sources[number].entity.id}:
                memory.store.add_link(number, target, short(chance), chance.choice((0.5, 0.25, 1.0)), now)
    for stored in (sources[number] for number in chance.sample(sorted(sources), count // 50)):
        entity = stored.entity
        clock.advance()
        memory.remember(entity.category, entity.key, {"content": odd(chance)}, workspace_hash=entity.workspace_hash)
    for stored in (sources[number] for number in chance.sample(sorted(sources), count // 50)):
        entity = stored.entity
        memory.forget(entity.category, entity.key, workspace_hash=entity.workspace_hash)
        memory.score(entity.category, entity.key, 0.5, workspace_hash=entity.workspace_hash)


def contents(vault: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in vault.iterdir()}


@pytest.mark.parametrize(
    ("count", "layout"),
    [(200, "obsidian"), (200, "logseq"), pytest.param(MEMORIES, "obsidian", marks=pytest.mark.slow)],
)
def test_a_store_that_went_through_its_notes_is_the_same(
    open_memory: OpenMemory, tmp_path: Path, clock: FixedClock, count: int, layout: str
) -> None:
    first = open_memory(embedding="off", secrets="off")
    fill(first, clock, count)
    out, again = tmp_path / "out", tmp_path / "again"
    exported = first.vault_export(str(out), format=layout)  # type: ignore[arg-type]  # both words are layouts
    assert (exported.errors, exported.files_created) == ((), count - count // 50)
    second = open_memory(str(tmp_path / "second.db"), embedding="off", secrets="off")
    clock.advance(1_000_000)
    imported = second.vault_import(str(out))
    assert (imported.errors, imported.files_created, imported.links_unresolved) == ((), exported.files_created, 0)
    assert second.vault_export(str(again), format=layout).errors == ()  # type: ignore[arg-type]  # the same
    assert contents(again) == contents(out)
    assert second.store.digest(str) == first.store.digest(str)
    assert second.vault_import(str(again)).files_updated == 0
    assert first.vault_import(str(again)).files_updated == 0


def test_the_odd_pieces_hold_every_kind_of_character() -> None:
    kinds = {unicodedata.category(letter) for letter in itertools.chain.from_iterable(PIECES)}
    assert {"Lo", "Ll", "Lu", "Mn", "Mc", "Cf", "Cc", "Zl", "Zp", "So", "Sm", "Nd"} <= kinds
