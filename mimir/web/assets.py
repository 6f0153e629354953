"""The files of the pages, read once: a page asks for two dozen, and each from disk would cost a thread's turn."""

from __future__ import annotations

import hashlib
import mimetypes
import os
from functools import cache
from typing import Final, NamedTuple

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

STATIC: Final = os.path.join(os.path.dirname(__file__), "static")

_TYPES: Final = {".css": "text/css", ".html": "text/html", ".js": "text/javascript", ".svg": "image/svg+xml"}
"""The types of files, whatever this machine's own table says: a module of another type is not run."""


class Asset(NamedTuple):
    """A file as it is sent; the entity tag is made of its content."""

    content: bytes
    tag: str
    type: str


@cache
def assets() -> dict[str, Asset]:
    """Return every file of the pages by its path below the folder, with slashes."""
    found = {}
    for folder, _, names in os.walk(STATIC):
        for name in names:
            path = os.path.join(folder, name)
            kind = _TYPES.get(os.path.splitext(name)[1]) or mimetypes.guess_type(name)[0] or "application/octet-stream"
            with open(path, "rb") as file:
                content = file.read()
            tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
            found[os.path.relpath(path, STATIC).replace(os.sep, "/")] = Asset(content, tag, kind)
    return found


def send_asset(request: Request, path: str) -> Response:
    """Return a file, or that the one which the browser has is still right.

    Raises:
        HTTPException: there is no such file.
    """
    asset = assets().get(path)
    if asset is None:
        raise HTTPException(404)
    headers = {"ETag": asset.tag}
    if request.headers.get("if-none-match") == asset.tag:
        return Response(status_code=304, headers=headers)
    return Response(asset.content, media_type=asset.type, headers=headers)
