"""Imports: what other programs have kept, as memories; one small reader for each format, all in one table."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Final, NamedTuple, TypeAlias

import msgspec
from msgspec import Struct

from mimir.documents import extension_of, read_bytes, valid_text
from mimir.errors import InvalidInput
from mimir.model import Json

_NOT_FOUND: Final = "Name the format, or give a file or folder of one: "
_TRIED: Final = 50
_LATEST_SECONDS: Final = 100_000_000_000
_YEARS_MS: Final = range(-62_135_596_800_000, 253_402_300_800_000)


class Item(Struct, frozen=True, kw_only=True):
    """One memory to be; `names` are what links may call it, `at_unix_ms` is when it was said or written down."""

    category: str
    key: str
    body: dict[str, Json]
    kind: str = "insight"
    topic_path: str = ""
    tags: tuple[str, ...] = ()
    at_unix_ms: int | None = None
    names: tuple[str, ...] = ()


class Edge(Struct, frozen=True, kw_only=True):
    """A link from one item to another, each by one of its names."""

    source: str
    target: str
    relationship: str


class Problem(Struct, frozen=True, kw_only=True):
    """One thing in an export that cannot be read: where, and why."""

    place: str
    reason: str


Found: TypeAlias = Item | Edge | Problem
Reader: TypeAlias = Callable[[str, bytes], Iterator[Found]]


class Format(NamedTuple):
    """One format: what it is, which files of a folder or archive it is in, how to know it, and how to read a file."""

    about: str
    is_named_so: Callable[[str], bool]
    fits: Callable[[str, bytes], bool]
    read: Reader


class File(NamedTuple):
    """One file of an export: its name below what was given, and its content when it is asked for."""

    name: str
    read: Callable[[], bytes]


def files_of(path: str, most_bytes: int) -> Iterator[File]:
    """Yield the files that an export consists of: itself, those of a folder and below, or those of a zip archive.

    No symbolic link inside a folder is followed. Reading a file raises InvalidInput if it is larger than
    ``most_bytes``, unpacked or not.

    Raises:
        InvalidInput: there is nothing at ``path``, or it is a damaged archive.
    """
    if os.path.isdir(path):
        for folder, folders, files in os.walk(path):
            folders.sort()
            for name in sorted(files):
                place = os.path.join(folder, name)
                if not os.path.islink(place):
                    below = os.path.relpath(place, path).replace(os.sep, "/")
                    yield File(below, partial(read_bytes, place, most_bytes, follow=False))
    elif extension_of(path) == "zip":
        yield from _members(path, most_bytes)
    else:
        read_bytes(path, most_bytes)
        yield File(os.path.basename(path), partial(read_bytes, path, most_bytes))


def _members(path: str, most_bytes: int) -> Iterator[File]:
    import io

    try:
        archive = zipfile.ZipFile(io.BytesIO(read_bytes(path, most_bytes)))
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        raise InvalidInput(f"{path}: no zip archive, or a damaged one: {error}", hint="Download it anew.") from None

    def read(member: zipfile.ZipInfo) -> bytes:
        try:
            # The size that an archive tells may be a lie, so one byte more is asked for than may come.
            with archive.open(member) as file:
                data = file.read(most_bytes + 1)
        except (zipfile.BadZipFile, RuntimeError, NotImplementedError, OSError, ValueError, EOFError) as error:
            raise InvalidInput(f"{member.filename}: cannot be unpacked: {error}", hint="Unpack it yourself.") from None
        if len(data) > most_bytes:
            raise InvalidInput(
                f"{member.filename}: it unpacks to more than {most_bytes} bytes"
                " (raise MIMIR_MAX_INGEST_BYTES to override)",
                hint="Raise the limit.",
            )
        return data

    for member in archive.infolist():
        if not member.is_dir():
            yield File(member.filename, partial(read, member))


def detect(files: list[File], formats: Mapping[str, Format]) -> str:
    """Return the name of the first format that one of the first files is in.

    Raises:
        InvalidInput: none of them is in any.
    """
    tried = 0
    for file in files:
        candidates = [name for name, one in formats.items() if one.is_named_so(file.name) or len(files) == 1]
        if not candidates:
            continue
        data = file.read()
        for name in candidates:
            if formats[name].fits(file.name, data):
                return name
        tried += 1
        if tried == _TRIED:
            break
    raise InvalidInput(f"None of the {len(files)} files is in a known format.", hint=_NOT_FOUND + ", ".join(formats))


def records(name: str, data: bytes) -> Iterator[tuple[str, dict[str, Json]] | Problem]:
    """Yield the objects of a file with one of JSON a line, each with its place; what is none is a problem."""
    for number, line in enumerate(data.split(b"\n"), start=1):
        if not line.strip():
            continue
        place = f"{base_name(name)}:{number}"
        try:
            record = msgspec.json.decode(line)
        except (ValueError, RecursionError) as error:
            yield Problem(place=place, reason=f"no JSON: {error}")
            continue
        if isinstance(record, dict):
            yield place, record
        else:
            yield Problem(place=place, reason="no JSON object")


def first_records(data: bytes) -> list[dict[str, Json]]:
    """Return the objects in the first lines of a file."""
    head = b"\n".join(data.split(b"\n", 20)[:20])
    return [found[1] for found in records("", head) if isinstance(found, tuple)]


def whole(data: bytes) -> Json:
    """Return the JSON value that a file holds, None if it holds none."""
    try:
        return msgspec.json.decode(data.removeprefix(b"\xef\xbb\xbf"))
    except (ValueError, RecursionError):
        return None


def objects(value: Json) -> list[dict[str, Json]]:
    """Return the objects in a list, the one that is given, or none."""
    if isinstance(value, dict):
        return [value]
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def text(value: Json) -> str:
    """Return a text as it is and anything else as the empty text."""
    return value if isinstance(value, str) else ""


def base_name(name: str) -> str:
    """Return the last part of a file's name, as a memory may hold it."""
    return valid_text(name.rpartition("/")[2])


def moment(value: Json) -> int | None:
    """Return an instant in milliseconds since 1970, told in ISO 8601 or as a number of seconds or milliseconds."""
    try:
        if isinstance(value, str) and value:
            told = datetime.fromisoformat(value)
            found = round((told if told.tzinfo else told.replace(tzinfo=UTC)).timestamp() * 1000)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            found = round(value * 1000 if abs(value) < _LATEST_SECONDS else value)
        else:
            return None
    except (ValueError, OverflowError):
        return None
    return found if found in _YEARS_MS else None


def told_time(unix_ms: int) -> str:
    """Return an instant in ISO 8601, to the second."""
    return datetime.fromtimestamp(unix_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def shortened(words: str, most: int) -> str:
    """Return a text in one line of at most about ``most`` characters, and how many more there were."""
    line = " ".join(words.split())
    return line if len(line) <= most else f"{line[:most]} ... ({len(line) - most} more characters)"
