"""HTTP: the transports of the official SDK around the same dispatcher that serves standard input and output.

The SDK knows sessions, streams and the header rules of each revision; every request it has read is answered by the
dispatcher, so that a reply does not depend on how it was asked for. This is the only module that imports the SDK.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.sse import SseServerTransport
from mcp.server.streamable_http_manager import StreamableHTTPASGIApp, StreamableHTTPSessionManager
from mcp.shared.exceptions import MCPError
from starlette.middleware import Middleware
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from mimir import __version__
from mimir.server.auth import BODY_S, MAXIMUM_REQUEST_BYTES, BodyCheck, TokenCheck
from mimir.server.call import Call
from mimir.server.dispatch import CALLS, Dispatcher
from mimir.server.front import Face, Traffic
from mimir.server.message import (
    INVALID_REQUEST,
    MODERN_VERSIONS,
    PARSE_ERROR,
    Fault,
    Request,
    read_message,
)

READ_THREADS: Final = min(max(os.cpu_count() or 2, 2), 8)
"""How many calls that only read run at a time, beside those that write. More than there are cores slow all down."""

WRITE_THREADS: Final = 2
"""How many calls that write run at a time: one prepares what it writes while another is written."""

LONG_THREADS: Final = 2
"""How many calls of operations declared long run at a time, beside the others."""

MOST_SESSIONS: Final = 2_000
"""How many sessions of the handshake era are kept at a time, each of about 45 kB; none beyond that is opened (503)."""

SESSION_S: Final = 1_800.0
"""After how many seconds without a request or an open stream a session ends."""

MESSAGE_PATH: Final = "/message"
JSON: Final = "application/json"

Progress = Callable[[int, int | None], Awaitable[None]]


class Calls:
    """The threads on which calls of tools are answered."""

    def __init__(self, dispatcher: Dispatcher, traffic: Traffic) -> None:
        self.dispatcher = dispatcher
        self._traffic = traffic
        self._reads = ThreadPoolExecutor(READ_THREADS, "mimir-reads")
        self._writes = ThreadPoolExecutor(WRITE_THREADS, "mimir-writes")
        self._long = ThreadPoolExecutor(LONG_THREADS, "mimir-long-calls")

    async def answer(self, request: Request, tell: Progress | None = None) -> bytes:
        """Return the reply to one request; when the caller is cancelled, so is the call."""
        if request.method not in CALLS:
            return self.dispatcher.answer(request)
        telling = Telling(tell) if tell else None
        call = Call(request, telling)
        self._traffic.accepted += 1
        try:
            reply = await asyncio.get_running_loop().run_in_executor(self._pool(request), call.run, self.dispatcher)
            if telling is not None:
                await telling.told()
            return reply or b""
        finally:
            call.cancelled = True
            self._traffic.accepted -= 1

    def close(self) -> None:
        """Give up what was not begun; a cancelled call that still runs is interrupted when the store is closed."""
        for pool in (self._reads, self._writes, self._long):
            pool.shutdown(wait=False, cancel_futures=True)

    def _pool(self, request: Request) -> ThreadPoolExecutor:
        if self.dispatcher.is_long(request):
            return self._long
        return self._writes if self.dispatcher.is_write(request) else self._reads


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


def mcp_face(calls: Calls, *, body_s: float = BODY_S) -> Face:
    """Return the transports of the protocol, each route with its checks."""
    settings = calls.dispatcher.settings
    server = build_server(calls)
    sessions = StreamableHTTPSessionManager(
        server,
        max_request_body_size=MAXIMUM_REQUEST_BYTES,
        max_sessions=MOST_SESSIONS,
        session_idle_timeout=SESSION_S,
    )
    streams = SseServerTransport(MESSAGE_PATH, max_request_body_size=MAXIMUM_REQUEST_BYTES)

    posted = BodyCheck(streams.handle_post_message, body_s=body_s, fault=fault_of)

    async def message(scope: Scope, receive: Receive, send: Send) -> None:
        request = HttpRequest(scope, receive)
        if "session_id" in request.query_params:
            await posted(scope, receive, send)
        else:
            await (await answer_message(calls, request))(scope, receive, send)

    async def stream(scope: Scope, receive: Receive, send: Send) -> None:
        async with streams.connect_sse(scope, receive, send) as (source, sink):
            await server.run(source, sink, server.create_initialization_options())

    token = [Middleware(TokenCheck, token=settings.mcp_token)] if settings.mcp_token else []
    whole = Middleware(BodyCheck, body_s=body_s)
    whole_message = Middleware(BodyCheck, body_s=body_s, fault=fault_of)
    routes = [
        Route("/mcp", StreamableHTTPASGIApp(sessions), middleware=[*token, whole_message]),
        Route("/sse", Raw(stream), methods=["GET"], middleware=token),
        Route(MESSAGE_PATH, Raw(message), methods=["POST"], middleware=[*token, whole]),
    ]
    return Face("serving {url}/mcp", routes, sessions.run)


def fault_of(body: bytes) -> bytes | None:
    """Return the reply to what is no message at all, None to a message.

    The SDK would take a request whose id can be none for a notification, which nobody answers. What a message asks for
    is left to it.
    """
    try:
        message = read_message(body)
        if isinstance(message, Request) and isinstance(message.id, float):
            raise Fault(INVALID_REQUEST, "Invalid request: 'id' must be a string or a whole number.", id=message.id)
    except Fault as fault:
        return fault.reply() if fault.code in (PARSE_ERROR, INVALID_REQUEST) else None
    return None


class Raw:
    """Lets a function be a route that writes its response itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        await self._app(scope, receive, send)


def build_server(calls: Calls) -> Server[Any]:
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
        reply: dict[str, Any] = json.loads(await calls.answer(request, tell if asked else None))
        if "error" in reply:
            error = reply["error"]
            raise MCPError(error["code"], error["message"], error.get("data"))
        result: dict[str, Any] = reply["result"]
        return result

    server: Server[Any] = Server("mimir", version=__version__)
    server.middleware = [answer]
    return server


async def answer_message(calls: Calls, request: HttpRequest) -> Response:
    """Answer one message by itself, without a session, as the Rust Mimir's only route did."""
    try:
        message = read_message(await request.body())
    except Fault as fault:
        return Response(fault.reply(), 400, media_type=JSON)
    if not isinstance(message, Request):
        return Response(status_code=202)
    return Response(await _answer_while_heard(calls, message, request), media_type=JSON)


async def _answer_while_heard(calls: Calls, message: Request, request: HttpRequest) -> bytes:
    """Return the reply to a message; when its client goes away first, the call is cancelled."""
    answering = asyncio.ensure_future(calls.answer(message))
    leaving = asyncio.ensure_future(_wait_for_end(request.receive))
    try:
        await asyncio.wait((answering, leaving), return_when=asyncio.FIRST_COMPLETED)
        return answering.result() if answering.done() else b""
    finally:
        answering.cancel()
        leaving.cancel()


async def _wait_for_end(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
