"""Erasure that holds: after a purge no byte of what was archived is left, and all the rest is as it was."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mimir import Busy, Memory
from tests.conftest import OpenMemory
from tests.doubles import FixedClock, WordEmbedder

LETTERS = "bcdfghjklmnpqrtvwxz"


def strange_words(count: int, seed: int = 1) -> list[str]:
    """Return words that stand in no other text, and are their own stems."""
    chance = random.Random(seed)
    return ["".join(chance.choices(LETTERS, k=14)) for _ in range(count)]


def left_in_files(path: str, words: Iterable[str]) -> list[str]:
    """Return the words of which any file of the store holds a piece.

    An index keeps what a word shares with the one before it only once, so that the ends of words are looked for.
    """
    folder, name = os.path.split(path)
    content = b"".join(file.read_bytes().lower() for file in Path(folder).iterdir() if file.name.startswith(name))
    return [word for word in words if word[4:].encode() in content or word[:10].encode() in content]


def tables(memory: Memory) -> dict[str, int]:
    with memory.store.reading() as connection:
        names = [
            row[0]
            for row in connection.execute(
                "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND sql NOT LIKE"
                " '%VIRTUAL%' AND name NOT LIKE '%_text_%'"
            )
        ]
        return {name: connection.execute(f"SELECT count(*) FROM {name}").get for name in names}  # noqa: S608 - ours


def archive_with_everything(memory: Memory, words: list[str], key: str = "secret") -> str:
    """Store a memory whose words stand in every place that a memory's words can come to, and archive it."""
    body, former, tag, topic, journalled, named, reason = words
    entity_id = memory.remember("c", key, {"content": f"It was {former}ing then"}, tags=[f"{tag}s"]).id
    memory.remember("c", key, {"content": f"Running {body}ed", "long": " ".join([body] * 900)}, topic_path=topic)
    memory.embed_pending()
    memory.journal("decision", evaluated={"why": journalled}, entity_id=entity_id)
    memory.journal("decision", acted=[named], forward=named, category="c", key=key)
    with memory.store.writing() as connection:
        number = connection.execute("SELECT number FROM entities WHERE id = ?", (entity_id,)).get
        connection.execute("INSERT INTO links VALUES (?, 'mem-other', 'knows', 1.0, 1)", (number,))
        connection.execute("INSERT INTO links VALUES (999, ?, 'knows', 1.0, 1)", (entity_id,))
    memory.forget("c", key, reason)
    return entity_id


def test_no_byte_of_an_archived_memory_is_left(memory: Memory, clock: FixedClock, db: str) -> None:
    words = strange_words(7)
    others = strange_words(30, seed=2)
    for number, word in enumerate(others):
        memory.remember("c", f"k{number}", {"content": f"stays {word}"})
    memory.embed_pending()
    archive_with_everything(memory, words)
    assert left_in_files(db, words) == words
    clock.advance()
    purged = memory.purge()
    assert (purged.entities_deleted, purged.versions_deleted, purged.journal_payloads_erased) == (1, 1, 2)
    assert (purged.unreachable, purged.dry_run, purged.completed_at_unix_ms) == ((), False, clock.now_ms())
    assert left_in_files(db, words) == []
    assert left_in_files(db, others) == others
    memory.close()
    assert left_in_files(db, words) == []


def test_key_and_category_are_gone_from_every_file_too(memory: Memory, db: str) -> None:
    category, key, kept = strange_words(3)
    memory.remember(category, key, {"content": "x"}, workspace_hash=f"w-{category}")
    memory.remember("c", kept, {"content": "x"})
    memory.forget(category, key)
    memory.purge()
    assert left_in_files(db, [category, key, kept]) == [kept]


def test_every_table_is_as_if_the_memory_had_never_been(memory: Memory) -> None:
    memory.remember("c", "k", {"content": "stays"})
    memory.embed_pending()
    before = tables(memory)
    archive_with_everything(memory, strange_words(7))
    memory.purge()
    # Of changes only that there were some, of memories by their numbers.
    assert tables(memory) == {**before, "journal": 2, "changes": 3}
    assert memory.store.check_integrity() == "ok"


