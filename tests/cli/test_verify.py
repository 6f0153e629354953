"""`mimir verify`, as a process of its own: it names the first broken link and fails."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from mimir import Memory
from mimir.crypto import write_key_file
from tests.cli.conftest import RunMimir

GUARDS = ("journal_replaces_nothing", "journal_grows_at_its_end", "journal_is_append_only", "journal_keeps_its_rows")


@pytest.fixture
def journalled(db: str) -> str:
    """Return the path of a store with five events, closed."""
    with Memory.open(db, embedding="off") as memory:
        for number in range(1, 6):
            memory.journal("decision", evaluated={"option": f"chosen-{number}"}, category="c", key=f"k{number}")
        memory.remember("c", "k1", {"content": "text"})
        memory.remember("c", "k1", {"content": "another text"})
    return db


def change(path: str, statement: str) -> None:
    """Change a store with another SQLite tool, which has to take the guards away first."""
    with closing(sqlite3.connect(path)) as connection:
        kept = connection.execute(
            "SELECT sql FROM sqlite_master WHERE type = 'trigger' AND name LIKE 'journal%'"
        ).fetchall()
        for guard in GUARDS:
            connection.execute(f"DROP TRIGGER {guard}")
        connection.execute(statement)
        for (sql,) in kept:
            connection.execute(sql)
        connection.commit()


def failed(answer: dict[str, Any]) -> list[str]:
    return [check["name"] for check in answer["checks"] if not check["ok"]]


def test_a_store_that_nobody_touched_is_sound(process: RunMimir, journalled: str) -> None:
    ran = process("verify", "--db", journalled)
    assert (ran.status, ran.err) == (0, "")
    assert [line.split()[0] for line in ran.out.splitlines()] == ["ok"] * 5
    assert "5 rows, 0 of them erased; last hash " in ran.out


def test_the_last_hash_is_printed_in_full_and_stands_for_the_journal(process: RunMimir, journalled: str) -> None:
    first, again = (json.loads(process("verify", "--json", "--db", journalled).out) for _ in range(2))
    assert first == again
    assert first["ok"] is True
    assert (first["journal"]["rows"], first["journal"]["last_sequence"]) == (5, 5)
    assert len(first["journal"]["last_hash"]) == 64


@pytest.mark.parametrize(
    ("statement", "sequence", "reason"),
    [
        ("UPDATE journal SET event_type = 'decisioN' WHERE sequence = 2", 2, "hash"),
        ("UPDATE journal SET created_at_unix_ms = created_at_unix_ms + 1 WHERE sequence = 4", 4, "hash"),
        ("UPDATE journal SET payload = replace(payload, 'chosen-3', 'chosen-9') WHERE sequence = 3", 3, "commitment"),
        ("DELETE FROM journal WHERE sequence = 3", 4, "gap in sequence"),
        ("DELETE FROM journal WHERE sequence = 5", 5, "missing tail"),
    ],
    ids=["text", "time", "payload", "middle row", "last row"],
)
def test_one_change_of_the_journal_fails_and_is_named(
    process: RunMimir, journalled: str, statement: str, sequence: int, reason: str
) -> None:
    change(journalled, statement)
    ran = process("verify", "--db", journalled)
    assert ran.status == 1
    (line,) = [line for line in ran.out.splitlines() if line.startswith("FAIL")]
    assert f"first broken link: sequence {sequence}, id " in line
    assert f": {reason}" in line
    ran = process("verify", "--json", "--db", journalled)
    answer = json.loads(ran.out)
    assert (ran.status, answer["ok"], failed(answer)) == (1, False, ["journal"])
    assert answer["journal"]["broken"]["sequence"] == sequence
    if reason != "missing tail":
        assert answer["journal"]["broken"]["id"].startswith("jrn-")


def test_every_single_byte_of_a_row_in_the_file_counts(mimir: RunMimir, journalled: str) -> None:
    """Change each byte of the third row where it stands in the file."""
    with closing(sqlite3.connect(journalled)) as connection:
        row = connection.execute("SELECT * FROM journal WHERE sequence = 3").fetchone()
    texts = "".join(value for value in row if isinstance(value, str)).encode()
    file = Path(journalled)
    sound = file.read_bytes()
    start = sound.index(texts)
    time = row[-1].to_bytes(6, "big")
    end = start + len(texts) + len(time)
    assert sound[end - len(time) : end] == time
    for place in range(start, end):
        for flipped in (0x01, 0x80):
            file.write_bytes(sound[:place] + bytes([sound[place] ^ flipped]) + sound[place + 1 :])
            ran = mimir("verify", "--json", "--db", journalled)
            answer = json.loads(ran.out)
            assert (ran.status, answer["ok"]) == (1, False), place - start
            assert answer["journal"]["broken"]["sequence"] == 3
    file.write_bytes(sound)
    assert mimir("verify", "--db", journalled).status == 0


@pytest.mark.parametrize(
    ("one", "index"),
    [
        ("SELECT id FROM journal LIMIT 1", "sqlite_autoindex_journal_1"),
        ("SELECT key FROM entities LIMIT 1", "entities_identity"),
    ],
)
def test_an_index_that_does_not_fit_its_table_is_found(
    process: RunMimir, journalled: str, one: str, index: str
) -> None:
    """Only the whole check of SQLite sees that; what is looked up by such an index is not found, or is another's."""
    file = Path(journalled)
    content = file.read_bytes()
    with closing(sqlite3.connect(journalled)) as connection:
        (value,) = connection.execute(one).fetchone()
        (page,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (index,)).fetchone()
    place = content.index(value.encode(), (page - 1) * 4096, page * 4096)
    file.write_bytes(content[:place] + b"J" + content[place + 1 :])
    with closing(sqlite3.connect(journalled)) as connection:
        assert connection.execute("PRAGMA quick_check").fetchall() == [("ok",)]
    ran = process("verify", "--json", "--db", journalled)
    answer = json.loads(ran.out)
    assert (ran.status, failed(answer)) == (1, ["file"])


