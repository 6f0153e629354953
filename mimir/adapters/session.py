"""One way to call Mimir from a program, in three forms: in this process, over a `mimir serve` of its own, over HTTP.

Every adapter is written against `Session`: the name of an operation and its arguments in, the result as the tool
answers it out, failures as the exceptions of `mimir.errors`. All forms may be used from several threads.
"""

from __future__ import annotations

import itertools
import json
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Protocol
from urllib.parse import urlunsplit

from mimir import __version__
from mimir.adapters.process import ServerProcess, encode, reply_of
from mimir.catalogue import TOOL_PREFIX, load_catalogue, load_function
from mimir.clock import SystemClock
from mimir.config import is_loopback, is_offline, option
from mimir.errors import ALL, InvalidInput, MimirError, Unauthorized, Unavailable
from mimir.memory import Memory
from mimir.operation import read_arguments
from mimir.remote import exchange, read_address, read_secret
from mimir.retrieval import MAXIMUM_OFFSET

Json = Any

CALL_TIMEOUT_S: Final = 30.0
START_TIMEOUT_S: Final = 10.0
MESSAGE_PATH: Final = "/message"

_ERRORS: Final = {error.code: error for error in ALL}
_PAGE: Final = 200
_LEGACY_VERSION: Final = "2025-11-25"


class Session(Protocol):
    """A connection to one store."""

    def call(self, operation: str, /, **arguments: Json) -> dict[str, Json]:
        """Run an operation, such as ``recall``, and return its result; an argument of None counts as not given.

        Raises:
            MimirError: the operation failed; the class tells how.
            Unavailable: the server cannot be started or reached, or does not answer in time.
        """

    def close(self) -> None:
        """Release what the session holds; closing twice is harmless."""


def open_session(
    db: str | None = None,
    *,
    session: Session | None = None,
    memory: Memory | None = None,
    command: Sequence[str] = (),
    url: str = "",
    token: str = "",
    timeout_s: float = CALL_TIMEOUT_S,
    start_timeout_s: float = START_TIMEOUT_S,
    **settings: Any,  # noqa: ANN401 - passed on as they are
) -> Session:
    """Open a session in the form that the arguments ask for.

    ``session`` and ``memory`` use what is open, and stay open when this session is closed; ``url`` speaks to a server
    that is reached over HTTP, with its ``token``; ``command``, such as ``("mimir",)``, starts a server of its own on
    first use; with none of them the store at ``db`` is opened in this process. ``settings`` are those of
    `mimir.config.Settings`, such as ``encryption_key``.

    Raises:
        InvalidInput: the arguments ask for several forms at once, or a setting does not exist.
        MimirError: the store cannot be opened.
    """
    forms = {"session": session, "memory": memory, "command": command, "url": url}
    asked = [name for name, given in forms.items() if given]
    if len(asked) > 1:
        raise InvalidInput(f"A session has one form, not {' and '.join(asked)}.", hint="Give one of them.")
    if session is not None:
        return BorrowedSession(session)
    if url:
        return HttpSession(url, token, timeout_s=timeout_s)
    if command:
        return StdioSession(
            [*command, "serve", *_flags(db, settings)], timeout_s=timeout_s, start_timeout_s=start_timeout_s
        )
    if memory is not None:
        return LocalSession(memory)
    return LocalSession(Memory.open(db, **settings), owned=True)


def _flags(db: str | None, settings: Mapping[str, object]) -> list[str]:
    flags = []
    for field, value in {"db": db, **settings}.items():
        try:
            declared = option(field)
        except KeyError:
            raise InvalidInput(f"There is no setting {field!r}.", hint="See docs/cli.md for the settings.") from None
        if value is not None and (value != "" or declared.may_be_empty):
            flags.append(f"{declared.flag}={value}")
    return flags


def entity_named(session: Session, category: str, key: str, workspace_hash: str) -> dict[str, Json] | None:
    """Return a memory in full that is live and holds now, or None.

    Raises:
        MimirError: it cannot be read.
    """
    now = SystemClock().now_ms()
    named = {"category": category, "key": key, "workspace_hash": workspace_hash}
    found = session.call("as_of", as_of_unix_ms=now, valid_at_unix_ms=now, **named)
    if not found["found"] or found["archived"]:
        return None
    return _in_full(session, found["id"])


def _in_full(session: Session, id: str) -> dict[str, Json]:
    """Return a memory by its id; a server shows a long body in pages."""
    entity = session.call("get_entity", id=id)
    if "truncated" in entity:
        body = ""
        while page := session.call("get_entity", id=id, offset=len(body))["body_json"]:
            body += page
        entity["body_json"] = body
    return entity


def every_item(session: Session, page: int = _PAGE, **arguments: Json) -> Iterator[dict[str, Json]]:
    """Yield what a recall finds, page after page of ``page`` items, as far as recall reaches, bodies in full.

    Raises:
        MimirError: it cannot be searched.
    """
    offset = 0
    while offset <= MAXIMUM_OFFSET:
        reply = session.call("recall", limit=page, offset=offset, reinforce=False, **arguments)
        items = reply["items"]
        for item in items:
            yield {**item, "body_json": _in_full(session, item["id"])["body_json"]} if "truncated" in reply else item
        if not items:
            return
        offset += len(items)