def test_what_was_not_archived_is_recalled_as_before(memory: Memory, clock: FixedClock) -> None:
    for number in range(200):
        memory.remember("c", f"k{number}", {"content": f"green tea number {number}"})
    for number in range(0, 200, 3):
        memory.remember("c", f"k{number}", {"content": f"black tea number {number}"})
        memory.forget("c", f"k{number}")
    memory.embed_pending()

    def answers() -> list[list[tuple[str, float]]]:
        return [
            [(hit.key, round(hit.score, 6)) for hit in memory.recall(query, mode="dense", reinforce=False).items]
            for query in ("green tea", "number 151", "tea")
        ] + [
            [(hit.key, 0.0) for hit in memory.recall(query, mode="fts5", reinforce=False, limit=500).items]
            for query in ("151", "tea")
        ]

    clock.advance()
    before = [sorted(answer) for answer in answers()]
    assert memory.purge().entities_deleted == 67
    assert [sorted(answer) for answer in answers()] == before
    assert memory.stats().total_entities == 133
    assert memory.reindex().reindexed == 133
    assert memory.verify().ok


def test_an_erased_memory_is_unknown_at_every_door(memory: Memory, clock: FixedClock) -> None:
    words = strange_words(7)
    archive_with_everything(memory, words)
    memory.purge()
    assert memory.recall(words[0], include_archived=True, mode="fts5").items == ()
    assert memory.recall(words[0], as_of_unix_ms=clock.now_ms()).items == ()
    assert memory.history("c", "secret").total == 0
    assert not memory.as_of("c", "secret", clock.now_ms()).found
    assert memory.remember("c", "secret", {"content": "anew"}).action == "created"
    assert memory.history("c", "secret").total == 0


def test_journal_rows_stay_and_their_chain_holds(memory: Memory) -> None:
    entity_id = archive_with_everything(memory, strange_words(7))
    memory.journal("about nothing", evaluated="kept")
    memory.purge()
    about, by_name, by_id = memory.timeline().items
    assert (by_id.entity_id, by_id.erased, by_id.evaluated_json) == (entity_id, True, "null")
    assert (by_name.key, by_name.erased, by_name.acted_json, by_name.forward_json) == ("secret", True, "null", "null")
    assert about.evaluated_json == '"kept"'
    check = memory.verify_journal()
    assert (check.rows, check.erased, check.broken) == (3, 2, None)


def test_events_about_the_same_name_elsewhere_keep_their_words(memory: Memory) -> None:
    memory.remember("c", "k", {"content": "x"}, workspace_hash="w")
    memory.forget("c", "k", workspace_hash="w")
    memory.journal(evaluated="gone", category="c", key="k", workspace_hash="w")
    memory.journal(evaluated="other workspace", category="c", key="k")
    memory.journal(evaluated="other category", category="d", key="k", workspace_hash="w")
    memory.journal(evaluated="other key", category="c", key="l", workspace_hash="w")
    assert memory.purge(dry_run=True).journal_payloads_erased == 1
    assert memory.purge().journal_payloads_erased == 1
    assert [item.evaluated_json for item in memory.timeline().items] == [
        '"other key"',
        '"other category"',
        '"other workspace"',
        "null",
    ]


def test_a_dry_run_counts_what_a_purge_then_erases_and_changes_nothing(memory: Memory, db: str) -> None:
    words = strange_words(7)
    archive_with_everything(memory, words)
    before = tables(memory)
    content = Path(db).read_bytes()
    dry = memory.purge(dry_run=True)
    assert (dry.dry_run, dry.bytes_freed, dry.unreachable) == (True, 0, ())
    assert tables(memory) == before
    assert Path(db).read_bytes() == content
    real = memory.purge()
    assert (dry.entities_deleted, dry.versions_deleted, dry.journal_payloads_erased) == (
        real.entities_deleted,
        real.versions_deleted,
        real.journal_payloads_erased,
    )


def test_without_archived_memories_nothing_happens(memory: Memory, db: str) -> None:
    memory.remember("c", "k", {"content": "stays"})
    memory.store.truncate_log(1.0)
    before = Path(db).read_bytes()
    purged = memory.purge()
    assert (purged.entities_deleted, purged.bytes_freed, purged.unreachable) == (0, 0, ())
    assert Path(db).read_bytes() == before


