"""Who may send what over HTTP: checks in front of every route, each a plain ASGI wrapper around the next.

A web page that the user happens to visit can send requests to this machine. It is kept out by its Origin header, and by
the Host header when it lets its own name point here.
"""

from __future__ import annotations

import asyncio
import hmac
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from mimir.errors import InvalidInput

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAXIMUM_REQUEST_BYTES: Final = 16 * 1024 * 1024
"""Longest body of a request."""

BODY_S: Final = 30.0
"""How long a client may take to send one body, in seconds."""

PUBLIC_RATE: Final = 1_200
"""Requests a minute that one address may send to a server which others can reach, unless a rate is set."""

_WITH_BODY: Final = ("POST", "PUT", "PATCH")
_JSON: Final = "application/json"
_FORM: Final = "application/x-www-form-urlencoded"

_NAME: Final = re.compile(r"[\w.-]+(:\d+)?|\[[\da-fA-F:.]+\](:\d+)?")
_ORIGIN: Final = re.compile(r"([a-z][a-z\d+.-]*)://([\w.-]+|\[[\da-f:.]+\])(:\d+)?/?")
_UNSAID_PORTS: Final = frozenset({("http", ":80"), ("https", ":443")})

OPEN_PATH: Final = "/healthz"
"""The one route that asks for no token: it tells that the server lives, and its version."""


def read_origins(names: Iterable[str]) -> tuple[str, ...]:
    """Return origins as browsers write them: lower case, without a slash at the end and the port that goes unsaid.

    Raises:
        InvalidInput: one is no origin.
    """
    return tuple(map(_read_origin, names))


def read_hosts(names: Iterable[str]) -> tuple[str, ...]:
    """Return names of this machine as they are compared: lower case, without a port.

    Raises:
        InvalidInput: one is no name, say an address of a page or a pattern.
    """
    for name in names:
        if not _NAME.fullmatch(name):
            raise InvalidInput(
                f"--allowed-hosts: {name!r} is no name of a machine.",
                hint="List names one by one, such as mimir.example.",
            )
    return tuple(map(_host_name, names))


class SenderCheck:
    """Refuse requests under a foreign name (421), from a foreign page (403) or beyond the rate (429).

    A Host that is an address is no danger: only a name can be made to point here. ``rate`` counts requests a minute
    from one address; 0 is no limit.
    """

    def __init__(self, app: ASGIApp, *, hosts: Iterable[str], origins: Iterable[str], rate: int) -> None:
        self._app = app
        self._hosts = frozenset(hosts)
        self._origins = frozenset(origins)
        self._rate = rate
        self._minute = 0
        self._counts: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        host, origin = header(scope, b"host"), header(scope, b"origin")
        if not self._is_own(host):
            message = f"This server does not go by the name {host!r}. Use its address, or list it in --allowed-hosts."
            await refuse(send, 421, "misdirected", message)
        elif origin and origin not in self._origins and urlsplit(origin).netloc.lower() != host.lower():
            message = f"Pages of {origin} may not use this server. List the origin in --allowed-origins to allow it."
            await refuse(send, 403, "foreign_origin", message)
        elif self._rate and (wait := self._wait(scope)):
            message = f"More than {self._rate} requests in a minute. Try again in {wait} s."
            await refuse(send, 429, "too_many_requests", message, (b"retry-after", b"%d" % wait))
        else:
            await self._app(scope, receive, send)

    def _is_own(self, host: str) -> bool:
        name = _host_name(host)
        return name == "localhost" or name in self._hosts or _is_address(name)

    def _wait(self, scope: Scope) -> int:
        minute, second = divmod(int(time.monotonic()), 60)
        if minute != self._minute:
            self._minute = minute
            self._counts.clear()
        sender = scope["client"][0] if scope.get("client") else ""
        self._counts[sender] += 1
        return 60 - second if self._counts[sender] > self._rate else 0