def test_a_page_of_garbage_ends_in_a_report_and_a_failure(process: RunMimir, journalled: str) -> None:
    file = Path(journalled)
    content = file.read_bytes()
    page = content.index(b"chosen-3") // 4096 * 4096
    file.write_bytes(content[:page] + b"\xa5" * 4096 + content[page + 4096 :])
    ran = process("verify", "--json", "--db", journalled)
    answer = json.loads(ran.out)
    assert ran.status == 1
    assert {"journal", "file"} <= set(failed(answer))
    assert "Traceback" not in ran.err


def test_erased_payloads_are_counted_and_hold(process: RunMimir, journalled: str) -> None:
    process("forget", "c", "k1", "--db", journalled)
    assert process("purge", "--db", journalled).status == 0
    ran = process("verify", "--db", journalled)
    assert ran.status == 0
    assert "5 rows, 1 of them erased" in ran.out


def test_missing_guards_fail(process: RunMimir, journalled: str) -> None:
    with closing(sqlite3.connect(journalled)) as connection:
        connection.execute("DROP TRIGGER journal_is_append_only")
        connection.commit()
    ran = process("verify", "--db", journalled)
    assert ran.status == 1
    assert "journal_is_append_only" in ran.out


def test_verify_makes_no_store(process: RunMimir, tmp_path: Path) -> None:
    path = tmp_path / "none.db"
    ran = process("verify", "--db", str(path))
    assert ran.status == 3
    assert "There is no store" in ran.err
    assert not path.exists()


@pytest.mark.parametrize(
    "words", [("verify",), ("backup", "copy.db"), ("seal",), ("unseal",), ("rekey", "key")], ids=str
)
def test_a_file_that_became_empty_is_no_store(process: RunMimir, tmp_path: Path, words: tuple[str, ...]) -> None:
    """What was cut off to nothing must not pass as a store without memories."""
    path = tmp_path / "memory.db"
    path.touch()
    write_key_file(str(tmp_path / "key"))
    flags = ("--encryption-key", str(tmp_path / "key")) if words[0] not in {"verify", "backup"} else ()
    ran = process(*words, "--db", str(path), *flags)
    assert ran.status == 3
    assert "the file is empty" in ran.err
    assert path.read_bytes() == b""


def test_who_asks_for_json_gets_failures_as_json_too(process: RunMimir, tmp_path: Path, journalled: str) -> None:
    Path(journalled).write_bytes(Path(journalled).read_bytes()[:5_000])
    for path, status, code in ((journalled, 7, "storage"), (str(tmp_path / "none.db"), 3, "not_found")):
        ran = process("verify", "--json", "--db", path)
        answer = json.loads(ran.out)
        assert (ran.status, answer["code"]) == (status, code)
        assert path in answer["error"]
        assert answer["error"] in ran.err
        assert answer["hint"]


def test_verify_changes_nothing(process: RunMimir, journalled: str) -> None:
    before = Path(journalled).read_bytes()
    process("verify", "--db", journalled)
    assert Path(journalled).read_bytes() == before


JOURNAL_WORDS: list[tuple[list[str], Callable[[dict[str, Any]], object], object]] = [
    (["--evaluated", '{"a": [1]}'], lambda item: json.loads(item["evaluated_json"]), {"a": [1]}),
    (["--acted", "plain words"], lambda item: json.loads(item["acted_json"]), {"content": "plain words"}),
    (["--forward", "null"], lambda item: item["forward_json"], "null"),
    (["--forward", "[1, 2]"], lambda item: item["forward_json"], "[1,2]"),
    (["--event-type", "error"], lambda item: item["event_type"], "error"),
]


@pytest.mark.parametrize(("words", "read", "expected"), JOURNAL_WORDS, ids=lambda value: str(value)[:20])
def test_the_journal_takes_json_and_plain_words_from_the_command_line(
    mimir: RunMimir, db: str, words: list[str], read: Callable[[dict[str, Any]], object], expected: object
) -> None:
    assert mimir("journal", *words, "--db", db).status == 0
    (item,) = json.loads(mimir("timeline", "--json", "--db", db).out)["items"]
    assert read(item) == expected


def test_the_journal_refuses_an_object_that_is_cut_off(mimir: RunMimir, db: str) -> None:
    ran = mimir("journal", "--evaluated", '{"a":', "--db", db)
    assert ran.status == 2
    assert "evaluated" in ran.err