class BorrowedSession:
    """A session on another one, which stays open."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def call(self, operation: str, /, **arguments: Json) -> dict[str, Json]:
        """Run an operation through the other session."""
        return self._session.call(operation, **arguments)

    def close(self) -> None:
        """Leave the other session open."""


class LocalSession:
    """A session on a `Memory` of this process."""

    def __init__(self, memory: Memory, *, owned: bool = False) -> None:
        self.memory = memory
        self._owned = owned
        self._catalogue = load_catalogue()

    def call(self, operation: str, /, **arguments: Json) -> dict[str, Json]:
        """Run an operation and return its result as the tool answers it.

        Raises:
            MimirError: the operation failed.
        """
        entry = self._catalogue.get(operation)
        if entry is None:
            raise InvalidInput(f"There is no operation {operation!r}.", hint="See docs/tools.md for the operations.")
        result = load_function(entry)(self.memory, **read_arguments(entry, arguments))

        import msgspec

        plain: dict[str, Json] = result.wire() if hasattr(result, "wire") else msgspec.to_builtins(result)
        return plain

    def close(self) -> None:
        """Close the memory if the session opened it."""
        if self._owned:
            self.memory.close()


class StdioSession:
    """A session on a server process of its own, which is started on first use and again after it has died."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        timeout_s: float = CALL_TIMEOUT_S,
        start_timeout_s: float = START_TIMEOUT_S,
    ) -> None:
        self._command = tuple(command)
        self._timeout_s = timeout_s
        self._start_timeout_s = start_timeout_s
        self._lock = threading.Lock()
        self._server: ServerProcess | None = None
        self._closed = False

    def call(self, operation: str, /, **arguments: Json) -> dict[str, Json]:
        """Run an operation on the server and return its result.

        Raises:
            MimirError: the operation failed.
            Unavailable: the server cannot be started, has ended, or does not answer in time. What it was asked for may
                have been done all the same.
        """
        params = {"name": TOOL_PREFIX + operation, "arguments": _given(arguments)}
        return result_of(self._running().ask("tools/call", params, self._timeout_s))

    def close(self) -> None:
        """Let the server finish what it has accepted, and end it."""
        with self._lock:
            self._closed = True
            if self._server is not None:
                self._server.end()

    def _running(self) -> ServerProcess:
        with self._lock:
            if self._closed:
                raise Unavailable("The session is closed.", hint="Open another.")
            if self._server is None or self._server.has_ended():
                server = ServerProcess(self._command)
                # A session that is forgotten rather than closed must not leave its server behind.
                weakref.finalize(self, server.end)
                about = {"name": "mimir-adapter", "version": __version__}
                opening = {"protocolVersion": _LEGACY_VERSION, "capabilities": {}, "clientInfo": about}
                try:
                    server.ask("initialize", opening, self._start_timeout_s)
                except Unavailable:
                    server.end()
                    raise
                server.tell("notifications/initialized", {})
                self._server = server
            return self._server


class HttpSession:
    """A session on a server that is reached over HTTP; under MIMIR_OFFLINE only one on this machine."""

    def __init__(self, url: str, token: str = "", *, timeout_s: float = CALL_TIMEOUT_S) -> None:
        parts = read_address(url, "url", "Give one such as http://127.0.0.1:8767.")
        if is_offline() and not is_loopback(parts.hostname or ""):
            raise Unavailable("MIMIR_OFFLINE keeps that server from being asked.", hint="Use one on this machine.")
        base = parts.path.rstrip("/").removesuffix("/mcp").removesuffix(MESSAGE_PATH)
        self._url = urlunsplit(parts._replace(path=base + MESSAGE_PATH, query="", fragment=""))
        self._token = read_secret(token, "token")
        self._timeout_s = timeout_s
        self._numbers = itertools.count(1)

    def call(self, operation: str, /, **arguments: Json) -> dict[str, Json]:
        """Run an operation on the server and return its result.

        Raises:
            MimirError: the operation failed.
            Unauthorized: the token is missing or wrong.
            Unavailable: the server cannot be reached or does not answer in time. What it was asked for may have been
                done all the same.
        """
        params = {"name": TOOL_PREFIX + operation, "arguments": _given(arguments)}
        message = {"jsonrpc": "2.0", "id": next(self._numbers), "method": "tools/call", "params": params}
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        reply = exchange(self._url, timeout_s=self._timeout_s, headers=headers, data=encode(message))
        if reply.status == Unauthorized.http_status:
            raise Unauthorized(f"{self._url} refused the token.", hint="Give the one that the server was started with.")
        try:
            answer = json.loads(reply.data)
        except ValueError:
            raise Unavailable(
                f"{self._url} answered HTTP {reply.status}, which is no reply of Mimir.",
                hint="Check that mimir serve --transport http listens there.",
            ) from None
        return result_of(reply_of(answer))

    def close(self) -> None:
        """Do nothing: each call is an exchange of its own."""


def result_of(result: Mapping[str, Json]) -> dict[str, Json]:
    """Return the payload of a tool's result.

    Raises:
        MimirError: the tool failed; the class follows from the code in the payload.
    """
    payload = result.get("structuredContent")
    if not isinstance(payload, dict):
        text = next((part["text"] for part in result.get("content", ()) if part.get("type") == "text"), "")
        try:
            payload = json.loads(text)
        except ValueError:
            payload = {"error": text}
    if result.get("isError") or "error" in payload:
        raise _ERRORS.get(payload.get("code", ""), MimirError)(
            str(payload.get("error", "The tool failed.")), hint=str(payload.get("hint", ""))
        )
    return payload


def _given(arguments: Mapping[str, Json]) -> dict[str, Json]:
    return {name: value for name, value in arguments.items() if value is not None}