class TokenCheck:
    """Refuse requests without the bearer token (401), in a time that tells nothing about it."""

    def __init__(self, app: ASGIApp, *, token: str) -> None:
        self._app = app
        self._token = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or refuse it."""
        if scope["type"] == "http" and scope["path"] != OPEN_PATH:
            scheme, _, token = header(scope, b"authorization").partition(" ")
            given = token.strip().encode("latin-1")
            if scheme.lower() != "bearer" or not hmac.compare_digest(given, self._token):
                message = "Send the server's token as: Authorization: Bearer TOKEN."
                await refuse(send, 401, "unauthorized", message, (b"www-authenticate", b"Bearer"))
                return
        await self._app(scope, receive, send)


class BodyCheck:
    """Read what is sent as a whole, and refuse what is no JSON (415), too long (413) or too slow (408).

    ``forms`` are the paths to which a form of a page may be sent instead; ``fault`` returns the reply to a body that
    is no message (400), or None.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        body_s: float = BODY_S,
        forms: Iterable[str] = (),
        fault: Callable[[bytes], bytes | None] = lambda _: None,
    ) -> None:
        self._app = app
        self._body_s = body_s
        self._forms = frozenset(forms)
        self._fault = fault

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or refuse it."""
        if scope["type"] != "http" or scope["method"] not in _WITH_BODY:
            await self._app(scope, receive, send)
            return
        kind = header(scope, b"content-type").partition(";")[0].strip().lower()
        if kind != _JSON and not (kind == _FORM and scope["path"] in self._forms):
            message = f"A message is sent as {_JSON}, not as {kind!r}."
            await refuse(send, 415, "unsupported_media_type", message)
            return
        length = header(scope, b"content-length")
        body = None
        if not (length.isdecimal() and int(length) > MAXIMUM_REQUEST_BYTES):
            try:
                async with asyncio.timeout(self._body_s):
                    body = await _read_body(receive)
            except TimeoutError:
                await refuse(send, 408, "timeout", f"The body did not arrive within {self._body_s:g} s.")
                return
            except ConnectionError:
                return
        if body is None:
            await refuse(send, 413, "too_large", f"A message may have {MAXIMUM_REQUEST_BYTES} bytes at most.")
            return
        if reply := self._fault(body):
            await _answer(send, 400, reply)
            return
        first: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return first.pop() if first else await receive()

        await self._app(scope, replay, send)


async def refuse(send: Send, status: int, error: str, message: str, *headers: tuple[bytes, bytes]) -> None:
    """Answer with ``status`` and close the connection, whose body may be unread."""
    from mimir.server.message import encode

    await _answer(send, status, encode({"error": error, "message": message}), (b"connection", b"close"), *headers)


async def _answer(send: Send, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    described = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), *headers]
    await send({"type": "http.response.start", "status": status, "headers": described})
    await send({"type": "http.response.body", "body": body})


def header(scope: Scope, name: bytes) -> str:
    """Return the value of a header, empty when it is not sent."""
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")


async def _read_body(receive: Receive) -> bytes | None:
    """Return the whole body, or None when it is too long.

    Raises:
        ConnectionError: the client has gone.
    """
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionError
        body += message.get("body", b"")
        if len(body) > MAXIMUM_REQUEST_BYTES:
            return None
        if not message.get("more_body", False):
            return bytes(body)


def _read_origin(text: str) -> str:
    match = _ORIGIN.fullmatch(text.lower())
    if match is None:
        raise InvalidInput(
            f"--allowed-origins: {text!r} is no origin.",
            hint="List origins one by one, such as https://app.example or http://localhost:3000.",
        )
    scheme, host, port = match.groups(default="")
    return f"{scheme}://{host}{'' if (scheme, port) in _UNSAID_PORTS else port}"


def _host_name(host: str) -> str:
    name = host.lower()
    return name[1:].partition("]")[0] if name.startswith("[") else name.partition(":")[0]


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
