"""HTTP: the transports of the official SDK around the same dispatcher that serves standard input and output.

The SDK knows sessions, streams and the header rules of each revision; every request it has read is answered by the
dispatcher, so that a reply does not depend on how it was asked for. This is the only module that imports the SDK.
"""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import os
import socket
import ssl
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from types import FrameType
from typing import Any, Final

import uvicorn
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.sse import SseServerTransport
from mcp.server.streamable_http_manager import StreamableHTTPASGIApp, StreamableHTTPSessionManager
from mcp.shared.exceptions import MCPError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from mimir import __version__
from mimir.config import comma_list, is_loopback
from mimir.errors import InvalidInput, MimirError, Unavailable
from mimir.server.auth import (
    BODY_S,
    MAXIMUM_REQUEST_BYTES,
    OPEN_PATH,
    PUBLIC_RATE,
    BodyCheck,
    SenderCheck,
    TokenCheck,
    check_exposure,
    refuse,
)
from mimir.server.call import Call
from mimir.server.dispatch import Dispatcher
from mimir.server.message import MODERN_VERSIONS, Fault, Request, read_message

CALL_THREADS: Final = 8
"""How many calls run at a time; writes wait for one another in the store anyway."""

LONG_CALL_THREADS: Final = 2
"""How many calls of operations declared long run at a time, beside the others."""

DRAIN_S: Final = 30.0
"""How long accepted requests may take after a signal to stop, in seconds; a second signal ends at once."""

STREAMS_S: Final = 5
"""How long open streams may take to end after the last request, in seconds."""

MESSAGE_PATH: Final = "/message"

Progress = Callable[[int, int | None], Awaitable[None]]


def serve_http(dispatcher: Dispatcher, *, body_s: float = BODY_S) -> int:
    """Serve over HTTP until a signal; then finish what was accepted, close the store and return the exit status.

    Raises:
        InvalidInput: the address or the TLS files cannot be used, or there is no token where one is needed.
        Unavailable: the port is taken.
    """
    settings = dispatcher.settings
    check_exposure(settings)
    check_certificate(settings.tls_cert, settings.tls_key)
    with bind(settings.web_bind, settings.port) as listener:
        dispatcher.warm_up()
        quiet_libraries(settings.log_level)
        work = Work(dispatcher)
        front = Front(work, build_app(work, body_s=body_s), listener)
        front.run(sockets=[listener])
        return work.close()


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises:
        InvalidInput: this machine does not have that address.
        Unavailable: another program listens there.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address, family=family, backlog=2048)
    except socket.gaierror as error:
        raise InvalidInput(f"--web-bind: {host!r} is no address: {error.strerror}.") from error
    except OSError as error:
        if isinstance(error, PermissionError) or error.errno == errno.EADDRNOTAVAIL:
            raise InvalidInput(f"{host}:{port} cannot be used: {error.strerror}.") from error
        raise Unavailable(
            f"Port {port} of {host} is taken by another program.", hint="Choose another with --port."
        ) from error


def check_certificate(certificate: str, key: str) -> None:
    """See that the TLS files can be used.

    Raises:
        InvalidInput: they cannot be read or do not belong together.
    """
    if certificate:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key or None)
        except OSError as error:  # also what the TLS library raises
            raise InvalidInput(
                f"--tls-cert: {certificate} cannot be used: {error.strerror or error}.",
                hint="Give a PEM file with the certificate, and its key by --tls-key.",
            ) from error


def quiet_libraries(level: str) -> None:
    """Keep what clients can provoke out of the log, unless it is to show everything."""
    if level not in ("debug", "info"):
        for name in ("mcp", "uvicorn", "asyncio"):
            logging.getLogger(name).setLevel(logging.CRITICAL)


