"""The files of a vault: which there are, and how one is written whole or not at all and put aside rather than lost."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from operator import attrgetter
from typing import Final, NamedTuple

from mimir.documents import valid_text
from mimir.errors import InvalidInput
from mimir.rules.note import ENDING

TRASH: Final = ".trash"
"""Where Obsidian puts what is deleted, inside the vault; nothing in it is read."""

_PARTIAL: Final = ".mimir-partial-"
_UNSURE_NS: Final = 50_000_000
_SET_BACK_NS: Final = 2 * _UNSURE_NS
_BY_NAME: Final = attrgetter("name")


class Seen(NamedTuple):
    """What tells without reading it that a file may have changed."""

    size: int
    changed_ns: int


def note_files(folder: str) -> tuple[dict[str, Seen], list[str]]:
    """Return the notes of a folder and of those in it by their path inside, and what could not be looked at.

    Names that begin with a dot are left out, and so are links that lead out of the folder.
    """
    found: dict[str, Seen] = {}
    errors: list[str] = []
    root = os.path.realpath(folder)
    open_ = [""]
    while open_:
        inside = open_.pop()
        try:
            with os.scandir(os.path.join(folder, inside)) as entries:
                for entry in sorted(entries, key=_BY_NAME):
                    name = entry.name
                    if name.startswith("."):
                        continue
                    path = f"{inside}/{name}" if inside else name
                    try:
                        if entry.is_dir():
                            if _is_folder(entry, root):
                                open_.append(path)
                        elif name.endswith(ENDING):
                            found[path] = _seen(entry, root)
                    except (OSError, InvalidInput) as error:
                        errors.append(f"{os.path.join(folder, path)}: {reason_of(error)}")
        except OSError as error:
            errors.append(f"{os.path.join(folder, inside)}: {reason_of(error)}")
    return found, errors


def sure(seen: Seen) -> Seen:
    """Return what a file is like; one that changed so lately may change again without a later time to show for it."""
    return seen if time.time_ns() - seen.changed_ns > _UNSURE_NS else Seen(seen.size, 0)


def look(folder: str, path: str) -> Seen | None:
    """Return what a file is like now, or None if there is none."""
    try:
        about = os.lstat(os.path.join(folder, path))
    except OSError:
        return None
    return Seen(about.st_size, about.st_mtime_ns)


def write_file(folder: str, path: str, text: str, mark: str) -> Seen:
    """Write a file whole or not at all, by giving its name to one that is complete; return what it is like.

    ``mark`` makes the name of that one its own. Its time is set back a little: no later edit can have the same one,
    however soon it comes, so that a file that looks like this one is this one.

    Raises:
        InvalidInput: what is there is no regular file, or its folder leads out of the vault.
        OSError: it cannot be written.
    """
    whole = os.path.join(folder, path)
    parent = os.path.dirname(whole)
    try:
        if not stat.S_ISREG(os.lstat(whole).st_mode):
            raise InvalidInput("it is no regular file, and was left alone")
    except FileNotFoundError:
        os.makedirs(parent, exist_ok=True)
    _require_inside(parent, os.path.realpath(folder))
    partial = os.path.join(parent, _PARTIAL + mark)
    try:
        with open(partial, "xb") as file:
            file.write(text.encode())
        earlier = time.time_ns() - _SET_BACK_NS
        # Some file systems refuse it; what was written there is not sure until it is read again.
        with suppress(OSError):
            os.utime(partial, ns=(earlier, earlier))
        about = os.stat(partial)
        os.replace(partial, whole)
    except BaseException:
        if os.path.lexists(partial):
            os.remove(partial)
        raise
    return Seen(about.st_size, about.st_mtime_ns)


def put_aside(folder: str, path: str, *, copy: bool = False) -> None:
    """Move a file, or a copy of it, into the trash of the vault under a name that is free there.

    Raises:
        OSError: it cannot be moved.
    """
    stem, ending = os.path.splitext(os.path.join(folder, TRASH, path))
    os.makedirs(os.path.dirname(stem), exist_ok=True)
    _require_inside(os.path.dirname(stem), os.path.realpath(folder))
    target = next(name for name in _names(stem, ending) if not os.path.lexists(name))
    source = os.path.join(folder, path)
    if copy:
        import shutil

        shutil.copy2(source, target, follow_symlinks=False)
    else:
        os.replace(source, target)


def remove_partial(folder: str) -> None:
    """Remove files at the top of a vault that a process which was ended has left half-written."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(_PARTIAL) and entry.is_file(follow_symlinks=False):
                os.remove(entry.path)


def _names(stem: str, ending: str) -> Iterator[str]:
    yield stem + ending
    number = 2
    while True:
        yield f"{stem} {number}{ending}"
        number += 1


def _is_folder(entry: os.DirEntry[str], root: str) -> bool:
    _require_text(entry.name)
    _require_inside(entry.path, root)
    # A link to another place of the vault is left out: what is there is seen there.
    return not entry.is_symlink()


def _seen(entry: os.DirEntry[str], root: str) -> Seen:
    if entry.is_symlink():
        _require_inside(entry.path, root)
    _require_text(entry.name)
    about = entry.stat()
    if not stat.S_ISREG(about.st_mode):
        raise InvalidInput("it is no regular file")
    return Seen(about.st_size, about.st_mtime_ns)


def _require_inside(path: str, root: str) -> None:
    real = os.path.realpath(path)
    if real != root and not real.startswith(os.path.join(root, "")):
        raise InvalidInput("the link leads out of the folder")


def _require_text(name: str) -> None:
    if not name.isascii() and valid_text(name) != name:
        raise InvalidInput("its name is no valid text")


def reason_of(error: Exception) -> str:
    """Return in words why a file could not be read or written."""
    return getattr(error, "strerror", None) or getattr(error, "message", "") or str(error)
