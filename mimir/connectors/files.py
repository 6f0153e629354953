"""The file_watcher connector: a scan of folders that brings the files which have changed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from mimir.config import expand
from mimir.connectors import Document, FileSource, Unreadable
from mimir.documents import extension_of, read_bytes, text_of_document, valid_text
from mimir.errors import InvalidInput, MimirError

NAME: Final = "file_watcher"
CATEGORY: Final = "file"

_SKIPPED: Final = frozenset({"node_modules", "target"})
_SEPARATORS: Final = str.maketrans("/\\", "--")


def scan(source: FileSource, known: Mapping[str, str], most_bytes: int) -> Iterator[Document | Unreadable]:
    """Yield the files below the paths of ``source`` whose content is not the one that ``known`` names, in order.

    ``known`` maps items to positions as documents had them. Hidden files and folders, ``node_modules`` and ``target``
    are left out, and so is every symbolic link below a path: it could lead anywhere, or around in a circle.
    """
    seen: set[str] = set()
    for root in source.paths:
        place = os.path.abspath(expand(root))
        for found in _files(place, source.extensions):
            if isinstance(found, Unreadable):
                yield found
            elif found not in seen:
                seen.add(found)
                try:
                    _check_inside(found, place)
                    document = _document(found, read_bytes(found, most_bytes, follow=found == place), known)
                except MimirError as error:
                    yield Unreadable(key=key_of(found), reason=error.message)
                else:
                    if document is not None:
                        yield document


def key_of(path: str) -> str:
    """Return the key under which a file is remembered."""
    return valid_text(path).translate(_SEPARATORS)


def _check_inside(path: str, root: str) -> None:
    # Between listing and reading, a folder on the way may have become a link.
    if path != root and os.path.commonpath((os.path.realpath(path), os.path.realpath(root))) != os.path.realpath(root):
        raise InvalidInput("it lies outside the folder that is read")


def _document(path: str, data: bytes, known: Mapping[str, str]) -> Document | None:
    item, position = _digest(os.fsencode(path)), _digest(data)
    if known.get(item) == position:
        return None
    return Document(
        item=item,
        position=position,
        key=key_of(path),
        tags=(f"ext:{extension_of(path)}",),
        body={"path": path, "content": text_of_document(path, data)},
    )


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _files(root: str, extensions: Sequence[str]) -> Iterator[str | Unreadable]:
    if os.path.isfile(root):
        yield root
        return
    wanted = {extension.lstrip(".").lower() for extension in extensions}
    failures: list[OSError] = []
    for folder, folders, files in os.walk(root, onerror=failures.append):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in _SKIPPED)
        for name in sorted(files):
            path = os.path.join(folder, name)
            if not name.startswith(".") and extension_of(name) in wanted and not os.path.islink(path):
                yield path
    for error in failures:
        yield Unreadable(key=key_of(str(error.filename)), reason=f"cannot be read: {error.strerror}")
