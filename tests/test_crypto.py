"""Keys: their files, their subkeys, what they seal, and what the first bytes of a store tell about them."""

from __future__ import annotations

import base64
import logging
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from mimir import Conflict, InvalidInput, Locked, StorageFailure
from mimir.config import IS_WINDOWS, load_settings
from mimir.crypto import (
    FieldCipher,
    Keys,
    bound_as_early_original,
    bound_as_original,
    bound_to,
    check_head,
    load_keys,
    read_key_file,
    subkey,
    write_key_file,
)

KEY = b"\x07" * 32
KEYS = Keys(KEY)
HEAD = KEYS.check + b"\x10\x00\x02\x02\x40\x40\x20\x20"


# --- subkeys


@pytest.mark.parametrize("label", ["mimir pages", "mimir bodies", "mimir journal keys", ""])
def test_a_subkey_is_the_one_of_hkdf_with_sha_256(label: str) -> None:
    expected = HKDF(algorithm=SHA256(), length=32, salt=None, info=label.encode()).derive(KEY)
    assert subkey(KEY, label) == expected


def test_no_two_purposes_share_a_subkey() -> None:
    sealed = [cipher.seal("text", b"") for cipher in (KEYS.bodies, KEYS.plain_file_bodies, KEYS.journal_keys)]
    for place, cipher in enumerate((KEYS.bodies, KEYS.plain_file_bodies, KEYS.journal_keys)):
        assert [cipher.open(text, b"") for text in sealed].index("text") == place
        assert [cipher.open(text, b"") for text in sealed].count(None) == 2
    assert KEYS.check not in KEYS.pages
    assert KEYS.pages != KEY


# --- sealed texts


@pytest.mark.parametrize(
    ("sealed", "bound"),
    [
        ("AAECAwQFBgcICQoLY6OIUic4pOv9wNJazf+T7nQE0jOpkgk=", bound_as_early_original("cat", "key")),
        ("AAECAwQFBgcICQoLY6OIUic4pFuM8oQFZd85t6uf8K6jXuQ=", bound_as_original("cat", "key")),
    ],
    ids=["before 2.10", "since 2.10"],
)
def test_what_the_rust_mimir_encrypted_opens(sealed: str, bound: bytes) -> None:
    key = base64.b64decode("BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=")
    assert Keys(key).plain_file_bodies.open(sealed, bound) == '{"a":1}'
    assert Keys(key).plain_file_bodies.open(sealed, bound + b"x") is None


@given(st.text(), st.binary(max_size=40))
def test_what_is_sealed_opens_again(text: str, bound: bytes) -> None:
    assert FieldCipher(KEY).open(FieldCipher(KEY).seal(text, bound), bound) == text


def test_the_same_text_is_never_sealed_twice_alike() -> None:
    cipher = FieldCipher(KEY)
    assert len({cipher.seal("text", b"") for _ in range(1_000)}) == 1_000


@given(st.integers(min_value=0), st.integers(0, 7))
def test_a_sealed_text_with_one_bit_changed_does_not_open(place: int, bit: int) -> None:
    data = bytearray(base64.b64decode(FieldCipher(KEY).seal('{"content":"green tea"}', b"here")))
    data[place % len(data)] ^= 1 << bit
    assert FieldCipher(KEY).open(base64.b64encode(data).decode(), b"here") is None


@given(st.text(max_size=80))
def test_what_was_never_sealed_does_not_open(text: str) -> None:
    assert FieldCipher(KEY).open(text, b"") is None


@given(st.lists(st.text(max_size=5), max_size=4), st.lists(st.text(max_size=5), max_size=4))
def test_no_two_rows_are_bound_alike(left: list[str], right: list[str]) -> None:
    assert (bound_to(*left) == bound_to(*right)) == (left == right)


# --- key files


def write(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    path.chmod(0o600)
    return str(path)


@pytest.mark.parametrize("around", [b"", b"\n", b"\r\n", b"  \t"])
def test_a_key_file_is_one_line_of_base64(tmp_path: Path, around: bytes) -> None:
    assert read_key_file(write(tmp_path / "k", around + base64.b64encode(KEY) + around)) == KEY


@pytest.mark.parametrize(
    "content",
    [
        b"",
        base64.b64encode(KEY[:31]),
        base64.b64encode(KEY + b"x"),
        base64.b64encode(KEY)[:-1],
        base64.b64encode(KEY).replace(b"B", b"*"),
        base64.b64encode(KEY) + b"\n" + base64.b64encode(KEY),
        KEY,
        KEY.hex().encode(),
        b"correct horse battery staple",
        b"\xff\xfe\x00",
    ],
)
def test_what_is_no_key_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(Locked, match="no key file") as raised:
        read_key_file(write(tmp_path / "k", content))
    assert "keygen" in raised.value.hint
    assert content.decode(errors="replace").strip() not in raised.value.message or not content


def test_a_key_file_that_is_missing_or_no_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(Locked, match="There is no key file") as raised:
        read_key_file(str(tmp_path / "gone"))
    assert "keygen" in raised.value.hint
    for path in (str(tmp_path), "nul\0"):
        with pytest.raises(Locked, match="cannot be read"):
            read_key_file(path)


@pytest.mark.skipif(IS_WINDOWS, reason="file modes are those of POSIX")
@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o400, False), (0o640, True), (0o604, True)])
def test_a_key_file_that_others_may_read_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: int, warned: bool
) -> None:
    path = tmp_path / "k"
    path.write_bytes(base64.b64encode(KEY))
    path.chmod(mode)
    with caplog.at_level(logging.WARNING):
        assert read_key_file(str(path)) == KEY
    assert ("chmod 600" in caplog.text) == warned
    assert base64.b64encode(KEY).decode() not in caplog.text


