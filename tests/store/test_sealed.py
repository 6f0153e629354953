"""Sealed stores: nothing readable on the disk, wrong keys and damage told apart, everything else as in a plain one."""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest

from benchmarks import corpus
from mimir import Conflict, Locked, Memory, MimirError, StorageFailure
from mimir.crypto import FieldCipher, Keys, bound_as_early_original, bound_as_original, write_key_file
from mimir.crypto import read_key_file as read_key
from mimir.model import Event, Filter
from mimir.rules.chain import GENESIS, chain_hash, commitment
from mimir.store import change_keys
from mimir.store.codec import UNREADABLE
from mimir.store.sqlite import schema
from mimir.store.sqlite.sealing import use_page_key
from tests.conftest import OpenMemory
from tests.server.client import SERVE, Client, call
from tests.store.original_files import original_file

SCOPES = ("full", "body")
EVERYTHING = Filter(include_archived=True, every_caller=True)


AEGIS_256 = 4
"""The number that SQLite3 Multiple Ciphers gives it."""


@pytest.fixture
def key(tmp_path: Path) -> str:
    path = str(tmp_path / "keys" / "one")
    write_key_file(path)
    return path


@pytest.fixture
def other_key(tmp_path: Path) -> str:
    path = str(tmp_path / "keys" / "other")
    write_key_file(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "store"
    folder.mkdir()
    return folder


@pytest.fixture
def path(folder: Path) -> str:
    return str(folder / "memory.db")


@pytest.fixture(params=SCOPES)
def scope(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def sealed(open_memory: OpenMemory, path: str, key: str, scope: str) -> Memory:
    """Return a sealed store with some memories, a version and a row of the journal."""
    memory = open_memory(path, encryption_key=key, encryption_scope=scope)
    fill(memory)
    return memory


def fill(memory: Memory) -> None:
    memory.remember("drink", "tea", {"content": "Green tea at noon", "recall_when": ["thirsty"]}, tags=["hot"])
    memory.remember("drink", "tea", {"content": "Black tea at noon", "recall_when": ["thirsty"]})
    memory.remember("drink", "water", {"content": "Water, 100% pure, at_once"})
    memory.remember("food", "bread", {"content": "Rye bread in the morning"})
    memory.journal("decision", evaluated={"text": "weighed"}, acted={"text": "bought"})


def fingerprint(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def body_of(memory: Memory, category: str, key: str) -> str:
    (stored,) = memory.store.find(category, key, "")
    return stored.entity.body_json


def keys_of(memory: Memory, query: str) -> list[str]:
    return [hit.key for hit in memory.recall(query, mode="fts5", include_archived=True).items]


def damaged(path: str, key: str) -> bool:
    """Tell whether a store is refused, or its pages are said to be damaged."""
    try:
        with Memory.open(path, embedding="off", encryption_key=key) as memory:
            return memory.store.check_integrity() != "ok"
    except StorageFailure as error:
        return "damaged" in error.message


@contextmanager
def file(path: str, key: str) -> Iterator[apsw.Connection]:
    """Open a store file past Mimir, with its page key if it needs one."""
    with closing(apsw.Connection(path)) as connection:
        if not Path(path).read_bytes().startswith(b"SQLite format 3\0"):
            use_page_key(connection, Keys(read_key(key)))
        yield connection


# --- nothing readable


def said(number: int) -> str:
    return f"zebra{number}quartz"


def hidden_words(texts: list[str]) -> list[str]:
    """Return 25 of the longest words of memories, by their first six letters, since an index keeps stems."""
    words = {word.strip(".,;:").lower() for text in texts for word in text.split()}
    return [
        word[:6] for word in sorted((word for word in words if word.isascii()), key=lambda one: (-len(one), one))[:25]
    ]


def found_in(folder: Path, words: list[str]) -> list[tuple[str, str]]:
    """Return the words that stand in any file of a folder, whatever the case, as UTF-8 or UTF-16, with the file."""
    assert len(words) == len(set(words)) >= 50
    found = []
    for path in sorted(folder.iterdir()):
        content = path.read_bytes().lower()
        for word in words:
            forms = {word.encode(encoding) for encoding in ("utf-8", "utf-16-le", "utf-16-be")}
            found += [(path.name, word)] if any(form in content for form in forms) else []
    return found


@pytest.mark.parametrize("with_key", [True, False], ids=["sealed", "plain"])
def test_nothing_of_a_sealed_store_is_readable_while_it_is_served_and_after(
    folder: Path, path: str, key: str, with_key: bool
) -> None:
    """A thousand memories, each kind of content with words of its own; without a key every one of them is found."""
    memories = list(corpus.memories(1_000))
    words = list(dict.fromkeys(hidden_words([memory["body_json"]["content"] for memory in memories])))
    words += [said(number) for number in range(30)]
    flags = ("--encryption-key", key) if with_key else ()
    with closing(Client((*SERVE, "--db", path, "--embedding", "off", *flags))) as client:
        for number, memory in enumerate(memories):
            mark = said(number % 20)
            memory |= {"tags": [mark], "topic_path": f"{said(20)}/{number % 7}", "workspace_hash": said(21)}
            if number % 100 == 0:
                memory |= {"key": f"{said(22)}-{number}", "category": said(23)}
            client.send(call(number, "mimir_remember", **memory))
        client.send(call(1_001, "mimir_journal", event_type=said(24), evaluated=said(25), agent_id=said(26)))
        client.send(call(1_002, "mimir_state_set", key=said(27), value_json=f'"{said(28)}"'))
        changed = {**memories[0], "body_json": {"content": said(29)}}
        client.send(call(1_003, "mimir_remember", **changed))
        replies = [client.receive() for _ in range(1_003)]
        assert not any(reply["result"].get("isError") for reply in replies)
        assert sorted(path.name for path in folder.iterdir()) == ["memory.db", "memory.db-shm", "memory.db-wal"]
        served = found_in(folder, words)
    stopped = found_in(folder, words)
    if with_key:
        assert served == stopped == []
    else:
        assert {word for _, word in served} == {word for _, word in stopped} == set(words)


def test_bodies_of_a_file_that_is_not_sealed_whole_are_ciphertext(open_memory: OpenMemory, path: str, key: str) -> None:
    with open_memory(path, encryption_key=key, encryption_scope="body") as memory:
        fill(memory)
    with file(path, key) as connection:
        rows = connection.execute(
            "SELECT body_json, category, key FROM entities UNION ALL SELECT body_json, category, key FROM versions"
        ).fetchall()
    assert len(rows) == 4
    cipher = FieldCipher(read_key(key))
    for body, category, name in rows:
        assert str(cipher.open(str(body), bound_as_original(str(category), str(name)))).startswith('{"content"')
    assert b'"content"' not in Path(path).read_bytes()


# --- told apart, before anything is written


def refused(folder: Path, path: str, kind: type[MimirError], match: str, **settings: Any) -> MimirError:  # noqa: ANN401 - of any setting
    before = fingerprint(folder)
    with pytest.raises(kind, match=match) as raised:
        Memory.open(path, embedding="off", **settings)
    assert fingerprint(folder) == before
    assert path in raised.value.message
    assert raised.value.hint
    return raised.value


def test_the_pages_of_a_sealed_store_are_encrypted_with_aegis_256_under_a_raw_key(
    open_memory: OpenMemory, folder: Path, path: str, key: str, other_key: str
) -> None:
    with open_memory(path, encryption_key=key) as memory, memory.store.reading() as connection:
        assert connection.execute("PRAGMA cipher").get == "aegis"
        assert connection.execute("SELECT sqlite3mc_config('aegis', 'algorithm')").get == AEGIS_256
    heads = []
    for number, file_of_key in enumerate((key, key, other_key)):
        sibling = folder / f"{number}.db"
        open_memory(str(sibling), encryption_key=file_of_key).close()
        heads.append(sibling.read_bytes()[:32])
    assert heads[0][:16] == heads[1][:16] != heads[2][:16]
    assert len({head[16:] for head in heads}) == 3


def test_a_wrong_key_is_told(sealed: Memory, folder: Path, path: str, other_key: str) -> None:
    sealed.close()
    refused(folder, path, Locked, "another key", encryption_key=other_key)


def test_a_missing_key_is_told(sealed: Memory, folder: Path, path: str) -> None:
    sealed.close()
    assert "--encryption-key" in refused(folder, path, Locked, "no key was given").hint


def test_a_key_for_a_plain_store_is_told(open_memory: OpenMemory, folder: Path, path: str, key: str) -> None:
    open_memory(path).close()
    assert "mimir seal" in refused(folder, path, Conflict, "not sealed", encryption_key=key).hint


def test_another_scope_than_that_of_the_store_is_told(
    sealed: Memory, folder: Path, path: str, key: str, scope: str
) -> None:
    sealed.close()
    (other,) = set(SCOPES) - {scope}
    error = refused(folder, path, Conflict, f"scope {scope}, not {other}", encryption_key=key, encryption_scope=other)
    assert "mimir seal" in error.hint


def test_a_key_file_that_is_missing_is_told_before_a_store_is_made(folder: Path, path: str) -> None:
    with pytest.raises(Locked, match="no key file"):
        Memory.open(path, embedding="off", encryption_key=str(folder / "gone"))
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("place", [0, 7, 15, 16, 17, 20, 21, 23, 24, 100, 2_000, 4_031, 4_032, 4_063, 4_064, 4_095])
def test_a_changed_bit_of_the_first_page_is_damage_and_no_wrong_key(
    open_memory: OpenMemory, folder: Path, path: str, key: str, place: int
) -> None:
    with open_memory(path, encryption_key=key) as memory:
        fill(memory)
    data = bytearray(Path(path).read_bytes())
    data[place] ^= 0x10
    Path(path).write_bytes(data)
    refused(folder, path, StorageFailure, "damaged|changed", encryption_key=key)


def test_a_changed_bit_anywhere_is_found(open_memory: OpenMemory, path: str, key: str) -> None:
    with open_memory(path, encryption_key=key, embedding="off") as memory:
        fill(memory)
    whole = Path(path).read_bytes()
    pages = len(whole) // 4096
    for page in range(1, pages):
        data = bytearray(whole)
        data[page * 4096 + page * 97 % 4096] ^= 1
        Path(path).write_bytes(data)
        assert damaged(path, key)


def test_pages_that_changed_places_are_found(open_memory: OpenMemory, path: str, key: str) -> None:
    with open_memory(path, encryption_key=key, embedding="off") as memory:
        fill(memory)
    data = Path(path).read_bytes()
    Path(path).write_bytes(data[:8192] + data[12288:16384] + data[8192:12288] + data[16384:])
    assert damaged(path, key)


@pytest.mark.parametrize("length", [10, 23, 24, 1_000, 4_095, 4_096, 5_000, 40_960])
def test_a_file_that_was_cut_off_is_damaged(open_memory: OpenMemory, path: str, key: str, length: int) -> None:
    with open_memory(path, encryption_key=key) as memory:
        fill(memory)
    Path(path).write_bytes(Path(path).read_bytes()[:length])
    kind = (StorageFailure, Locked) if length < 16 else StorageFailure
    with pytest.raises(kind) as raised, Memory.open(path, embedding="off", encryption_key=key) as memory:
        assert memory.store.check_integrity() == "ok"
    assert raised.value.hint


def test_a_changed_log_is_not_believed(open_memory: OpenMemory, folder: Path, path: str, key: str) -> None:
    """What a log holds is encrypted too: a frame that was changed ends it, as if the power had failed before."""
    memory = open_memory(path, encryption_key=key)
    memory.remember("c", "first", {"content": "one"})
    copy = folder / "copy.db"
    shutil.copyfile(path, copy)
    log = bytearray(Path(path + "-wal").read_bytes())
    assert log
    log[len(log) // 2] ^= 1
    (folder / "copy.db-wal").write_bytes(log)
    try:
        with Memory.open(str(copy), embedding="off", encryption_key=key) as half:
            assert {hit.body_json for hit in half.recall("one").items} <= {'{"content":"one"}'}
            assert half.store.check_integrity() == "ok"
    except MimirError as error:
        assert isinstance(error, StorageFailure)  # noqa: PT017 - either is right, whichever frame it was


def test_noise_is_no_store_whatever_the_key(folder: Path, path: str, key: str) -> None:
    Path(path).write_bytes(hashlib.shake_256(b"noise").digest(16_384))
    refused(folder, path, Locked, "encrypted, or no database", encryption_key=key)


# --- bodies that were changed


def test_a_changed_body_is_replaced_by_an_error_and_the_others_go_on(
    sealed: Memory, open_memory: OpenMemory, path: str, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    sealed.close()
    with file(path, key) as connection:
        body = str(connection.execute("SELECT body_json FROM entities WHERE key = 'tea'").get)
        data = bytearray(base64.b64decode(body))
        data[20] ^= 1
        connection.execute("UPDATE entities SET body_json = ? WHERE key = 'tea'", (base64.b64encode(data).decode(),))
    memory = open_memory(path, encryption_key=key)
    assert "decryption failed" in body_of(memory, "drink", "tea")
    assert body not in body_of(memory, "drink", "tea")
    assert "cannot be decrypted" in caplog.text
    assert keys_of(memory, "bread") == ["bread"]
    assert body_of(memory, "food", "bread") == '{"content":"Rye bread in the morning"}'
    assert [version.body_json for version in memory.history("drink", "tea").versions] == [
        '{"content":"Green tea at noon","recall_when":["thirsty"]}'
    ]
    assert memory.remember("drink", "tea", {"content": "Herbal tea"}).action == "updated"
    assert body_of(memory, "drink", "tea") == '{"content":"Herbal tea"}'


EXCHANGES = {
    "another memory": "SELECT body_json FROM entities WHERE key = 'bread'",
    "plain text": """SELECT '{"content":"forged"}'""",
    "nothing": "SELECT ''",
}


@pytest.mark.parametrize("name", EXCHANGES)
def test_a_body_put_in_the_place_of_another_is_not_believed(
    sealed: Memory, open_memory: OpenMemory, path: str, key: str, name: str
) -> None:
    sealed.close()
    with file(path, key) as connection:
        connection.execute(f"UPDATE entities SET body_json = ({EXCHANGES[name]}) WHERE key = 'tea'")  # noqa: S608
    memory = open_memory(path, encryption_key=key)
    assert body_of(memory, "drink", "tea") == UNREADABLE
    failed = {check.name: check.detail for check in memory.verify().checks if not check.ok}
    assert failed == {"bodies": "1 sealed bodies were changed outside Mimir"}


def test_in_a_file_that_is_sealed_whole_an_old_body_is_not_believed_either(
    open_memory: OpenMemory, path: str, key: str
) -> None:
    with open_memory(path, encryption_key=key) as memory:
        fill(memory)
    with file(path, key) as connection:
        connection.execute("UPDATE entities SET body_json = (SELECT body_json FROM versions) WHERE key = 'tea'")
    memory = open_memory(path, encryption_key=key)
    assert body_of(memory, "drink", "tea") == UNREADABLE


# --- everything else as in a plain store


ASKED: dict[str, Callable[[Memory], object]] = {
    "words": lambda memory: keys_of(memory, "tea"),
    "several words": lambda memory: [hit.body_json for hit in memory.recall("rye morning").items],
    "the beginning of a word": lambda memory: keys_of(memory, "mor"),
    "part of a word": lambda memory: keys_of(memory, "ornin"),
    "nothing there": lambda memory: keys_of(memory, "zzyzx"),
    "a substring": lambda memory: memory.store.match_substring(["ornin"], EVERYTHING, 5),
    "a substring in capitals": lambda memory: memory.store.match_substring(["YE BR"], EVERYTHING, 5),
    "a substring of a key": lambda memory: memory.store.match_substring(["WATE"], EVERYTHING, 5),
    "wildcards": lambda memory: memory.store.match_substring(["0% p", "t_o"], EVERYTHING, 5),
    "a wildcard alone": lambda memory: memory.store.match_substring(["%"], EVERYTHING, 5),
    "the newest of several": lambda memory: memory.store.match_substring(["noon", "bread"], EVERYTHING, 1),
    "other letters": lambda memory: memory.store.match_substring(["É", "ß"], EVERYTHING, 5),
    "situations": lambda memory: [hit.key for hit in memory.recall_when("I am thirsty").items],
    "history": lambda memory: memory.history("drink", "tea").versions[0].body_json,
    "bodies": lambda memory: memory.store.bodies(EVERYTHING, [1, 2, 3]),
    "past bodies": lambda memory: [version.entity.body_json for _, version in memory.store.load_versions([1]).values()],
    "the index made anew": lambda memory: (msgspec.structs.astuple(memory.reindex())[0], keys_of(memory, "bread")),
}


@pytest.mark.parametrize("name", ASKED)
def test_every_search_finds_what_it_finds_in_a_plain_store(
    open_memory: OpenMemory, sealed: Memory, tmp_path: Path, name: str
) -> None:
    plain = open_memory(str(tmp_path / "plain.db"))
    fill(plain)
    answer = ASKED[name](plain)
    assert ASKED[name](sealed) == answer
    assert answer or name in ("nothing there", "other letters")


def test_the_state_digest_is_that_of_the_plain_text(sealed: Memory) -> None:
    before = sealed.store.digest(str)
    sealed.remember("drink", "water", {"content": "Water, 100% pure, at_once"})
    assert sealed.store.digest(str) == before
    sealed.remember("drink", "water", {"content": "Other water"})
    assert sealed.store.digest(str) != before


def test_what_was_purged_leaves_a_sealed_store_sound(
    sealed: Memory, open_memory: OpenMemory, path: str, key: str
) -> None:
    sealed.forget("food", "bread")
    assert sealed.purge(dry_run=False).entities_deleted == 1
    sealed.close()
    memory = open_memory(path, encryption_key=key)
    assert memory.store.check_integrity() == "ok"
    assert keys_of(memory, "bread") == []
    assert keys_of(memory, "tea") == ["tea"]


def test_every_thread_opens_the_store_with_its_key(sealed: Memory) -> None:
    found: list[str] = []

    def look() -> None:
        found.append(sealed.recall("bread").items[0].key)

    threads = [threading.Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["bread"] * 3


def test_a_copy_made_before_a_migration_is_sealed(
    open_memory: OpenMemory, folder: Path, path: str, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_memory(path, encryption_key=key) as memory:
        fill(memory)
    before = len(schema.MIGRATIONS)
    with monkeypatch.context() as patched:
        patched.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, lambda _: None))
        open_memory(path, encryption_key=key).close()
    copy = f"{path}.v{before}.bak"
    assert b"bread" not in Path(copy).read_bytes()
    refused(folder, copy, Locked, "no key was given")
    assert keys_of(open_memory(copy, encryption_key=key), "bread") == ["bread"]


# --- the journal


def test_the_journal_of_a_sealed_store_is_chained_with_a_key(sealed: Memory) -> None:
    assert sealed.verify_journal().broken is None
    ((event, readable),) = sealed.store.events_after(0, 10)
    assert readable
    assert commitment(event.payload or "") != event.payload_commitment
    assert chain_hash(GENESIS, event) != event.audit_hash
    key = sealed.store.chain_key(1)
    assert chain_hash(GENESIS, event, key) == event.audit_hash


def test_a_journal_that_was_chained_anew_without_the_key_is_found_out(
    open_memory: OpenMemory, path: str, key: str
) -> None:
    """A file whose pages are plain can be written by anyone, its journal included."""
    with open_memory(path, encryption_key=key, encryption_scope="body") as memory:
        fill(memory)
        ((event, _),) = memory.store.events_after(0, 10)
    with file(path, key) as connection:
        for name in schema.JOURNAL_GUARDS:
            connection.execute(f"DROP TRIGGER {name}")
        connection.execute("UPDATE journal SET event_type = 'forged', audit_hash = ?", (forged_hash(event),))
        for sql in schema.JOURNAL_GUARDS.values():
            connection.execute(sql)
    memory = open_memory(path, encryption_key=key)
    broken = memory.verify_journal().broken
    assert broken is not None
    assert broken.sequence == 1


def forged_hash(event: Event) -> str:
    return chain_hash(GENESIS, msgspec.structs.replace(event, event_type="forged"))


@pytest.mark.parametrize("sql", ["DELETE FROM journal_keys", "UPDATE journal_keys SET key = NULL"])
def test_a_journal_whose_key_was_taken_away_is_not_taken_for_a_plain_one(
    sealed: Memory, path: str, key: str, sql: str
) -> None:
    sealed.close()
    with file(path, key) as connection:
        connection.execute(sql)
    with pytest.raises((StorageFailure, Conflict)):
        Memory.open(path, embedding="off", encryption_key=key)


# --- files of the Rust Mimir


@pytest.fixture
def original(path: str, key: str) -> str:
    """Return a file with a body of each kind: bound as since 2.10, as before, plain JSON, plain text, and a version."""
    cipher = FieldCipher(read_key(key))
    with original_file(Path(path)) as made:
        added = made.entity("new", cipher.seal('{"content":"bound newly"}', bound_as_original("note", "new")))
        made.entity("old", cipher.seal('{"content":"bound as before"}', bound_as_early_original("note", "old")))
        made.entity("plain", {"content": "legacy plain"})
        made.entity("text", cipher.seal("just words", bound_as_original("note", "text")))
        made.past(
            added,
            cipher.seal('{"content":"former"}', bound_as_original("note", "new")),
            None,
            1_740_000_000_010,
            key="new",
        )
    return path


def test_a_file_that_the_rust_mimir_encrypted_becomes_a_sealed_store(
    original: str, open_memory: OpenMemory, folder: Path, key: str
) -> None:
    memory = open_memory(original, encryption_key=key)
    bodies = {stored.entity.key: stored.entity.body_json for stored in memory.store.browse(EVERYTHING, 9, 0)}
    assert bodies == {
        "new": '{"content":"bound newly"}',
        "old": '{"content":"bound as before"}',
        "plain": '{"content":"legacy plain"}',
        "text": '{"content":"just words"}',
    }
    assert [version.body_json for version in memory.history("note", "new").versions] == ['{"content":"former"}']
    assert memory.store.sealed_scope() == "full"
    assert keys_of(memory, "legacy") == ["plain"]
    memory.close()
    for one in folder.iterdir():
        assert b"legacy plain" not in one.read_bytes()
    assert len(list(folder.iterdir())) == 2


def test_what_could_not_be_sealed_whole_while_others_used_it_is_told(
    original: str, open_memory: OpenMemory, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(apsw.Connection(original)) as other:
        other.execute("PRAGMA journal_mode=WAL")
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM entities").fetchall()
        memory = open_memory(original, encryption_key=key)
        assert memory.store.sealed_scope() == "body"
        assert body_of(memory, "note", "old") == '{"content":"bound as before"}'
    (told,) = caplog.messages
    assert original in told
    assert "readable" in told
    assert told.endswith("mimir seal")


def test_its_scope_may_stay_what_it_was(original: str, open_memory: OpenMemory, key: str) -> None:
    memory = open_memory(original, encryption_key=key, encryption_scope="body")
    assert memory.store.sealed_scope() == "body"
    assert body_of(memory, "note", "old") == '{"content":"bound as before"}'


def test_its_key_is_needed(original: str, folder: Path, other_key: str) -> None:
    refused(folder, original, Locked, "encrypted")
    refused(folder, original, Locked, "another key", encryption_key=other_key)


def test_a_body_of_it_that_was_changed_is_brought_over_as_unreadable(
    path: str, key: str, open_memory: OpenMemory
) -> None:
    cipher = FieldCipher(read_key(key))
    with original_file(Path(path)) as made:
        made.entity("good", cipher.seal('{"content":"good"}', bound_as_original("note", "good")))
        made.entity("moved", cipher.seal('{"content":"the content of another one"}', bound_as_original("note", "x")))
    memory = open_memory(path, encryption_key=key)
    assert body_of(memory, "note", "good") == '{"content":"good"}'
    assert body_of(memory, "note", "moved") == UNREADABLE


def test_migrate_reads_what_the_rust_mimir_encrypted(
    original: str, open_memory: OpenMemory, tmp_path: Path, key: str, other_key: str
) -> None:
    memory = open_memory(str(tmp_path / "here.db"), encryption_key=key)
    assert memory.migrate(original).entities_created == 4
    assert body_of(memory, "note", "old") == '{"content":"bound as before"}'
    with pytest.raises(Locked):
        open_memory(str(tmp_path / "other.db"), encryption_key=other_key).migrate(original)


# --- while keys change

WAITER = """
import sys
from mimir import Memory
from mimir.store.sqlite.connection import Database

wait = Database._wait

def tell(self, tries):
    if tries == 0:
        print("waiting", flush=True)
    return wait(self, tries)

Database._wait = tell
with Memory.open(sys.argv[1], embedding="off", encryption_key=sys.argv[2]) as memory:
    memory.remember("c", "waited", {"content": "patience"})
"""


def test_what_a_process_writes_that_waited_while_a_store_was_sealed_is_not_lost(
    open_memory: OpenMemory, path: str, key: str
) -> None:
    """It holds the former file; what it wrote there would be gone with it."""
    with open_memory(path) as memory:
        fill(memory)
    waiting: list[subprocess.Popen[str]] = []

    def wait_for_the_lock(_: str) -> None:
        process = subprocess.Popen([sys.executable, "-c", WAITER, path, key], stdout=subprocess.PIPE, text=True)
        waiting.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"

    change_keys(path, None, Keys(read_key(key)), "full", wait_for_the_lock)
    (process,) = waiting
    assert process.communicate(timeout=60)[0] == ""
    assert process.returncode == 0
    assert keys_of(open_memory(path, encryption_key=key), "patience") == ["waited"]


def test_a_sealing_that_fails_leaves_the_store_as_it_was(
    open_memory: OpenMemory, folder: Path, path: str, key: str
) -> None:
    with open_memory(path) as memory:
        fill(memory)
        before = memory.store.digest(str)

    def fail(_: str) -> None:
        raise StorageFailure("No more.")

    with pytest.raises(StorageFailure, match="No more"):
        change_keys(path, None, Keys(read_key(key)), "full", fail)
    assert [one.name for one in folder.iterdir()] == ["memory.db"]
    assert open_memory(path).store.digest(str) == before