class Work:
    """The requests that were accepted and are not yet answered, and the threads that answer them."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self.dispatcher = dispatcher
        self.stopping = False
        self.accepted = 0
        self._calls = ThreadPoolExecutor(CALL_THREADS, "mimir-calls")
        self._long_calls = ThreadPoolExecutor(LONG_CALL_THREADS, "mimir-long-calls")

    async def answer(self, request: Request, tell: Progress | None = None) -> bytes:
        """Return the reply to one request; when the caller is cancelled, so is the call."""
        if request.method != "tools/call":
            return self.dispatcher.answer(request)
        telling = Telling(tell) if tell else None
        call = Call(request, telling)
        pool = self._long_calls if self.dispatcher.is_long(request) else self._calls
        self.accepted += 1
        try:
            reply = await asyncio.get_running_loop().run_in_executor(pool, call.run, self.dispatcher)
            if telling is not None:
                await telling.told()
            return reply or b""
        finally:
            call.cancelled = True
            self.accepted -= 1

    def close(self) -> int:
        """Close the store and return the exit status; a cancelled call that still runs is interrupted."""
        self._calls.shutdown(wait=False, cancel_futures=True)
        self._long_calls.shutdown(wait=False, cancel_futures=True)
        try:
            self.dispatcher.close()
        except MimirError as error:
            # Every acknowledged memory is safe: what is lost is how often some were used.
            logging.getLogger(__name__).warning("closing the store: %s", error.message)
        return 0


class Telling:
    """Tells from a thread what the loop then sends; while one report is on its way the next are left out."""

    def __init__(self, tell: Progress) -> None:
        self._tell = tell
        self._loop = asyncio.get_running_loop()
        self._sending: Future[None] | None = None

    def __call__(self, done: int, total: int | None) -> None:
        """Let the loop send one report."""
        if self._sending is None or self._sending.done():
            self._sending = asyncio.run_coroutine_threadsafe(_tell(self._tell, done, total), self._loop)

    async def told(self) -> None:
        """Wait until the last report is on its way: none may follow the reply."""
        if self._sending is not None:
            await asyncio.wrap_future(self._sending)


async def _tell(tell: Progress, done: int, total: int | None) -> None:
    await tell(done, total)


class Front(uvicorn.Server):
    """The web server; a signal lets it first finish what was accepted."""

    def __init__(self, work: Work, app: ASGIApp, listener: socket.socket) -> None:
        settings = work.dispatcher.settings
        super().__init__(
            uvicorn.Config(
                app,
                ws="none",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=STREAMS_S,
                ssl_certfile=settings.tls_cert or None,
                ssl_keyfile=settings.tls_key or None,
            )
        )
        self._work = work
        self._listener = listener
        self._stop_by = float("inf")

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve, and say where."""
        await super().startup(sockets)
        host, port = self._listener.getsockname()[:2]
        scheme = "https" if self.config.is_ssl else "http"
        sys.stderr.write(f"mimir: serving {scheme}://{f'[{host}]' if ':' in host else host}:{port}/mcp\n")

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the signature of a handler
        """Stop accepting; a second signal ends the process."""
        if self._work.stopping:
            os._exit(1)
        self._work.stopping = True
        self._stop_by = time.monotonic() + DRAIN_S

    async def on_tick(self, counter: int) -> bool:
        """Tell whether to stop: after a signal, as soon as nothing is left to do."""
        if self._work.stopping:
            for server in self.servers:
                server.close()
            if not self._work.accepted:
                self.should_exit = True
            elif time.monotonic() > self._stop_by:
                # What still runs was never acknowledged, and its transaction is undone.
                os._exit(1)
        return await super().on_tick(counter)


class Admission:
    """Count the requests under way, and refuse new ones while the server stops."""

    def __init__(self, app: ASGIApp, *, work: Work) -> None:
        self._app = app
        self._work = work

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or refuse it."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
        elif self._work.stopping:
            await refuse(send, 503, "stopping", "This server is stopping.", (b"retry-after", b"5"))
        else:
            self._work.accepted += 1
            try:
                await self._app(scope, receive, send)
            finally:
                self._work.accepted -= 1


