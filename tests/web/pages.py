"""A browser's side of the dashboard, without a browser."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import quote, urlencode

from tests.server.web import Reply, WebServer


class Page:
    """One browser: it keeps its cookie and sends the second secret with what it changes."""

    def __init__(self, server: WebServer) -> None:
        self.server = server
        self.cookie = ""
        self.csrf = ""

    def another(self) -> Page:
        """Return another browser at the same server."""
        return Page(self.server)

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> Reply:
        """Send one request as it stands, with the cookie if there is one."""
        sent = {"Cookie": self.cookie} if self.cookie else {}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        return self.server.send(method, path, body, sent)

    def get(self, path: str, *, expects: int = 200, **query: str | int) -> Any:  # noqa: ANN401 - any JSON value
        reply = self.ask("GET", path + ("&" if "?" in path else "?") + urlencode(query))
        assert reply.status == expects, reply.body
        return json.loads(reply.body)

    def begin(self) -> Mapping[str, Any]:
        """Begin a session as the first page does, and return what it is told."""
        reply = self.ask("GET", "/api/session")
        assert reply.status == 200
        if "set-cookie" in reply.headers:
            self.cookie = reply.headers["set-cookie"].partition(";")[0]
        told: dict[str, Any] = json.loads(reply.body)
        self.csrf = told["csrf"]
        return told

    def change(self, method: str, path: str, *, expects: int = 200, **body: object) -> Any:  # noqa: ANN401 - any JSON value
        """Change something as a page does."""
        if not self.csrf:
            self.begin()
        reply = self.ask(method, path, body, X_CSRF_Token=self.csrf, Origin=self.server.url)
        assert reply.status == expects, reply.body
        return json.loads(reply.body)

    def find(self, key: str, **query: str) -> dict[str, Any]:
        """Return the only listed memory with a key."""
        (found,) = [
            one for one in self.get(f"/api/entities?limit=1000&{urlencode(query)}")["items"] if one["key"] == key
        ]
        return dict(found)


class StartWeb(Protocol):
    """Starts a dashboard on the test's store, with flags and changes of the environment."""

    def __call__(self, *flags: str, words: tuple[str, ...] = ("web",), path: str = ..., **environment: str) -> Page: ...


def entity_path(entity_id: str, *rest: str) -> str:
    return "/".join(("/api/entities", quote(entity_id, safe=""), *rest))
