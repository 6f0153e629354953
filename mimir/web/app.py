"""The dashboard's routes: pages, login, reads, writes and live changes.

A read or write is a plain function of the engine and what was asked, run on a thread; this module only knows HTTP.
"""

from __future__ import annotations

import asyncio
import html
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import parse_qs, quote

import msgspec
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from mimir.errors import InvalidInput, MimirError, Unavailable
from mimir.web.asked import Asked
from mimir.web.assets import PAGES, page, send_asset, send_page
from mimir.web.editing import WRITES, Actions, Stale, Write
from mimir.web.events import Changes
from mimir.web.reading import READS, store_facts
from mimir.web.session import LOGIN_PATH, Guard, Sessions, address_of, failure, session_of
from mimir.web.upkeep import maintain

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from mimir.config import Settings
    from mimir.engine import Engine
    from mimir.model import Json

Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]

THREADS: Final = 4
"""How many requests are answered at a time."""

FORMS: Final = (LOGIN_PATH,)
"""The paths to which a form is sent."""

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
    " form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)

_HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_MESSAGE: Final = "<!-- message -->"


def build_dashboard(
    open_engine: Callable[[], Engine],
    settings: Settings,
    on_stop: list[Callable[[], None]],
    *,
    checks: Sequence[Middleware] = (),
) -> Starlette:
    """Return the dashboard.

    ``on_stop`` takes what must be called when the server stops; ``checks`` look at what is sent once it is known who
    sends it.
    """
    return Dashboard(open_engine, settings, on_stop).app(checks)


class Dashboard:
    """What the routes share: the sessions, the threads and the way to the engine."""

    def __init__(
        self, open_engine: Callable[[], Engine], settings: Settings, on_stop: list[Callable[[], None]]
    ) -> None:
        self._open_engine = open_engine
        self._settings = settings
        self._sessions = Sessions(settings)
        self._threads = ThreadPoolExecutor(THREADS, "mimir-web")
        self._changes = Changes(open_engine)
        self._facts: tuple[int, dict[str, Json]] = (-1, {})
        on_stop.append(self._changes.stop)

    def app(self, checks: Sequence[Middleware]) -> Starlette:
        """Return the routes, with the checks in front of them."""
        return Starlette(
            routes=[
                *(Route(path, _page) for path in PAGES),
                Route(LOGIN_PATH, self._login_page),
                Route(LOGIN_PATH, self._login, methods=["POST"]),
                Route("/logout", self._logout, methods=["POST"]),
                Route("/static/{path:path}", _static),
                Route("/api/session", self._session),
                Route("/api/events", self._events),
                *(Route(path, self._read(read)) for path, read in READS.items()),
                *(Route(path, self._write(write), methods=[method]) for (method, path), write in WRITES.items()),
                Route("/api/maintenance/{name}", self._write(maintain), methods=["POST"]),
            ],
            middleware=[Middleware(SafeHeaders), Middleware(Guard, sessions=self._sessions), *checks],
            exception_handlers={HTTPException: _no_route},
            lifespan=self._running,
        )

    @asynccontextmanager
    async def _running(self, _: Starlette) -> AsyncIterator[None]:
        yield
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _read(self, read: Callable[[Engine, Asked], Json]) -> Endpoint:
        async def answer(request: Request) -> Response:
            asked = Asked({**request.query_params, **request.path_params})
            return await self._answer(lambda: read(self._open_engine(), asked))

        return answer

    def _write(self, write: Write) -> Endpoint:
        async def answer(request: Request) -> Response:
            session = session_of(request)
            actions: Actions = [] if session is None else session.actions
            body = await request.body() if request.method != "DELETE" else b""

            def work() -> Json:
                asked = Asked({**request.query_params, **_object(body), **request.path_params})
                previews = write is maintain and asked.flag("dry_run") is not False
                if self._settings.read_only and not previews:
                    raise Unavailable(
                        "This server is read-only.",
                        hint="Start it without --read-only (MIMIR_READ_ONLY) to change memories.",
                    )
                return write(self._open_engine(), asked, actions)

            return await self._answer(work)

        return answer

    async def _answer(self, work: Callable[[], Json]) -> Response:
        try:
            result = await asyncio.get_running_loop().run_in_executor(self._threads, work)
            return Response(msgspec.json.encode(result), media_type="application/json")
        except MimirError as error:
            return _failed(error)
        except Exception:  # the outermost line: a bug is logged, and its details stay here
            logging.getLogger(__name__).exception("the dashboard failed")
            return failure(500, "internal", "This failed because of a bug in Mimir.", hint="The log has the details.")

    async def _session(self, request: Request) -> Response:
        known = session_of(request)
        response = Response(media_type="application/json")
        session = known or self._sessions.begin(response)
        about = {"csrf": session.csrf, "auth": self._sessions.asks, "undo": len(session.actions)}
        answer = await self._answer(lambda: {**self._known_facts(), **about})
        for name, value in response.headers.items():
            if name == "set-cookie":
                answer.headers.append(name, value)
        return answer

    def _known_facts(self) -> dict[str, Json]:
        """Return the facts of the store, counted anew only when its memories have changed: every page begins here."""
        engine = self._open_engine()
        counter = engine.store.change_counter()
        if self._facts[0] != counter:
            self._facts = counter, store_facts(engine)
        return self._facts[1]

    async def _events(self, _: Request) -> Response:
        try:
            events = await self._changes.listen()
        except MimirError as error:
            return _failed(error)
        return StreamingResponse(events, media_type="text/event-stream")

    async def _login_page(self, request: Request) -> Response:
        if not self._sessions.asks or session_of(request) is not None:
            return RedirectResponse("/", 303)
        return _login_form()

    async def _login(self, request: Request) -> Response:
        address = address_of(request.scope)
        if wait := self._sessions.must_wait(address):
            return _login_form(f"Too many wrong tokens. Try again in {wait} s.", 429, {"Retry-After": str(wait)})
        form = parse_qs((await request.body()).decode("utf-8", "replace"))
        if not self._sessions.asks or not self._sessions.is_token(form.get("token", [""])[0].strip()):
            self._sessions.note_failure(address)
            return _login_form("That is not the token.", 401)
        response = RedirectResponse(_page_after(request.query_params.get("next", "")), 303)
        self._sessions.end(session_of(request), response)
        self._sessions.begin(response)
        return response

    async def _logout(self, request: Request) -> Response:
        response = JSONResponse({"ok": True})
        self._sessions.end(session_of(request), response)
        return response


