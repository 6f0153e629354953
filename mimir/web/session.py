"""Who may use the dashboard: a cookie for browsers, a bearer token for programs.

A session is 32 random bytes in a cookie that scripts cannot read and other sites cannot send. Pages of another port of
this machine count as the same site, so what changes something must also carry a second secret, which only our own
pages can read.
"""

from __future__ import annotations

import hmac
import secrets
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, RedirectResponse, Response

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

    from mimir.config import Settings

SESSION_S: Final = 12 * 3600
"""How long a session lives after its last use, in seconds."""

MOST_SESSIONS: Final = 1_000
"""Sessions kept; beyond that the one used longest ago ends."""

FAILURES_A_MINUTE: Final = 10
"""Wrong tokens that one address may send in a minute before it has to wait."""

LOGIN_PATH: Final = "/login"
CSRF_HEADER: Final = "x-csrf-token"

_OPEN: Final = (LOGIN_PATH, "/static/", "/favicon.ico")
_READS: Final = ("GET", "HEAD", "OPTIONS")


class Session:
    """One browser: its two secrets, and what it did last, so that this can be undone."""

    def __init__(self) -> None:
        self.name = secrets.token_urlsafe(32)
        self.csrf = secrets.token_urlsafe(32)
        self.actions: list[Any] = []


class Sessions:
    """The sessions of one server; they end with it."""

    def __init__(self, settings: Settings, now: Callable[[], float] = time.monotonic) -> None:
        self._token = settings.web_auth_token.encode()
        self._secure = bool(settings.tls_cert)
        # Cookies do not know ports: two dashboards of one machine would log each other out.
        self.cookie = f"{'__Host-' if self._secure else ''}mimir_session_{settings.port}"
        self._now = now
        self._sessions: OrderedDict[str, tuple[Session, float]] = OrderedDict()
        self._failures: Counter[str] = Counter()
        self._minute = -1

    @property
    def asks(self) -> bool:
        """Tell whether a token is asked for."""
        return bool(self._token)

    def is_token(self, given: str) -> bool:
        """Tell whether this is the token, in a time that tells nothing about it."""
        return hmac.compare_digest(given.encode("utf-8", "replace"), self._token)

    def must_wait(self, address: str) -> int:
        """Return for how many seconds no token is taken from an address that has sent too many wrong ones."""
        minute, second = divmod(int(self._now()), 60)
        if minute != self._minute:
            self._minute = minute
            self._failures.clear()
        return 60 - second if self._failures[address] >= FAILURES_A_MINUTE else 0

    def note_failure(self, address: str) -> None:
        """Count a wrong token."""
        self._failures[address] += 1

    def begin(self, response: Response) -> Session:
        """Begin a session and let the response carry its cookie."""
        session = Session()
        while len(self._sessions) >= MOST_SESSIONS:
            self._sessions.popitem(last=False)
        self._sessions[session.name] = (session, self._now() + SESSION_S)
        response.set_cookie(
            self.cookie,
            session.name,
            max_age=SESSION_S,
            path="/",
            secure=self._secure,
            httponly=True,
            samesite="strict",
        )
        return session

    def find(self, headers: Headers) -> Session | None:
        """Return the session that a request belongs to, which lives on from now."""
        try:
            morsel = SimpleCookie(headers.get("cookie", "")).get(self.cookie)
        except CookieError:
            return None
        session, until = self._sessions.pop(morsel.value, (None, 0.0)) if morsel else (None, 0.0)
        if session is None or until < self._now():
            return None
        self._sessions[session.name] = (session, self._now() + SESSION_S)
        return session

    def end(self, session: Session | None, response: Response) -> None:
        """End a session, and let the browser forget its cookie."""
        if session is not None:
            self._sessions.pop(session.name, None)
        response.delete_cookie(self.cookie, path="/", secure=self._secure, httponly=True, samesite="strict")


class Guard:
    """Let through whoever may: a session, the bearer token, or anyone where no token is set; leave word which."""

    def __init__(self, app: ASGIApp, *, sessions: Sessions) -> None:
        self._app = app
        self._sessions = sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        session = self._sessions.find(headers)
        scope.setdefault("state", {})["session"] = session
        refusal = None
        if not _is_open(scope["path"]):
            refusal = self._refusal(scope, headers, session)
        await (refusal or self._app)(scope, receive, send)

    def _refusal(self, scope: Scope, headers: Headers, session: Session | None) -> Response | None:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        bearer = scheme.lower() == "bearer" and self._sessions.asks
        if bearer:
            if wait := self._sessions.must_wait(address_of(scope)):
                return too_many(wait)
            if self._sessions.is_token(token.strip()):
                return None
            self._sessions.note_failure(address_of(scope))
        if self._sessions.asks and (bearer or session is None):
            return _unauthorized(scope)
        return None if scope["method"] in _READS else _check_page(headers, session)


def address_of(scope: Scope) -> str:
    """Return the address that a request comes from."""
    client = scope.get("client")
    return str(client[0]) if client else ""


def too_many(wait_s: int) -> Response:
    """Return the answer to an address that has sent too many wrong tokens."""
    message = f"Too many wrong tokens. Try again in {wait_s} s."
    return failure(429, "too_many_requests", message, headers={"Retry-After": str(wait_s)})


def failure(
    status: int, code: str, message: str, *, hint: str = "", headers: dict[str, str] | None = None
) -> JSONResponse:
    """Return a failure in the one shape that all have."""
    return JSONResponse({"error": message, "code": code, "hint": hint}, status, headers)


def session_of(request: Request) -> Session | None:
    """Return the session that a request belongs to."""
    session: Session | None = request.state.session
    return session


def _is_open(path: str) -> bool:
    return any(path == one or (one.endswith("/") and path.startswith(one)) for one in _OPEN)


def _unauthorized(scope: Scope) -> Response:
    if scope["path"].startswith("/api/") or scope["method"] not in _READS:
        return failure(
            401,
            "unauthorized",
            "The dashboard asks for its token.",
            hint="Log in at /login, or send it as: Authorization: Bearer TOKEN.",
            headers={"WWW-Authenticate": "Bearer"},
        )
    return RedirectResponse(f"{LOGIN_PATH}?next={quote(scope['path'])}", 303)


def _check_page(headers: Headers, session: Session | None) -> Response | None:
    """Refuse what a browser asks on behalf of a page that is not ours."""
    if session is None:
        # Browsers name the origin of every page that changes something; a program has none.
        asked_by_page = "origin" in headers or "sec-fetch-site" in headers
    else:
        given = headers.get(CSRF_HEADER, "").encode("utf-8", "replace")
        asked_by_page = not hmac.compare_digest(given, session.csrf.encode())
    if not asked_by_page:
        return None
    return failure(
        403,
        "forbidden",
        "This change was not asked for by a page of the dashboard.",
        hint="Reload the page. It sends as X-CSRF-Token what /api/session calls csrf.",
    )