def test_the_file_shrinks_by_what_is_told(memory: Memory) -> None:
    for number in range(50):
        memory.remember("c", f"k{number}", {"content": " ".join(strange_words(300, seed=number))})
        memory.forget("c", f"k{number}")
    before = memory.store.file_size()
    purged = memory.purge()
    assert purged.bytes_freed == before - memory.store.file_size() > 100_000


def test_private_memories_of_other_agents_are_erased_as_well(open_memory: OpenMemory, db: str) -> None:
    word = strange_words(1)
    ada = open_memory(agent_id="ada")
    ada.remember("c", "k", {"content": word[0]}, visibility="private")
    ada.forget("c", "k")
    assert open_memory(agent_id="bob").purge().entities_deleted == 1
    assert left_in_files(db, word) == []


def test_more_memories_than_one_transaction_takes_are_erased(keyword_memory: Memory, db: str) -> None:
    memory = keyword_memory
    words = strange_words(350)
    memory.remember_many(
        {"category": f"c{number % 3}", "key": f"k{number}", "body_json": {"content": word}}
        for number, word in enumerate(words)
    )
    for number in range(320):
        memory.forget(f"c{number % 3}", f"k{number}")
    assert memory.purge().entities_deleted == 320
    assert left_in_files(db, words) == words[320:]
    assert memory.recall("", limit=100, reinforce=False).total == 30


@pytest.mark.parametrize("seed", range(4))
def test_no_byte_is_left_after_any_course_of_writes(keyword_memory: Memory, db: str, seed: int) -> None:
    memory, chance = keyword_memory, random.Random(seed)
    words = iter(strange_words(2_000, seed))
    said: dict[str, list[str]] = {}
    gone: list[str] = []
    for _ in range(250):
        key = f"k{chance.randrange(25)}"
        if chance.random() < 0.75:
            word = next(words)
            memory.remember("c", key, {"content": f"{word} {word}ing"}, tags=[f"tag{chance.randrange(3)}"])
            said.setdefault(key, []).append(word)
        elif chance.random() < 0.8:
            memory.forget("c", key)
        else:
            gone += [word for key in archived(memory) for word in said.pop(key)]
            memory.purge()
    gone += [word for key in archived(memory) for word in said.pop(key)]
    memory.purge()
    kept = [word for spoken in said.values() for word in spoken]
    assert gone
    assert kept
    assert left_in_files(db, gone) == []
    assert left_in_files(db, kept) == kept
    assert memory.verify().ok


def archived(memory: Memory) -> list[str]:
    return [stored.entity.key for stored in memory.store.load(memory.store.archived()).values()]


def test_a_memory_revived_meanwhile_is_not_erased(memory: Memory) -> None:
    for key in ("a", "b"):
        memory.remember("c", key, {"content": key})
        memory.forget("c", key)
    listed = memory.store.archived()
    memory.remember("c", "a", {"content": "back"})
    with memory.store.writing():
        assert memory.store.erase(listed).entities == 1
    assert memory.recall("back", mode="fts5").total == 1


def test_numbers_of_erased_memories_are_never_given_again(memory: Memory) -> None:
    """Another process may still hold them: its vector of an erased text must not become that of a new one."""
    memory.remember("c", "old", {"content": "old words"})
    leased = memory.store.lease_pending
    with memory.store.writing():
        passages = leased(10, memory.clock.now_ms(), memory.clock.now_ms() + 1)
    (stored,) = memory.store.find("c", "old", "")
    memory.forget("c", "old")
    memory.purge()
    memory.remember("c", "new", {"content": "new words"})
    vectors = WordEmbedder().embed(["old words"] * len(passages))
    with memory.store.writing():
        model = memory.store.model_number("words-64", 64)
        assert memory.store.add_vectors(model, passages, vectors) == 0
    (fresh,) = memory.store.find("c", "new", "")
    assert fresh.number > stored.number


# --- what cannot be reached


