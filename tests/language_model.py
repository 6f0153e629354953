"""A language model's server on this machine, which speaks both protocols and says what it is told to; it embeds too."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.doubles import WordEmbedder

Reply = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """One request: it is kept, and answered as the server is set up."""

    server: ModelServer  # type: ignore[mutable-override]  # the base class declares any server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append((self.path, dict(self.headers), json.loads(body)))
        self.server.reply(self)

    def do_GET(self) -> None:
        self.server.requests.append((self.path, dict(self.headers), None))
        self.send(200, b"{}")

    def send(self, status: int, data: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""


class ModelServer(ThreadingHTTPServer):
    """A server that keeps what it was asked; `reply` answers, by default with `answer` in the protocol of the path."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer = "We chose SQLite [database]."
        self.embedder = WordEmbedder()
        self.requests: list[tuple[str, dict[str, str], Any]] = []
        self.reply: Reply = self.say
        self.released = threading.Event()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def say(self, handler: Handler) -> None:
        asked = self.requests[-1][2]
        if handler.path.endswith(("/api/embed", "/embeddings")):
            handler.send(200, json.dumps(self.embedded(handler.path, asked["input"])).encode())
            return
        said = {"role": "assistant", "content": self.answer}
        message: dict[str, Any] = {"choices": [{"message": said}]}
        if handler.path.endswith(("/api/chat", "/api/generate")):
            message = {"message": said} if handler.path.endswith("chat") else {"response": self.answer}
        handler.send(200, json.dumps(message).encode())

    def embedded(self, path: str, texts: list[str]) -> dict[str, Any]:
        vectors = self.embedder.embed(texts).tolist()
        if path.endswith("/api/embed"):
            return {"model": "m", "embeddings": vectors}
        # In no order: the index tells.
        rows = [{"object": "embedding", "index": place, "embedding": one} for place, one in enumerate(vectors)]
        return {"object": "list", "data": rows[::-1]}

    def handle_error(self, request: object, client_address: object) -> None:
        """Print nothing: clients of these tests leave early on purpose."""


@contextmanager
def serving() -> Iterator[ModelServer]:
    """Serve until the block ends."""
    with ModelServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.released.set()
            server.shutdown()
            thread.join()
