"""One exchange over HTTP: whatever the server does, it ends in time, within bounds, and at the address that was set."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Iterator

import pytest

from mimir.errors import InvalidInput, Unavailable
from mimir.remote import LONGEST_REPLY_BYTES, exchange, read_address, read_secret, without_secret
from tests.language_model import Handler, ModelServer, serving


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with serving() as one:
        yield one


def test_a_reply_is_told_whatever_its_status(server: ModelServer) -> None:
    server.reply = lambda handler: handler.send(418, b"short and stout", Pot="tea")
    reply = exchange(server.address, data=b"{}", headers={"X-Cup": "1"}, timeout_s=30)
    assert (reply.status, reply.data, reply.headers["pot"]) == (418, b"short and stout", "tea")
    assert not reply.is_success
    assert server.requests[0][1]["X-Cup"] == "1"
    assert exchange(server.address, timeout_s=30).is_success


def test_no_redirect_is_followed(server: ModelServer) -> None:
    server.reply = lambda handler: handler.send(307, b"", Location=f"{server.address}/elsewhere")
    assert exchange(server.address, data=b"{}", timeout_s=30).status == 307
    assert len(server.requests) == 1


def test_a_reply_that_comes_byte_by_byte_is_given_up_in_time(server: ModelServer) -> None:
    def drip(handler: Handler) -> None:
        for _ in itertools.takewhile(lambda _: not server.released.wait(0.05), itertools.count()):
            handler.wfile.write(b"X")

    server.reply = drip
    with pytest.raises(Unavailable, match=r"no answer within 0\.5 s"):
        exchange(server.address, data=b"{}", timeout_s=0.5)


def test_an_endless_reply_is_given_up(server: ModelServer) -> None:
    server.reply = lambda handler: handler.send(200, bytes(LONGEST_REPLY_BYTES + 1))
    with pytest.raises(Unavailable, match="longer than"):
        exchange(server.address, data=b"{}", timeout_s=60)


def test_a_closed_port_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(Unavailable, match="refused"):
        exchange(f"http://127.0.0.1:{port}", timeout_s=30)


@pytest.mark.parametrize(
    "url", ["", "example.org", "file:///etc/passwd", "ftp://h", "http://", "http://u:p@h", "http://["]
)
def test_what_is_no_address_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(InvalidInput, match="--place is no HTTP address") as raised:
        read_address(url, "--place", "Give one.")
    assert not url or url not in raised.value.message


def test_a_secret_is_one_that_a_header_carries_and_is_never_repeated() -> None:
    assert read_secret(" abc\n", "--key") == "abc"
    with pytest.raises(InvalidInput, match="--key"):
        read_secret("a\nb", "--key")
    assert without_secret("no  entry\nfor abc", "abc") == "no entry for ***"