READER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN")
print(connection.execute("SELECT count(*) FROM entities").fetchone()[0], flush=True)
sys.stdin.readline()
print(connection.execute("SELECT count(*) FROM entities").fetchone()[0], flush=True)
"""


@contextmanager
def reader_in_another_process(path: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", READER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process


def test_a_reader_in_another_process_is_reported_and_the_next_purge_finishes(memory: Memory, db: str) -> None:
    words = strange_words(7)
    archive_with_everything(memory, words)
    with reader_in_another_process(db) as process:
        purged = memory.purge()
        assert purged.entities_deleted == 1
        assert len(purged.unreachable) == 1
        assert "reads an older state" in purged.unreachable[0]
        assert db in purged.unreachable[0]
        assert left_in_files(db, words) != []
        assert process.communicate("\n", timeout=60)[0] == "1\n"
    again = memory.purge()
    assert (again.entities_deleted, again.unreachable) == (0, ())
    assert left_in_files(db, words) == []
    assert memory.store.unswept() == 0


def test_a_file_that_cannot_be_rewritten_is_reported_and_the_next_purge_finishes(memory: Memory, db: str) -> None:
    words = strange_words(7)
    archive_with_everything(memory, words)
    # SQLite rewrites no file from under a query that is still being read.
    unfinished = memory.store.database.execute("SELECT name FROM sqlite_schema")  # type: ignore[attr-defined]  # SQLite's
    assert unfinished.fetchone()
    purged = memory.purge()
    assert purged.entities_deleted == 1
    assert "words of them may be left" in purged.unreachable[0]
    unfinished.fetchall()
    assert memory.purge().unreachable == ()
    assert left_in_files(db, words) == []


def test_a_purge_that_cannot_get_the_lock_is_busy_and_erases_nothing(open_memory: OpenMemory) -> None:
    memory, other = open_memory(busy_timeout_ms=50), open_memory()
    archive_with_everything(memory, strange_words(7))
    with other.store.writing(), pytest.raises(Busy):
        memory.purge()
    assert memory.purge(dry_run=True).entities_deleted == 1


def test_copies_beside_the_file_are_named(memory: Memory, db: str) -> None:
    memory.remember("c", "k", {"content": "x"})
    memory.forget("c", "k")
    Path(db + ".v1.bak").write_bytes(b"a copy")
    Path(db).with_name("another.db").write_bytes(b"another store")
    (sentence,) = memory.purge().unreachable
    assert f"{db}.v1.bak" in sentence
    assert "delete it" in sentence


def test_writers_and_readers_go_on_while_a_purge_runs(open_memory: OpenMemory, db: str) -> None:
    memory = open_memory(embedding="off")
    words = strange_words(400)
    memory.remember_many(
        {"category": "c", "key": f"k{number}", "body_json": {"content": word}} for number, word in enumerate(words)
    )
    with memory.writing():
        for number in range(400):
            memory.forget("c", f"k{number}")
    other = open_memory(embedding="off")
    failures: list[BaseException] = []
    ended = threading.Event()
    written = 0

    def write() -> None:
        nonlocal written
        try:
            while not ended.is_set() or written < 20:
                other.remember("d", f"n{written}", {"content": f"new {written}"})
                other.recall("new", mode="fts5", reinforce=False)
                written += 1
        except BaseException as error:  # noqa: BLE001 - whatever it is must fail the test
            failures.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    purged = memory.purge()
    ended.set()
    writer.join()
    assert failures == []
    assert purged.entities_deleted == 400
    if purged.unreachable:
        assert memory.purge().unreachable == ()
    assert left_in_files(db, words) == []
    assert memory.stats().total_entities == written
    assert memory.verify().ok


def test_two_purges_at_once_erase_everything_once(open_memory: OpenMemory, db: str) -> None:
    one, other = open_memory(embedding="off"), open_memory(embedding="off")
    words = strange_words(250)
    one.remember_many(
        {"category": "c", "key": f"k{number}", "body_json": {"content": word}} for number, word in enumerate(words)
    )
    with one.writing():
        for number in range(250):
            one.forget("c", f"k{number}")
    results = []
    threads = [threading.Thread(target=lambda memory=memory: results.append(memory.purge())) for memory in (one, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(result.entities_deleted for result in results) == 250
    assert one.purge().unreachable == ()
    assert left_in_files(db, words) == []
