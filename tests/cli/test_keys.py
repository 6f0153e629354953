"""keygen, seal, unseal and rekey as a user runs them."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from mimir import Memory
from mimir.config import IS_WINDOWS
from mimir.crypto import write_key_file
from tests.cli.conftest import RunMimir
from tests.conftest import OpenMemory

TEXT = "Green tea at noon"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "store"
    folder.mkdir()
    return folder


@pytest.fixture
def db(folder: Path) -> str:
    return str(folder / "memory.db")


@pytest.fixture
def key(tmp_path: Path) -> str:
    write_key_file(str(tmp_path / "one"))
    return str(tmp_path / "one")


@pytest.fixture
def new_key(tmp_path: Path) -> str:
    write_key_file(str(tmp_path / "two"))
    return str(tmp_path / "two")


@pytest.fixture
def filled(db: str, open_memory: OpenMemory) -> str:
    """Return the path of a plain store with memories, a version, a journal, an archived memory and a state."""
    with open_memory(db) as memory:
        fill(memory)
    return db


def fill(memory: Memory) -> None:
    memory.remember("drink", "tea", {"content": TEXT}, tags=["hot"])
    memory.remember("drink", "tea", {"content": TEXT + ", always"})
    memory.remember("food", "bread", {"content": "Rye bread", "recall_when": ["hungry"]})
    memory.remember("food", "rice", {"content": "Rice"})
    memory.forget("food", "rice")
    memory.journal("decision", evaluated={"text": "weighed"})
    memory.state_set("mood", '"fine"')


def held(memory: Memory) -> tuple[object, ...]:
    """Return what a store holds, to be compared."""
    (tea,) = memory.store.find("drink", "tea", "")
    return (
        tea.entity.body_json,
        [version.body_json for version in memory.history("drink", "tea").versions],
        [hit.key for hit in memory.recall("rice", include_archived=True, mode="fts5", reinforce=False).items],
        [hit.key for hit in memory.recall_when("hungry now").items],
        memory.store.digest(str),
        memory.state_get("mood"),
        memory.verify().ok,
        memory.store.database.execute("SELECT * FROM changes").fetchall(),  # type: ignore[attr-defined]  # its file
    )


def readable(folder: Path) -> bool:
    # Long enough that no file of random bytes holds one of them by chance.
    words = (b"Green tea", b"Rye bread", b"weighed", b"created_at")
    return any(word in path.read_bytes() for path in folder.iterdir() for word in words)


# --- keygen


def test_keygen_makes_a_key_that_only_its_owner_may_read(mimir: RunMimir, tmp_path: Path) -> None:
    path = tmp_path / "new" / "k"
    ran = mimir("keygen", "--key-file", str(path))
    assert ran.status == 0
    assert ran.err == ""
    assert [str(path) in line for line in ran.out.splitlines()] == [True, True]
    assert path.read_text(encoding="ascii") not in ran.out
    assert IS_WINDOWS or stat.S_IMODE(path.stat().st_mode) == 0o600


def test_keygen_writes_to_the_home_folder_when_nothing_is_named(mimir: RunMimir) -> None:
    assert mimir("keygen").status == 0
    assert (Path("~").expanduser() / ".mimir" / "secret.key").is_file()


def test_keygen_overwrites_nothing(mimir: RunMimir, key: str) -> None:
    before = Path(key).read_bytes()
    ran = mimir("keygen", "--key-file", key)
    assert ran.status == 4
    assert "--force" in ran.err
    assert Path(key).read_bytes() == before
    forced = mimir("keygen", "--key-file", key, "--force")
    assert forced.status == 0
    kept = forced.out.splitlines()[2].split()[-1]
    assert Path(kept).read_bytes() == before != Path(key).read_bytes()


# --- seal, rekey, unseal


def test_a_store_that_is_sealed_holds_what_it_held_and_shows_nothing(
    mimir: RunMimir, open_memory: OpenMemory, filled: str, folder: Path, key: str
) -> None:
    with open_memory(filled) as memory:
        before = held(memory)
    assert readable(folder)
    assert mimir("seal", "--db", filled, "--encryption-key", key).status == 0
    assert [path.name for path in folder.iterdir()] == ["memory.db"]
    assert not readable(folder)
    with open_memory(filled, encryption_key=key) as memory:
        assert held(memory) == before
        assert memory.store.sealed_scope() == "full"
        assert memory.remember("drink", "water", {"content": "new"}).action == "created"
    assert mimir("recall", "tea", "--db", filled).status == 5


def test_a_sealed_store_keeps_the_mode_of_its_file(mimir: RunMimir, filled: str, key: str) -> None:
    Path(filled).chmod(0o640)
    assert mimir("seal", "--db", filled, "--encryption-key", key).status == 0
    assert IS_WINDOWS or stat.S_IMODE(Path(filled).stat().st_mode) == 0o640


@pytest.mark.parametrize("command", [("remember", "note", "one", "words"), ("recall", "words"), ("seal",)])
def test_a_key_that_is_named_by_nothing_makes_no_plain_store(
    mimir: RunMimir, tmp_path: Path, command: tuple[str, ...]
) -> None:
    db = tmp_path / "new.db"
    done = mimir(*command, "--db", str(db), "--encryption-key", "")
    assert (done.status, done.out) == (2, "")
    assert "--encryption-key is empty" in done.err
    assert not db.exists()


def test_every_change_of_keys_keeps_everything(
    mimir: RunMimir, open_memory: OpenMemory, filled: str, folder: Path, key: str, new_key: str
) -> None:
    with open_memory(filled) as memory:
        before = held(memory)
    steps = [
        (("seal", "--encryption-key", key, "--encryption-scope", "body"), key, "body"),
        (("rekey", new_key, "--encryption-key", key), new_key, "body"),
        (("seal", "--encryption-key", new_key), new_key, "full"),
        (("rekey", key, "--encryption-key", new_key), key, "full"),
        (("seal", "--encryption-key", key, "--encryption-scope", "body"), key, "body"),
        (("unseal", "--encryption-key", key), "", ""),
        (("seal", "--encryption-key", new_key), new_key, "full"),
        (("unseal", "--encryption-key", new_key), "", ""),
    ]
    for step, present, scope in steps:
        ran = mimir(*step, "--db", filled)
        assert (ran.status, ran.err) == (0, ""), step
        with open_memory(filled, encryption_key=present) as memory:
            assert held(memory) == before
            assert memory.store.sealed_scope() == scope
        assert [path.name for path in folder.iterdir()] == ["memory.db"]
        assert readable(folder) == (scope != "full")
    with closing(sqlite3.connect(filled)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_what_a_body_scope_seals_is_no_longer_readable_in_any_free_page(
    mimir: RunMimir, open_memory: OpenMemory, db: str, key: str
) -> None:
    with open_memory(db) as memory:
        for number in range(200):
            memory.remember("c", f"k{number}", {"content": f"secret{number} " + "padding " * (number * 5)})
    assert b'{"content":"secret' in Path(db).read_bytes()
    assert mimir("seal", "--db", db, "--encryption-key", key, "--encryption-scope", "body").status == 0
    assert b'"content"' not in Path(db).read_bytes()
    assert b"padding padding" not in Path(db).read_bytes()


@pytest.mark.skipif(IS_WINDOWS, reason="a second name of a file that is replaced")
def test_the_former_file_is_overwritten(mimir: RunMimir, filled: str, folder: Path, key: str, tmp_path: Path) -> None:
    former = tmp_path / "former"
    former.hardlink_to(filled)
    assert readable(folder)
    assert mimir("seal", "--db", filled, "--encryption-key", key).status == 0
    assert set(former.read_bytes()) <= {0}


def test_the_former_key_opens_nothing_after_a_change(mimir: RunMimir, filled: str, key: str, new_key: str) -> None:
    mimir("seal", "--db", filled, "--encryption-key", key)
    assert mimir("rekey", new_key, "--db", filled, "--encryption-key", key).status == 0
    assert "another key" in mimir("recall", "tea", "--db", filled, "--encryption-key", key).err
    assert mimir("recall", "tea", "--db", filled, "--encryption-key", new_key).status == 0


def test_a_hash_that_was_noted_holds_through_every_change_of_keys(
    mimir: RunMimir, open_memory: OpenMemory, filled: str, key: str, new_key: str
) -> None:
    def hashes(**settings: str) -> list[str]:
        with open_memory(filled, **settings) as memory:
            assert memory.verify_journal().broken is None
            return [event.audit_hash for event, _ in memory.store.events_after(0, 100)]

    noted = hashes()
    for step, settings in (
        (("seal", "--encryption-key", key), {"encryption_key": key}),
        (("rekey", new_key, "--encryption-key", key), {"encryption_key": new_key}),
        (("unseal", "--encryption-key", new_key), {}),
    ):
        assert mimir(*step, "--db", filled).status == 0
        now = hashes(**settings)
        assert now[: len(noted)] == noted
        assert len(now) == len(noted) + 1
        noted = now
    with open_memory(filled) as memory:
        said = [(item.event_type, json.loads(item.evaluated_json or "{}")) for item in memory.timeline().items]
        assert [kind for kind, _ in said[:3]] == ["unsealed", "rekeyed", "sealed"]
        assert [value["former_hash"] for _, value in said[:3]] == [noted[-2], noted[-3], noted[-4]]


def test_json_says_what_was_done(mimir: RunMimir, filled: str, folder: Path, key: str) -> None:
    (folder / "memory.db.old.bak").write_bytes(Path(filled).read_bytes())
    ran = mimir("seal", "--json", "--db", filled, "--encryption-key", key)
    assert json.loads(ran.out) == {
        "action": "sealed",
        "db_path": filled,
        "scope": "full",
        "unreadable_bodies": 0,
        "readable_copies": [str(folder / "memory.db.old.bak")],
    }


def test_copies_that_stay_readable_are_named(mimir: RunMimir, filled: str, folder: Path, key: str) -> None:
    copy = folder / "memory.db.old.bak"
    copy.write_bytes(Path(filled).read_bytes())
    assert str(copy) in mimir("seal", "--db", filled, "--encryption-key", key).err
    assert str(copy) in mimir("doctor", "--db", filled, "--encryption-key", key, "--embedding", "off").out.replace(
        "\n", ""
    )


@pytest.mark.skipif(IS_WINDOWS or os.geteuid() == 0, reason="a file that its owner may not read")
def test_a_copy_that_may_not_be_read_is_passed_over(mimir: RunMimir, filled: str, folder: Path, key: str) -> None:
    copy = folder / "memory.db.bak"
    copy.touch(mode=0)
    ran = mimir("seal", "--db", filled, "--encryption-key", key)
    assert (ran.status, ran.err) == (0, "")


@pytest.mark.parametrize("word", ["seal", "unseal", "rekey", "backup", "restore"])
def test_the_help_of_what_needs_a_key_names_its_flag(mimir: RunMimir, word: str) -> None:
    shown = mimir(word, "--help").out
    assert "--encryption-key" in shown[shown.index("Options:") :]


# --- refused, with nothing changed


def refused(mimir: RunMimir, db: str, status: int, words: str, *arguments: str) -> None:
    before = Path(db).read_bytes()
    ran = mimir(*arguments, "--db", db)
    assert (ran.status, ran.out) == (status, "")
    assert words in ran.err
    assert Path(db).read_bytes() == before
    assert len(list(Path(db).parent.iterdir())) == 1


def test_what_cannot_be_done_is_refused(mimir: RunMimir, filled: str, tmp_path: Path, key: str, new_key: str) -> None:
    gone = str(tmp_path / "gone")
    refused(mimir, filled, 2, "No key was given", "seal")
    refused(mimir, filled, 5, "no key file", "seal", "--encryption-key", gone)
    refused(mimir, filled, 4, "not sealed", "rekey", new_key, "--encryption-key", key)
    refused(mimir, filled, 4, "not sealed", "unseal", "--encryption-key", key)
    refused(mimir, filled, 6, "read-only", "seal", "--encryption-key", key, "--read-only")
    mimir("seal", "--db", filled, "--encryption-key", key)
    refused(mimir, filled, 4, "already", "seal", "--encryption-key", key)
    refused(mimir, filled, 5, "another key", "seal", "--encryption-key", new_key)
    refused(mimir, filled, 5, "another key", "rekey", key, "--encryption-key", new_key)
    refused(mimir, filled, 4, "the key that the store has", "rekey", key, "--encryption-key", key)
    refused(mimir, filled, 5, "no key file", "rekey", gone, "--encryption-key", key)
    refused(mimir, filled, 5, "another key", "unseal", "--encryption-key", new_key)


def test_nothing_is_made_where_there_is_no_store(mimir: RunMimir, db: str, folder: Path, key: str) -> None:
    for words in (("seal",), ("unseal",), ("rekey", key)):
        assert mimir(*words, "--db", db, "--encryption-key", key).status == 3
    assert list(folder.iterdir()) == []


def test_a_store_that_is_in_use_is_not_touched(
    process: RunMimir, open_memory: OpenMemory, filled: str, folder: Path, key: str
) -> None:
    memory = open_memory(filled)
    memory.remember("drink", "water", {"content": "in the log"})
    ran = process("seal", "--db", filled, "--encryption-key", key)
    assert ran.status == 6
    assert "Another process" in ran.err
    assert memory.remember("drink", "milk", {"content": "still writable"}).action == "created"
    memory.close()
    assert [path.name for path in folder.iterdir()] == ["memory.db"]
    assert process("seal", "--db", filled, "--encryption-key", key).status == 0


def test_a_process_that_slept_meanwhile_does_not_write_what_could_be_read(
    open_memory: OpenMemory, mimir: RunMimir, filled: str, key: str
) -> None:
    """Its last connection was closed with the thread that had it; the next one finds another store."""
    memory = open_memory(filled)
    memory.store.database.connection.close()  # type: ignore[attr-defined]  # as the end of a thread does
    del memory.store.database._local.connection  # type: ignore[attr-defined]  # noqa: SLF001
    assert mimir("seal", "--db", filled, "--encryption-key", key, "--encryption-scope", "body").status == 0
    with pytest.raises(Exception, match="was sealed"):
        memory.remember("drink", "water", {"content": "readable"})
    assert b'"readable"' not in Path(filled).read_bytes()


# --- serving


def test_a_server_with_a_key_that_does_not_fit_does_not_start(
    process: RunMimir, filled: str, key: str, new_key: str, tmp_path: Path
) -> None:
    assert process("seal", "--db", filled, "--encryption-key", key).status == 0
    listed = '{"jsonrpc":"2.0","id":1,"method":"tools/list"}\n'
    for flags, words in (
        ((), "no key was given"),
        (("--encryption-key", new_key), "another key"),
        (("--encryption-key", str(tmp_path / "gone")), "no key file"),
    ):
        ran = process("serve", "--db", filled, *flags, stdin=listed)
        assert (ran.status, ran.out) == (5, "")
        assert words in ran.err
    ran = process("serve", "--db", filled, "--encryption-key", key, stdin=listed)
    assert (ran.status, ran.err) == (0, "")


def test_a_server_with_a_key_for_a_file_that_is_not_sealed_with_it_does_not_start(
    process: RunMimir, filled: str, folder: Path, key: str, new_key: str
) -> None:
    """What the first bytes of such a file do not tell is looked up in it, and nothing is written."""

    def refused(status: int, words: str, *flags: str) -> None:
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        ran = process("serve", "--db", filled, *flags, stdin='{"jsonrpc":"2.0","id":1,"method":"tools/list"}\n')
        assert (ran.status, ran.out) == (status, "")
        assert words in ran.err
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before

    refused(4, "is not sealed", "--encryption-key", key)
    assert process("seal", "--db", filled, "--encryption-key", key, "--encryption-scope", "body").status == 0
    refused(5, "another key", "--encryption-key", new_key)
    refused(4, "scope body, not full", "--encryption-key", key, "--encryption-scope", "full")
    call = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"mimir_stats","arguments":{}}}\n'
    ran = process("serve", "--db", filled, "--encryption-key", key, stdin=call)
    assert (ran.status, json.loads(ran.out)["result"].get("isError", False)) == (0, False)
    # Without a key the file is opened by the first call only, which keeps the start short; it is refused in words.
    ran = process("serve", "--db", filled, stdin=call)
    answer = json.loads(ran.out)["result"]
    assert (answer["isError"], answer["structuredContent"]["code"]) == (True, "locked")


@pytest.mark.skipif(IS_WINDOWS, reason="a pipe with a name")
def test_a_server_does_not_wait_for_a_pipe_in_the_place_of_its_store(process: RunMimir, db: str) -> None:
    os.mkfifo(db)
    call = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"mimir_stats","arguments":{}}}\n'
    ran = process("serve", "--db", db, stdin=call)
    answer = json.loads(ran.out)["result"]
    assert (ran.status, answer["isError"], answer["structuredContent"]["code"]) == (0, True, "storage")
    assert db in answer["structuredContent"]["error"]


def test_doctor_says_what_is_encrypted_and_what_is_not(mimir: RunMimir, filled: str, key: str) -> None:
    def said(*flags: str) -> tuple[str, str]:
        ran = mimir("doctor", "--json", "--db", filled, "--embedding", "off", *flags)
        (check,) = [check for check in json.loads(ran.out)["checks"] if check["name"] == "encryption"]
        return check["status"], check["detail"]

    assert said() == ("ok", "off: whoever has the file reads everything; mimir keygen and mimir seal switch it on")
    mimir("seal", "--db", filled, "--encryption-key", key, "--encryption-scope", "body")
    status, detail = said("--encryption-key", key)
    assert status == "warn"
    for word in ("keys", "categories", "tags", "text index", "vectors", "journal", "state"):
        assert word in detail
    mimir("seal", "--db", filled, "--encryption-key", key)
    assert said("--encryption-key", key)[0] == "ok"
