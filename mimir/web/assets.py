"""The files of the pages, read once, and each page with links to all that it needs, so that nothing waits in line.

The addresses that a page links to hold a digest of all files: a browser keeps what it got there for good, and asks for
everything anew when any of it has changed.
"""

from __future__ import annotations

import hashlib
import mimetypes
import os
import posixpath
import re
from functools import cache
from typing import Final, NamedTuple

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

STATIC: Final = os.path.join(os.path.dirname(__file__), "static")

PAGES: Final = {
    "/": "overview",
    "/memories": "memories",
    "/search": "search",
    "/graph": "graph",
    "/timeline": "timeline",
    "/time": "time",
    "/state": "state",
    "/maintenance": "maintenance",
}
"""The module of each page, by its path."""

_TYPES: Final = {".css": "text/css", ".html": "text/html", ".js": "text/javascript", ".svg": "image/svg+xml"}
"""The types of files, whatever this machine's own table says: a module of another type is not run."""

_STYLES: Final = ("tokens", "base", "shell", "memories", "pages")
"""The style sheets in the order in which they are joined to one."""

_IMPORT: Final = re.compile(r'^import [^"]*"(\.[^"]+)";$', re.MULTILINE)
_MODULES: Final = "<!-- modules -->"
_FOR_GOOD: Final = "public, max-age=31536000, immutable"


class Asset(NamedTuple):
    """A file as it is sent; the entity tag is made of its content."""

    content: bytes
    tag: str
    type: str


@cache
def assets() -> dict[str, Asset]:
    """Return every file of the pages by its path below the folder, with slashes, and `style.css`, all sheets in one."""
    found = {}
    for folder, _, names in os.walk(STATIC):
        for name in names:
            path = os.path.join(folder, name)
            kind = _TYPES.get(os.path.splitext(name)[1]) or mimetypes.guess_type(name)[0] or "application/octet-stream"
            with open(path, "rb") as file:
                found[os.path.relpath(path, STATIC).replace(os.sep, "/")] = _asset(file.read(), kind)
    found["style.css"] = _asset(b"".join(found[f"css/{name}.css"].content for name in _STYLES), "text/css")
    return found


def page(name: str, module: str = "") -> Asset:
    """Return a page that names its files by their lasting addresses, and all modules that `module` of it comes to.

    Without a module it has none.
    """
    linked = modules(f"js/pages/{module}.js", "js/main.js") if module else []
    links = "\n".join(f'<link rel="modulepreload" href="/static/{path}">' for path in linked)
    text = assets()[name].content.decode().replace(_MODULES, links).replace('"/static/', f'"/static/{_digest()}/')
    return _asset(text.encode(), "text/html")


def modules(*entries: str) -> list[str]:
    """Return the paths of modules and of all that they import at once, each once."""
    found = dict.fromkeys(entries)
    waiting = list(entries)
    while waiting:
        path = waiting.pop()
        imported = _IMPORT.findall(assets()[path].content.decode())
        new = [to for name in imported if (to := posixpath.normpath(f"{posixpath.dirname(path)}/{name}")) not in found]
        found |= dict.fromkeys(new)
        waiting += new
    return list(found)


def send_page(request: Request) -> Response:
    """Return the page of a path."""
    return _send(request, _page_at(request.url.path))


def send_asset(request: Request, path: str) -> Response:
    """Return a file, or that the one which the browser has is still right.

    Raises:
        HTTPException: there is no such file.
    """
    lasting = path.startswith(f"{_digest()}/")
    asset = assets().get(path.partition("/")[2] if lasting else path)
    if asset is None:
        raise HTTPException(404)
    return _send(request, asset, {"Cache-Control": _FOR_GOOD} if lasting else {})


def _send(request: Request, asset: Asset, headers: dict[str, str] | None = None) -> Response:
    headers = {"ETag": asset.tag, **(headers or {})}
    if request.headers.get("if-none-match") == asset.tag:
        return Response(status_code=304, headers=headers)
    return Response(asset.content, media_type=asset.type, headers=headers)


def _asset(content: bytes, kind: str) -> Asset:
    return Asset(content, f'"{_hash(content)}"', kind)


@cache
def _page_at(path: str) -> Asset:
    return page("index.html", PAGES[path])


@cache
def _digest() -> str:
    return _hash("".join(sorted(f"{path} {asset.tag}" for path, asset in assets().items())).encode())


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]
