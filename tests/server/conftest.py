"""Servers for tests: each a real process on the test's own store."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from mimir.config import environment_for_child
from tests.server.client import PATIENCE_S, SERVE, Client, Run, Start
from tests.server.web import Serve, WebServer, free_port


@pytest.fixture
def start(db: str) -> Iterator[Start]:
    clients: list[Client] = []

    def start_server(*flags: str, **environment: str) -> Client:
        clients.append(Client((*SERVE, "--db", db, *flags), **environment))
        return clients[-1]

    yield start_server
    for client in clients:
        client.close()


@pytest.fixture
def server(start: Start) -> Client:
    """Return a running server that finds by words only."""
    return start("--embedding", "off")


@pytest.fixture
def run(db: str) -> Run:
    def run_server(given: bytes, *flags: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [*SERVE, "--db", db, *flags],
            input=given,
            capture_output=True,
            timeout=PATIENCE_S,
            check=False,
            env=environment_for_child(**environment),
        )

    return run_server


@pytest.fixture
def serve(db: str) -> Iterator[Serve]:
    servers: list[WebServer] = []

    def serve_http(*flags: str, **environment: str) -> WebServer:
        port = free_port()
        settings = ("--db", db, "--embedding", "off", "--transport", "http", "--port", str(port))
        servers.append(WebServer([*SERVE, *settings, *flags], port, **environment))
        return servers[-1]

    yield serve_http
    for server in servers:
        server.close()


@pytest.fixture
def web(serve: Serve) -> WebServer:
    """Return a server over HTTP that finds by words only."""
    return serve()