class SafeHeaders:
    """Give every response the headers that keep a browser from running, framing or keeping what it should not."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        kept = "no-store" if scope["path"].startswith("/api/") else "no-cache"

        async def send_safe(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(_HEADERS)
                headers.setdefault("Cache-Control", kept)
            await send(message)

        await self._app(scope, receive, send_safe)


def _object(body: bytes) -> dict[str, Json]:
    """Return the JSON object of a request's body, an empty one when there is no body.

    Raises:
        InvalidInput: it is something else.
    """
    try:
        value = msgspec.json.decode(body) if body.strip() else {}
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"The body is no JSON: {error}.", hint="Send a JSON object.") from None
    if not isinstance(value, dict):
        raise InvalidInput("The body is no JSON object.", hint='Send one, such as {"revision": 7}.')
    return value


def _failed(error: MimirError) -> Response:
    if isinstance(error, Stale):
        body = {"error": error.message, "code": error.code, "hint": error.hint, "current": error.current}
        return Response(msgspec.json.encode(body), error.http_status, media_type="application/json")
    return failure(error.http_status, error.code, error.message, hint=error.hint)


def _page_after(wanted: str) -> str:
    """Return where to go after the login: only to a page of our own."""
    path, question, query = wanted.partition("?")
    return f"{path}{question}{quote(query, safe='=&')}" if path in PAGES else "/"


async def _page(request: Request) -> Response:
    return send_page(request)


async def _static(request: Request) -> Response:
    return send_asset(request, request.path_params["path"])


def _login_form(message: str = "", status: int = 200, headers: dict[str, str] | None = None) -> Response:
    form = page("login.html").content.decode()
    shown = f'<p role="alert" class="error">{html.escape(message)}</p>' if message else ""
    return HTMLResponse(form.replace(_MESSAGE, shown), status, headers)


async def _no_route(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 404
    code = "not_found" if status == 404 else "invalid_input"  # noqa: PLR2004 - the status of Not Found
    return failure(status, code, f"There is no {request.method} {request.url.path:.200}.")
