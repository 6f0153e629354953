"""Sessions for tests, in each of their forms on the test's own store."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mimir.adapters.session import Session, open_session
from tests.server.client import SERVE
from tests.server.conftest import serve  # noqa: F401 - a fixture
from tests.server.web import WebServer, free_port

COMMAND = SERVE[:-1]


@pytest.fixture(params=["local", "stdio", "http"])
def session(request: pytest.FixtureRequest, db: str) -> Iterator[Session]:
    """Return an open session that finds by words only, in one of the forms."""
    server = None
    if request.param == "local":
        opened = open_session(db, embedding="off")
    elif request.param == "stdio":
        opened = open_session(db, command=COMMAND, embedding="off")
    else:
        port = free_port()
        flags = ("--db", db, "--embedding", "off", "--transport", "http", "--port", str(port))
        server = WebServer([*SERVE, *flags], port)
        opened = open_session(url=server.url)
    yield opened
    opened.close()
    if server is not None:
        server.close()
