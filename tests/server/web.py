"""A real server over HTTP, and raw requests to it."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
import ssl
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from mimir.config import environment_for_child
from tests.server.client import MODERN_META, PATIENCE_S

ACCEPT = "application/json, text/event-stream"
JSON = "application/json"


class Reply(NamedTuple):
    """What came back: the status, the headers by lower-case name, and the body."""

    status: int
    headers: dict[str, str]
    body: bytes

    def message(self) -> dict[str, Any]:
        """Return the JSON-RPC message of the body, the last one of a stream."""
        body = self.body
        if self.headers["content-type"].startswith("text/event-stream"):
            body = re.findall(rb"^data: (.+?)\r?$", body, re.MULTILINE)[-1]
        message: dict[str, Any] = json.loads(body)
        return message


class WebServer:
    """A running server. It prints its address on standard error and must print nothing else."""

    def __init__(self, command: list[str], port: int, folder: Path | None = None, /, **environment: str) -> None:
        self.port = port
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment_for_child(**environment),
        )
        assert self.process.stderr is not None
        self.address = self.process.stderr.readline().decode().strip()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def connect(self, timeout: float = PATIENCE_S) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def send(self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None) -> Reply:
        """Send one request on a connection of its own; what is no text or bytes goes as JSON."""
        if body is not None and not isinstance(body, (str, bytes)):
            body = json.dumps(body)
        sent = {"Content-Type": JSON, "Accept": ACCEPT, **(headers or {})}
        connection = self.connect()
        try:
            with suppress(BrokenPipeError, ConnectionResetError):  # it may have its answer before it has read all
                connection.request(method, path, body, {name: value for name, value in sent.items() if value})
            response = connection.getresponse()
            named = {name.lower(): value for name, value in response.getheaders()}
            return Reply(response.status, named, response.read())
        finally:
            connection.close()

    def post(self, message: object, path: str = "/message", **headers: str) -> Reply:
        return self.send("POST", path, message, {name.replace("_", "-"): value for name, value in headers.items()})

    def ask(self, message: dict[str, Any], session: str = "") -> dict[str, Any]:
        """Send a request to ``/mcp`` in the era it is written for and return the reply."""
        headers = {"Mcp-Session-Id": session} if session else {}
        params = message["params"]
        if params.get("_meta", {}).keys() >= MODERN_META.keys():
            headers |= {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": message["method"]}
            if name := params.get("name") or params.get("uri"):
                headers["Mcp-Name"] = name
        return self.send("POST", "/mcp", message, headers).message()

    def open_session(self, version: str = "2025-11-25") -> str:
        """Shake hands as the revisions before 2026 do, and return the session's identifier."""
        params = {"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
        reply = self.post({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}, "/mcp")
        session = reply.headers["mcp-session-id"]
        done = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        assert self.post(done, "/mcp", Mcp_Session_Id=session).status == 202
        return session

    def is_alive(self) -> bool:
        return self.send("GET", "/healthz").status == 200

    def close(self) -> None:
        """Stop the server; it must end by itself, with status 0 and no word."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            printed, errors = self.process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        assert (self.process.returncode, printed, errors.decode()) == (0, b"", "")


class StreamClient:
    """A client of the older transport: what it posts is answered on the stream it holds open."""

    def __init__(self, server: WebServer, headers: Mapping[str, str] | None = None) -> None:
        self._server = server
        self._connection = server.connect()
        self._connection.request("GET", "/sse", headers={"Accept": "text/event-stream", **(headers or {})})
        self._stream = self._connection.getresponse()
        assert self._stream.status == 200
        self.endpoint = self.next_event("endpoint")

    def next_event(self, kind: str) -> str:
        """Return the data of the next event of a kind."""
        seen = ""
        while line := self._stream.readline().decode():
            name, _, value = line.rstrip("\r\n").partition(": ")
            if name == "event":
                seen = value
            elif name == "data" and seen == kind:
                return value
        raise AssertionError("the stream has ended")

    def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        assert self._server.post(message, self.endpoint).status == 202
        reply: dict[str, Any] = json.loads(self.next_event("message"))
        return reply

    def close(self) -> None:
        self._stream.close()
        self._connection.close()


class Serve(Protocol):
    """Starts a server over HTTP on the test's store, with flags and changes of the environment."""

    def __call__(self, *flags: str, **environment: str) -> WebServer: ...


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def trusting(certificate: str) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=certificate)
