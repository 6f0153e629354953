"""The file_watcher connector: a scan of folders that brings the files which have changed or are gone."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Final

from mimir.config import expand
from mimir.connectors import Document, FileSource, Found, Text, Unreadable
from mimir.documents import decode, extension_of, read_bytes, text_of_document, valid_text
from mimir.errors import InvalidInput, MimirError
from mimir.rules.ignoring import Rules, is_ignored, read_rules
from mimir.rules.text import cut_text

NAME: Final = "file_watcher"
CATEGORY: Final = "file"

IGNORE_FILES: Final = (".gitignore", ".mimirignore")
"""Files that name what is left out of their folder; what the second says comes last."""

LONGEST_PART: Final = 16_000
"""Most characters of a file that one memory takes: some four thousand tokens, which a reader can use as a whole.

A longer file becomes several memories. They share a topic path, so that those beside a hit lend it their relevance,
and none of them is as long as to be held back in ranking for its length.
"""

_SKIPPED: Final = frozenset({"node_modules", "target"})
_SEPARATORS: Final = str.maketrans("/\\", "--")
_LARGEST_IGNORE_BYTES: Final = 1024 * 1024


def scan(
    source: FileSource,
    known: Mapping[str, str],
    most_bytes: int,
    *,
    path_of: Callable[[str], str | None],
    only: Collection[str] | None = None,
) -> Iterator[Found]:
    """Yield the files below the paths of ``source`` whose content is not the one that ``known`` names, in order.

    ``known`` maps items to positions as documents had them; of one that is not found any more, ``path_of`` tells where
    it was, and it is yielded without texts if nothing is there now. Given ``only``, nothing is read but these files and
    what lies in these folders.

    Left out are hidden files and folders, ``node_modules`` and ``target``, what the `IGNORE_FILES` name, and every
    symbolic link below a path: it could lead anywhere, or around in a circle.
    """
    seen: set[str] = set()
    read: list[str] = []
    for root in source.paths:
        place = os.path.abspath(expand(root))
        complete = True
        for found in _files(place, source.extensions):
            if isinstance(found, Unreadable):
                complete = False
                yield found
            elif (item := _item(found)) not in seen:
                seen.add(item)
                if only is not None and not _is_meant(found, only):
                    continue
                try:
                    _check_inside(found, place)
                    document = _document(found, place, read_bytes(found, most_bytes, follow=found == place), known)
                except MimirError as error:
                    yield Unreadable(key=key_of(found), reason=error.message)
                else:
                    if document is not None:
                        yield document
        read += [place] if complete else []
    for item, position in known.items():
        if position and item not in seen and _is_gone(path_of(item), read):
            yield Document(item=item, position="", texts=())


def may_matter(path: str, roots: Sequence[str], extensions: Sequence[str]) -> bool:
    """Tell whether a scan of ``roots`` may find anything else after a change of ``path``."""
    root = next((root for root in roots if _is_below(path, root)), "")
    *above, name = path[len(root) :].strip(os.sep).split(os.sep)
    if any(part.startswith(".") or part in _SKIPPED for part in above):
        return False
    # What has no extension that is asked for may be a folder, which took files with it or brought some.
    return (
        name in IGNORE_FILES or extension_of(name) in _bare(extensions) or os.path.isdir(path) or not extension_of(name)
    )


def key_of(path: str) -> str:
    """Return the key under which a file is remembered."""
    return valid_text(path).translate(_SEPARATORS)


def _is_meant(path: str, only: Collection[str]) -> bool:
    while path not in only:
        path, below = os.path.dirname(path), path
        if path == below:
            return False
    return True


def _bare(extensions: Sequence[str]) -> set[str]:
    return {extension.lstrip(".").lower() for extension in extensions}


def _is_gone(path: str | None, roots: Sequence[str]) -> bool:
    # Only below a path that could be listed: a disk that is not there now has lost nothing.
    return path is not None and not os.path.lexists(path) and any(_is_below(path, root) for root in roots)


def _is_below(path: str, root: str) -> bool:
    return path == root or path.startswith(os.path.join(root, ""))


def _check_inside(path: str, root: str) -> None:
    # Between listing and reading, a folder on the way may have become a link.
    if path != root and os.path.commonpath((os.path.realpath(path), os.path.realpath(root))) != os.path.realpath(root):
        raise InvalidInput("it lies outside the folder that is read")


def _document(path: str, root: str, data: bytes, known: Mapping[str, str]) -> Document | None:
    item, position = _item(path), _digest(data)
    if known.get(item) == position:
        return None
    below = os.path.relpath(path, os.path.dirname(root)).replace(os.sep, "/")
    parts = cut_text(text_of_document(path, data), LONGEST_PART)
    texts = tuple(
        Text(
            category=CATEGORY,
            key=key_of(path) if number == 1 else f"{key_of(path)}#{number}",
            tags=(f"ext:{extension_of(path)}",),
            body={"path": path, **({"part": f"{number} of {len(parts)}"} if len(parts) > 1 else {}), "content": part},
            topic_path=valid_text(f"{CATEGORY}/{below}"),
        )
        for number, part in enumerate(parts, start=1)
    )
    return Document(item=item, position=position, texts=texts)


def _item(path: str) -> str:
    return _digest(os.fsencode(path))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _files(root: str, extensions: Sequence[str]) -> Iterator[str | Unreadable]:
    if os.path.isfile(root):
        yield root
        return
    wanted = _bare(extensions)
    failures: list[OSError] = []
    rules: dict[str, tuple[Rules, ...]] = {}
    for folder, folders, files in os.walk(root, onerror=failures.append):
        below = os.path.relpath(folder, root).replace(os.sep, "/").removeprefix(".")
        try:
            here = (*rules.get(os.path.dirname(folder), ()), *_rules(folder, below, files))
        except MimirError as error:
            folders.clear()
            yield Unreadable(key=key_of(folder), reason=f"it is left out: {error.message}")
            continue
        rules[folder] = here
        folders[:] = [name for name in sorted(folders) if _is_wanted(name, below, here, is_folder=True)]
        for name in sorted(files):
            path = os.path.join(folder, name)
            if extension_of(name) in wanted and _is_wanted(name, below, here) and not os.path.islink(path):
                yield path
    for failure in failures:
        yield Unreadable(key=key_of(str(failure.filename)), reason=f"cannot be read: {failure.strerror}")


def _rules(folder: str, below: str, files: Sequence[str]) -> list[Rules]:
    return [
        read_rules(decode(path, read_bytes(path, _LARGEST_IGNORE_BYTES, follow=False)), below)
        for name in IGNORE_FILES
        if name in files
        for path in (os.path.join(folder, name),)
    ]


def _is_wanted(name: str, below: str, rules: Sequence[Rules], *, is_folder: bool = False) -> bool:
    if name.startswith(".") or (is_folder and name in _SKIPPED):
        return False
    return not is_ignored(f"{below}/{name}" if below else name, is_folder=is_folder, rules=rules)