def test_a_new_key_is_random_and_for_its_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        paths = [tmp_path / "deep" / "er" / name for name in ("one", "two")]
        for path in paths:
            assert write_key_file(str(path)) == ""
    finally:
        os.umask(before)
    assert len({read_key_file(str(path)) for path in paths}) == 2
    if not IS_WINDOWS:
        assert [stat.S_IMODE(path.stat().st_mode) for path in paths] == [0o600] * 2
        assert stat.S_IMODE((tmp_path / "deep" / "er").stat().st_mode) == 0o700


def test_a_key_file_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "k"
    write_key_file(str(path))
    first = path.read_bytes()
    with pytest.raises(Conflict, match="exists"):
        write_key_file(str(path))
    assert path.read_bytes() == first
    kept = write_key_file(str(path), force=True)
    assert Path(kept).read_bytes() == first != path.read_bytes()
    again = write_key_file(str(path), force=True)
    assert again != kept
    assert Path(kept).read_bytes() == first


def test_a_link_is_not_followed_to_where_a_key_would_be_written(tmp_path: Path) -> None:
    (tmp_path / "k").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Conflict):
        write_key_file(str(tmp_path / "k"))
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("force", [True, False], ids=["forced", "unforced"])
def test_only_a_former_key_file_makes_room_for_a_new_one(tmp_path: Path, *, force: bool) -> None:
    folder, pipe = tmp_path / "folder", tmp_path / "pipe"
    folder.mkdir()
    names = [folder]
    if not IS_WINDOWS:
        os.mkfifo(pipe)
        names.append(pipe)
    for name in names:
        with pytest.raises(InvalidInput, match="no key file"):
            write_key_file(str(name), force=force)
    assert sorted(tmp_path.iterdir()) == names


def test_a_key_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InvalidInput, match="cannot be written"):
        write_key_file(str(tmp_path / "file" / "k"))


@pytest.mark.skipif(IS_WINDOWS, reason="a limit on the size of files")
@pytest.mark.parametrize("former", [True, False], ids=["forced", "new"])
def test_a_key_that_does_not_fit_on_the_disk_leaves_no_half_of_it(tmp_path: Path, *, former: bool) -> None:
    import resource

    path = tmp_path / "k"
    if former:
        write_key_file(str(path))
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    try:
        with pytest.raises(InvalidInput, match="cannot be written"):
            write_key_file(str(path), force=former)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_a_key_file_is_named_by_flag_or_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_keys(load_settings(db="x").encryption_key) is None
    monkeypatch.setenv("HOME", str(tmp_path))
    write_key_file("~/k")
    monkeypatch.setenv("MIMIR_ENCRYPTION_KEY_FILE", "~/k")
    keys = load_keys(load_settings(db="x").encryption_key)
    assert keys is not None
    assert keys.check == Keys(read_key_file(str(tmp_path / "k"))).check


def test_a_key_shows_in_no_text(tmp_path: Path) -> None:
    path = tmp_path / "k"
    write_key_file(str(path))
    keys = load_keys(str(path))
    assert keys is not None
    shown = repr(keys) + str(keys) + repr(keys.bodies) + repr(load_settings(db="x", encryption_key=str(path)))
    assert path.read_text(encoding="ascii") not in shown
    assert keys.pages.hex() not in shown


# --- the head of a file


def test_a_head_tells_the_key(tmp_path: Path) -> None:
    path = str(tmp_path / "m.db")
    assert check_head(HEAD, KEYS, path)
    assert not check_head(b"", KEYS, path)
    assert not check_head(b"", None, path)
    assert not check_head(b"SQLite format 3\0" + HEAD[16:], None, path)
    with pytest.raises(Locked, match="another key"):
        check_head(HEAD, Keys(b"\x08" * 32), path)
    with pytest.raises(Locked, match="no key"):
        check_head(HEAD, None, path)


@pytest.mark.parametrize("place", [16, 17, 20, 21, 22, 23])
def test_a_head_whose_readable_part_was_changed_is_damaged(place: int) -> None:
    """The cipher does not authenticate these bytes; another number of bytes left free would be read wrongly."""
    head = bytearray(HEAD)
    head[place] ^= 1
    with pytest.raises(StorageFailure, match="first bytes"):
        check_head(bytes(head), KEYS, "m.db")


@pytest.mark.parametrize("length", [16, 23])
def test_a_head_that_is_cut_off_is_damaged(length: int) -> None:
    with pytest.raises(StorageFailure, match="first bytes"):
        check_head(HEAD[:length], KEYS, "m.db")


# --- what a process without a key loads

UNSEALED = """
import sys
from mimir import Memory
with Memory.open(sys.argv[1], embedding="off") as memory:
    memory.remember("c", "k", {"content": "green tea"})
    memory.journal("decision")
    assert memory.recall("tea").items
print([name for name in ("cryptography", "mimir.store.sqlite.replacing") if name in sys.modules])
"""


def test_a_store_that_is_not_sealed_needs_no_cipher(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", UNSEALED, str(tmp_path / "m.db")], capture_output=True, text=True, check=True
    )
    assert ended.stdout == "[]\n"
