"""Which workspace is meant when a call names none: the one that is set, or with ``auto`` that of the project."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, NamedTuple

from mimir.config import IS_WINDOWS, named_workspace, option

if TYPE_CHECKING:
    from mimir.config import Settings

AUTO: Final = "auto"

_HASH_DIGITS: Final = 8
_VARIABLE: Final = option("workspace").environment


class Workspace(NamedTuple):
    """The workspace of calls that name none, None when nothing stands for them, and in words why."""

    hash: str | None
    reason: str


def resolve_workspace(settings: Settings, roots: Iterable[str] = ()) -> Workspace:
    """Return the workspace that the settings mean, where ``roots`` are addresses of folders that a client works in.

    ``auto`` takes the first of: a root of the client, the variable of the environment, the Git repository around the
    working directory.
    """
    if settings.workspace != AUTO:
        return Workspace(settings.workspace or None, "as set" if settings.workspace else "none is set")
    for root in roots:
        folder = _folder(root)
        if folder:
            folder = repository(folder) or os.path.realpath(folder)
            return Workspace(name_of(folder), f"the client works in {folder}")
    named = named_workspace()
    if named and named != AUTO:
        return Workspace(named, f"{_VARIABLE} names it")
    found = repository(os.getcwd())
    if found:
        return Workspace(name_of(found), f"the working directory lies in the repository {found}")
    return Workspace(None, f"auto found no root of the client, no {_VARIABLE} and no Git repository: the global one")


def name_of(folder: str) -> str:
    """Return the workspace of a folder: its name and eight hex digits of the SHA-256 of its path."""
    import hashlib

    path = os.path.normcase(folder)
    return f"{os.path.basename(path) or 'root'}-{hashlib.sha256(path.encode()).hexdigest()[:_HASH_DIGITS]}"


def repository(folder: str) -> str | None:
    """Return the Git repository around a folder, for a work tree the main one that it belongs to; None outside any."""
    path = os.path.realpath(folder)
    while True:
        mark = os.path.join(path, ".git")
        if os.path.isdir(mark):
            return path
        if os.path.isfile(mark):
            return _main_tree(mark) or path
        above = os.path.dirname(path)
        if above == path:
            return None
        path = above


def _main_tree(mark: str) -> str | None:
    """Return the main work tree that the ``.git`` file of a linked one names; None for that of a submodule."""
    try:
        with open(mark, encoding="utf-8") as file:
            place = os.path.join(os.path.dirname(mark), file.read().removeprefix("gitdir:").strip())
    except (OSError, UnicodeDecodeError):
        return None
    folder, kind = os.path.split(os.path.dirname(os.path.realpath(place)))
    return os.path.dirname(folder) if kind == "worktrees" and os.path.basename(folder) == ".git" else None


def _folder(root: str) -> str | None:
    """Return the folder of a ``file:`` address; None for any other."""
    from urllib.parse import unquote, urlsplit  # 5 ms, and few clients tell their roots

    try:
        parts = urlsplit(root)
    except ValueError:
        return None
    if parts.scheme != "file" or parts.netloc not in ("", "localhost"):
        return None
    path = unquote(parts.path)
    return path.lstrip("/") if IS_WINDOWS else path