def build_app(work: Work, *, body_s: float = BODY_S) -> Starlette:
    """Return the routes with every check in front of them."""
    settings = work.dispatcher.settings
    server = build_server(work)
    sessions = StreamableHTTPSessionManager(server, max_request_body_size=MAXIMUM_REQUEST_BYTES)
    streams = SseServerTransport(MESSAGE_PATH, max_request_body_size=MAXIMUM_REQUEST_BYTES)

    @asynccontextmanager
    async def run_sessions(_: Starlette) -> AsyncIterator[None]:
        async with sessions.run():
            yield

    async def health(_: HttpRequest) -> Response:
        return JSONResponse({"status": "stopping" if work.stopping else "ok", "version": __version__})

    async def message(scope: Scope, receive: Receive, send: Send) -> None:
        request = HttpRequest(scope, receive)
        if "session_id" in request.query_params:
            await streams.handle_post_message(scope, receive, send)
        else:
            await (await answer_message(work, request))(scope, receive, send)

    async def stream(scope: Scope, receive: Receive, send: Send) -> None:
        async with streams.connect_sse(scope, receive, send) as (source, sink):
            await server.run(source, sink, server.create_initialization_options())

    origins = comma_list(settings.allowed_origins)
    rate = settings.rate_limit or (0 if is_loopback(settings.web_bind) else PUBLIC_RATE)
    checks = [
        Middleware(SenderCheck, hosts=comma_list(settings.allowed_hosts), origins=origins, rate=rate),
        Middleware(Admission, work=work),
    ]
    if origins:
        checks.append(
            Middleware(
                CORSMiddleware,
                allow_origins=origins,
                allow_methods=("GET", "POST", "DELETE"),
                allow_headers=("*",),
                expose_headers=("Mcp-Session-Id",),
            )
        )
    if settings.mcp_token:
        checks.append(Middleware(TokenCheck, token=settings.mcp_token))
    checks.append(Middleware(BodyCheck, body_s=body_s))
    return Starlette(
        routes=[
            Route("/mcp", StreamableHTTPASGIApp(sessions)),
            Route("/sse", Raw(stream), methods=["GET"]),
            Route(MESSAGE_PATH, Raw(message), methods=["POST"]),
            Route(OPEN_PATH, health),
        ],
        middleware=checks,
        lifespan=run_sessions,
    )


class Raw:
    """Lets a function be a route that writes its response itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        await self._app(scope, receive, send)


def build_server(work: Work) -> Server[Any]:
    """Return a server of the SDK whose every request goes to the dispatcher.

    The SDK trusts what stands in front of its handlers to return results in their final form.
    """

    async def answer(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        if ctx.request_id is None:
            return await call_next(ctx)
        params = dict(ctx.params or {})
        modern = ctx.protocol_version in MODERN_VERSIONS
        request = Request(ctx.request_id, ctx.method, params, modern=modern)

        async def tell(done: int, total: int | None) -> None:
            await ctx.session.report_progress(done, total)

        meta = params.get("_meta")
        asked = isinstance(meta, dict) and "progressToken" in meta
        reply: dict[str, Any] = json.loads(await work.answer(request, tell if asked else None))
        if "error" in reply:
            error = reply["error"]
            raise MCPError(error["code"], error["message"], error.get("data"))
        result: dict[str, Any] = reply["result"]
        return result

    server: Server[Any] = Server("mimir", version=__version__)
    server.middleware = [answer]
    return server


async def answer_message(work: Work, request: HttpRequest) -> Response:
    """Answer one message by itself, without a session, as the Rust Mimir's only route did."""
    try:
        message = read_message(await request.body())
    except Fault as fault:
        return Response(fault.reply(), 400, media_type="application/json")
    if not isinstance(message, Request):
        return Response(status_code=202)
    return Response(await work.answer(message), media_type="application/json")
