"""The web server that all faces over HTTP share: one port, one app, the same checks in front of every route.

A face is what is served there: the protocol's transports, the dashboard, or both. Nothing here knows either.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from http import HTTPStatus
from types import FrameType
from typing import TYPE_CHECKING, Final, NamedTuple

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from mimir import __version__
from mimir.config import comma_list, is_loopback
from mimir.errors import InvalidInput, Unavailable
from mimir.server.auth import BODY_S, OPEN_PATH, PUBLIC_RATE, BodyCheck, SenderCheck, read_hosts, read_origins, refuse

if TYPE_CHECKING:
    from mimir.config import Settings

DRAIN_S: Final = 30.0
"""How long accepted requests may take after a signal to stop, in seconds; a second signal ends at once."""

STREAMS_S: Final = 5
"""How long open streams may take to end after the last request, in seconds."""

_HANDS: Final = 100
"""Turns of the event loop without anything accepted after which nothing can be on its way from one task to the next."""

_REPEATING: Final = ("mcp", "sse_starlette")
"""Libraries that log messages whole, memories of a sealed store too, and the names of sessions."""

_READS: Final = ("GET", "HEAD", "OPTIONS")


class Face(NamedTuple):
    """What is served: how it is announced, ``{url}`` standing for the address; its routes; what runs beside them."""

    greeting: str
    routes: Sequence[BaseRoute]
    running: Callable[[], AbstractAsyncContextManager[object]]


def face_of(app: Starlette, greeting: str) -> Face:
    """Return the face of an app that takes every path which no face before it has."""
    return Face(greeting, [Mount("/", app=app)], lambda: app.router.lifespan_context(app))


def body_check(forms: Sequence[str]) -> Middleware:
    """Return the check of what is sent, for an app that takes forms under some paths."""
    return Middleware(BodyCheck, forms=forms)


class Traffic:
    """The requests that were accepted and are not yet answered, and who must hear that the server stops."""

    def __init__(self) -> None:
        self.stopping = False
        self.accepted = 0
        self.on_stop: list[Callable[[], None]] = []


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises:
        InvalidInput: this machine does not have that address.
        Unavailable: another program listens there.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.create_server(address, family=family, backlog=2048)
    except socket.gaierror as error:
        raise InvalidInput(f"--web-bind: {host!r} is no address: {error.strerror}.") from error
    except OSError as error:
        if isinstance(error, PermissionError) or error.errno == errno.EADDRNOTAVAIL:
            raise InvalidInput(f"{host}:{port} cannot be used: {error.strerror}.") from error
        raise Unavailable(
            f"Port {port} of {host} is taken by another program.", hint="Choose another with --port."
        ) from error
    # Connections inherit it. The event loop sets it only where the socket names its protocol, and without it each reply
    # on a connection that is kept waits 40 ms for the client's acknowledgement of its head.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def check_certificate(certificate: str, key: str) -> None:
    """See that the TLS files can be used.

    Raises:
        InvalidInput: they cannot be read or do not belong together.
    """

    def refuse_to_ask() -> str:
        # The library would ask on a terminal, which a server may not have.
        raise InvalidInput(
            f"--tls-key: {key or certificate} is locked with a password.", hint="Give a key file without one."
        )

    if certificate:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key or None, refuse_to_ask)
        except OSError as error:  # also what the TLS library raises
            raise InvalidInput(
                f"--tls-cert: {certificate} cannot be used: {error.strerror or error}.",
                hint="Give a PEM file with the certificate, and its key by --tls-key.",
            ) from error


def quiet_libraries(level: str) -> None:
    """Keep what clients say out of the log, and what they can provoke too unless it is to show everything."""
    for name in _REPEATING if level in ("debug", "info") else (*_REPEATING, "uvicorn", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


class TimedHead(H11Protocol):
    """Speaks HTTP, and gives up a client that does not send the head of a request in time (408)."""

    head_s = BODY_S
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as the class above
        """Begin to wait for the first head."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Read what has arrived, and see whether it ends a head or begins one."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._stop()
        super().connection_lost(exc)

    def _watch(self) -> None:
        # There is no cycle before the first request.
        if not getattr(self.cycle, "response_complete", True):
            self._stop()
        elif self._timer is None:
            self._timer = self.loop.call_later(self.head_s, self._give_up)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        self.transport.write(b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
        self.transport.close()


class Front(uvicorn.Server):
    """The web server; when it is to stop it first finishes what was accepted.

    ``announce`` gets the address once it can be used.
    """

    def __init__(
        self,
        settings: Settings,
        faces: Sequence[Face],
        traffic: Traffic,
        listener: socket.socket,
        announce: Callable[[str], None],
    ) -> None:
        super().__init__(
            uvicorn.Config(
                build_app(settings, faces, traffic),
                http=TimedHead,
                ws="none",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=STREAMS_S,
                ssl_certfile=settings.tls_cert or None,
                ssl_keyfile=settings.tls_key or None,
            )
        )
        self._traffic = traffic
        self._listener = listener
        self._announce = announce
        self._stop_by = float("inf")

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve, and say where."""
        await super().startup(sockets)
        host, port = self._listener.getsockname()[:2]
        scheme = "https" if self.config.is_ssl else "http"
        self._announce(f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}")

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the signature of a handler
        """Stop accepting; a second signal ends the process."""
        if self._traffic.stopping:
            os._exit(1)
        self._stop_by = time.monotonic() + DRAIN_S
        self._traffic.stopping = True

    async def on_tick(self, counter: int) -> bool:
        """Tell whether to stop: when asked to, as soon as nothing is left to do."""
        if self._traffic.stopping:
            for server in self.servers:
                server.close()
            while self._traffic.on_stop:
                self._traffic.on_stop.pop()()
            if await self._is_idle():
                self.should_exit = True
            elif time.monotonic() > self._stop_by:
                # What still runs was never acknowledged, and its transaction is undone.
                os._exit(1)
        return await super().on_tick(counter)

    async def _is_idle(self) -> bool:
        # A message to a stream is acknowledged before a task of its session has it, and a reply is counted no more
        # before it is written; neither waits for anything in between but the tasks before it.
        for _ in range(_HANDS):
            if self._traffic.accepted:
                return False
            await asyncio.sleep(0)
        return True


class Admission:
    """Count the requests under way that may write, and refuse new ones while the server stops."""

    def __init__(self, app: ASGIApp, *, traffic: Traffic) -> None:
        self._app = app
        self._traffic = traffic

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or refuse it."""
        if scope["type"] != "http" or scope["method"] in _READS:
            await self._app(scope, receive, send)
        elif self._traffic.stopping:
            await refuse(send, 503, "stopping", "This server is stopping.", (b"retry-after", b"5"))
        else:
            self._traffic.accepted += 1
            try:
                await self._app(scope, receive, send)
            finally:
                self._traffic.accepted -= 1


def build_app(settings: Settings, faces: Sequence[Face], traffic: Traffic) -> Starlette:
    """Return the routes of all faces with every common check in front of them.

    Raises:
        InvalidInput: an origin or a host that the settings allow is none.
    """

    @asynccontextmanager
    async def run_faces(_: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as running:
            for face in faces:
                await running.enter_async_context(face.running())
            yield

    async def explain(request: HttpRequest, error: Exception) -> Response:
        status, headers = getattr(error, "status_code", 404), getattr(error, "headers", None) or {}
        path = f"{request.url.path:.200}"
        if "Allow" in headers:
            message = f"{path} takes {headers['Allow']}, not {request.method}."
        else:
            message = f"There is nothing at {path}. This server has: {', '.join(paths)}."
        return JSONResponse({"error": HTTPStatus(status).name.lower(), "message": message}, status, headers)

    async def health(_: HttpRequest) -> Response:
        return JSONResponse({"status": "stopping" if traffic.stopping else "ok", "version": __version__})

    origins = read_origins(comma_list(settings.allowed_origins))
    hosts = read_hosts(comma_list(settings.allowed_hosts))
    rate = settings.rate_limit or (0 if is_loopback(settings.web_bind) else PUBLIC_RATE)
    checks = [
        Middleware(SenderCheck, hosts=hosts, origins=origins, rate=rate),
        Middleware(Admission, traffic=traffic),
    ]
    if origins:
        checks.append(
            Middleware(
                CORSMiddleware,
                allow_origins=origins,
                allow_methods=("GET", "POST", "DELETE"),
                allow_headers=("*",),
                allow_private_network=True,
                expose_headers=("Mcp-Session-Id",),
            )
        )
    routes = [Route(OPEN_PATH, health), *(route for face in faces for route in face.routes)]
    paths = [route.path for route in routes if isinstance(route, Route)]
    return Starlette(routes=routes, middleware=checks, exception_handlers={HTTPException: explain}, lifespan=run_faces)
