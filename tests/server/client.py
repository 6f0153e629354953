"""A client of a real server process: lines in, lines out, nothing between."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from queue import Queue
from typing import Any, Protocol

from mimir.config import environment_for_child

PATIENCE_S = 60.0
"""How long a test waits for what must come; only a failing test waits that long."""

VERSION_KEY = "io.modelcontextprotocol/protocolVersion"
CAPABILITIES_KEY = "io.modelcontextprotocol/clientCapabilities"
MODERN_META = {
    VERSION_KEY: "2026-07-28",
    CAPABILITIES_KEY: {},
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
}
SERVE = (sys.executable, "-m", "mimir", "serve")


def request(number: object, method: str, **params: object) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


def call(number: object, tool: str, **arguments: object) -> dict[str, Any]:
    return request(number, "tools/call", name=tool, arguments=arguments)


def remember(number: object, key: str, text: str = "x") -> dict[str, Any]:
    return call(number, "mimir_remember", category="note", key=key, body_json={"content": text})


def wire(message: object) -> bytes:
    return json.dumps(message).encode() + b"\n"


class Client:
    """A running server. It must print nothing on standard error, unless a test takes that away with `errors`."""

    def __init__(self, command: Iterable[str], **environment: str) -> None:
        self.process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment_for_child(**environment),
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.stdin = self.process.stdin
        self.lines: Queue[bytes] = Queue()
        self._errors: list[bytes] = []
        stdout, stderr = self.process.stdout, self.process.stderr

        def read_output() -> None:
            for line in stdout:
                self.lines.put(line)
            self.lines.put(b"")

        def read_errors() -> None:
            self._errors.append(stderr.read())

        self._readers = [threading.Thread(target=read_output), threading.Thread(target=read_errors)]
        for reader in self._readers:
            reader.start()

    def send(self, *messages: object) -> None:
        self.send_bytes(b"".join(wire(message) for message in messages))

    def send_bytes(self, data: bytes) -> None:
        self.stdin.write(data)
        self.stdin.flush()

    def receive(self) -> dict[str, Any]:
        """Return the next reply, which must come."""
        line = self.lines.get(timeout=PATIENCE_S)
        assert line.endswith(b"\n")
        reply: dict[str, Any] = json.loads(line)
        return reply

    def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        """Send one request and return the reply to it."""
        self.send(message)
        reply = self.receive()
        assert reply["id"] == message["id"]
        return reply

    def use(self, tool: str, **arguments: object) -> dict[str, Any]:
        """Call a tool that must succeed and return its structured content."""
        result = self.ask(call(0, tool, **arguments))["result"]
        assert "isError" not in result
        content: dict[str, Any] = result["structuredContent"]
        return content

    def fail(self, tool: str, **arguments: object) -> dict[str, Any]:
        """Call a tool that must fail and return its structured content."""
        result = self.ask(call(0, tool, **arguments))["result"]
        assert result["isError"] is True
        content: dict[str, Any] = result["structuredContent"]
        return content

    def end(self) -> list[dict[str, Any]]:
        """Close standard input and return what still came; the server must end with status 0."""
        self.stdin.close()
        assert self.process.wait(PATIENCE_S) == 0
        return self.rest()

    def rest(self) -> list[dict[str, Any]]:
        """Return the replies up to the end of the output."""
        lines = list(iter(lambda: self.lines.get(timeout=PATIENCE_S), b""))
        return [json.loads(line) for line in lines]

    def errors(self) -> str:
        """Return what was printed on standard error, once the process has ended; from then on nothing is expected."""
        self.process.wait(PATIENCE_S)
        for reader in self._readers:
            reader.join(PATIENCE_S)
        printed = b"".join(self._errors).decode()
        self._errors.clear()
        return printed

    def close(self) -> None:
        if not self.stdin.closed:
            self.stdin.close()
        try:
            self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        finally:
            printed = self.errors()
            for stream in (self.process.stdout, self.process.stderr):
                if stream is not None:
                    stream.close()
        assert printed == "", printed


class Start(Protocol):
    """Starts a server on the test's store, with flags and changes of the environment."""

    def __call__(self, *flags: str, **environment: str) -> Client: ...


Run = Callable[..., subprocess.CompletedProcess[bytes]]
"""Runs a server on the test's store with the given input to its end."""
