"""GitHub's REST API as far as the connector uses it, on this machine: pages, marks, limits, and faults on demand."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

TOKEN = "ghp_a-token-for-tests-only"
PREFIX = "/api/v3"

Json = Any
Fault = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """One request: a fault if one is due, else what the API answers."""

    server: GithubServer  # type: ignore[mutable-override]  # the base class declares any server

    def do_GET(self) -> None:
        self.server.requests.append(self.path)
        fault = self.server.faults.pop(0) if self.server.faults else None
        if fault is not None:
            fault(self)
        else:
            self.answer()

    def answer(self) -> None:
        server = self.server
        if self.headers.get("Authorization") not in (None, f"Bearer {TOKEN}"):
            self.send(401, {"message": "Bad credentials"})
            return
        address = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(address.query).items()}
        items = server.listed(address.path.removeprefix(f"{PREFIX}/"), query)
        if items is None:
            self.send(404, {"message": "Not Found"})
            return
        size, page = int(query.get("per_page", 30)), int(query.get("page", 1))
        shown = items[(page - 1) * size : page * size]
        mark = f'W/"{hashlib.sha256(json.dumps(shown).encode()).hexdigest()}"'
        headers = {"ETag": mark}
        if len(items) > page * size:
            following = f"{server.address}{address.path}?{urlencode({**query, 'page': page + 1})}"
            headers["Link"] = f'<{server.address}/first>; rel="first", <{following}>; rel="next"'
        if self.headers.get("If-None-Match") == mark:
            self.send(304, None, **headers)
            return
        if server.remaining is not None:
            server.remaining -= 1
            headers |= {"X-RateLimit-Remaining": str(server.remaining), "X-RateLimit-Reset": str(server.reset)}
        self.send(200, shown, **headers)

    def send(self, status: int, body: Json, **headers: str) -> None:
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""


class GithubServer(ThreadingHTTPServer):
    """Repositories by name, each with its issues by number; `faults` come first, one a request, None for no fault."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories: dict[str, dict[int, dict[str, Json]]] = {}
        self.comments: dict[str, list[dict[str, Json]]] = {}
        self.faults: list[Fault | None] = []
        self.requests: list[str] = []
        self.remaining: int | None = None
        self.reset = 0
        self.released = threading.Event()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def add(self, repository: str, number: int, updated: str, **fields: Json) -> None:
        """Add an issue, or a pull request if ``fields`` say so; its comments are those that were added before."""
        count = len(self.comments.get(f"{repository}/issues/{number}/comments", ()))
        self.repositories.setdefault(repository, {})[number] = {
            "number": number,
            "title": f"Title {number}",
            "body": f"Body {number}",
            "state": "open",
            "html_url": f"https://github.example/{repository}/issues/{number}",
            "user": {"login": "ann"},
            "created_at": "2025-06-01T00:00:00Z",
            "updated_at": updated,
            "closed_at": None,
            "labels": [],
            "comments": count,
            **fields,
        }

    def say(self, place: str, author: str, created: str, body: str, **fields: Json) -> None:
        """Add a comment under a path such as ``owner/name/issues/1/comments``."""
        comment = {"user": {"login": author}, "created_at": created, "body": body, **fields}
        self.comments.setdefault(place, []).append(comment)

    def listed(self, path: str, query: dict[str, str]) -> list[Json] | None:
        place = path.removeprefix("repos/")
        owner, _, rest = place.partition("/")
        name, _, what = rest.partition("/")
        issues = self.repositories.get(f"{owner}/{name}")
        if issues is None:
            return None
        if what != "issues":
            return self.comments.get(place, [])
        found = [issue for issue in issues.values() if issue["updated_at"] >= query["since"]]
        return sorted(found, key=lambda issue: str(issue["updated_at"]), reverse=query["direction"] == "desc")

    def handle_error(self, request: object, client_address: object) -> None:
        """Print nothing: clients of these tests leave early on purpose."""


def fail(status: int, body: Json = None, **headers: str) -> Fault:
    """Return the fault of answering with this status."""
    return lambda handler: handler.send(status, {"message": "no"} if body is None else body, **headers)


def hang(handler: Handler) -> None:
    """Do not answer until the test is over."""
    handler.server.released.wait()


@contextmanager
def serving() -> Iterator[GithubServer]:
    """Serve until the block ends."""
    with GithubServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.released.set()
            server.shutdown()
            thread.join()
