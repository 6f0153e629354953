"""One way to call Mimir from a program, in three forms: in this process, over a `mimir serve` of its own, over HTTP.

Every adapter is written against `Session`: the name of an operation and its arguments in, the result as the tool
answers it out, failures as the exceptions of `mimir.errors`. All forms may be used from several threads.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import IO, Any, Final, Protocol
from urllib.parse import urlunsplit

from mimir import __version__
from mimir.catalogue import TOOL_PREFIX, load_catalogue, load_function
from mimir.clock import SystemClock
from mimir.config import environment_for_child, is_loopback, is_offline, option
from mimir.errors import ALL, InvalidInput, MimirError, Unauthorized, Unavailable
from mimir.memory import Memory
from mimir.operation import read_arguments
from mimir.remote import exchange, read_address, read_secret
from mimir.retrieval import MAXIMUM_OFFSET

Json = Any

CALL_TIMEOUT_S: Final = 30.0
START_TIMEOUT_S: Final = 10.0
CLOSE_TIMEOUT_S: Final = 5.0
MESSAGE_PATH: Final = "/message"

_ERRORS: Final = {error.code: error for error in ALL}
_KEPT_ERROR_LINES: Final = 20
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
    memory: Memory | None = None,
    command: Sequence[str] = (),
    url: str = "",
    token: str = "",
    timeout_s: float = CALL_TIMEOUT_S,
    start_timeout_s: float = START_TIMEOUT_S,
    **settings: Any,  # noqa: ANN401 - passed on as they are
) -> Session:
    """Open a session in the form that the arguments ask for.

    ``memory`` uses an open `Memory`, which stays open when the session is closed; ``url`` speaks to a server that is
    reached over HTTP, with its ``token``; ``command``, such as ``("mimir",)``, starts a server of its own on first
    use; with none of them the store at ``db`` is opened in this process. ``settings`` are those of
    `mimir.config.Settings`, such as ``encryption_key``.

    Raises:
        InvalidInput: the arguments ask for several forms at once, or a setting does not exist.
        MimirError: the store cannot be opened.
    """
    asked = [name for name, given in (("memory", memory), ("command", command), ("url", url)) if given]
    if len(asked) > 1:
        raise InvalidInput(f"A session has one form, not {' and '.join(asked)}.", hint="Give one of them.")
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
        self._server: _Server | None = None
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

    def _running(self) -> _Server:
        with self._lock:
            if self._closed:
                raise Unavailable("The session is closed.", hint="Open another.")
            if self._server is None or self._server.has_ended():
                server = _Server(self._command)
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
        reply = exchange(self._url, timeout_s=self._timeout_s, headers=headers, data=_encode(message))
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


class _Server:
    """A server process: requests in, each reply to whom it belongs."""

    def __init__(self, command: Sequence[str]) -> None:
        self._name = command[0]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment_for_child(),
            )
        except OSError as error:
            raise Unavailable(
                f"{self._name} cannot be started: {error.strerror}.",
                hint="Give the absolute path of the mimir command.",
            ) from error
        self._numbers = itertools.count(1)
        self._writing = threading.Lock()
        self._waiting: dict[int, SimpleQueue[dict[str, Json] | None]] = {}
        self._errors: deque[str] = deque(maxlen=_KEPT_ERROR_LINES)
        self._threads = [
            _start(self._read_replies, _pipe(self._process.stdout)),
            _start(self._read_errors, _pipe(self._process.stderr)),
        ]

    def has_ended(self) -> bool:
        """Tell whether the process has ended."""
        return self._process.poll() is not None

    def ask(self, method: str, params: Mapping[str, Json], timeout_s: float) -> dict[str, Json]:
        """Send a request and return its result.

        Raises:
            Unavailable: the process has ended or does not answer in time.
            InvalidInput: the server refused the request itself.
        """
        number = next(self._numbers)
        reply: SimpleQueue[dict[str, Json] | None] = SimpleQueue()
        self._waiting[number] = reply
        try:
            self._send({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
            message = reply.get(timeout=timeout_s)
        except Empty:
            with suppress(Unavailable):
                self.tell("notifications/cancelled", {"requestId": number, "reason": "time-out"})
            raise Unavailable(
                f"{self._name} did not answer within {timeout_s:g} s.", hint="Give a longer time-out."
            ) from None
        finally:
            self._waiting.pop(number, None)
        if message is None:
            raise self._gone()
        return reply_of(message)

    def tell(self, method: str, params: Mapping[str, Json]) -> None:
        """Send a notification.

        Raises:
            Unavailable: the process has ended.
        """
        self._send({"jsonrpc": "2.0", "method": method, "params": params})

    def end(self) -> None:
        """Close the server's input and wait until it has ended."""
        with self._writing, suppress(OSError):
            _pipe(self._process.stdin).close()
        try:
            self._process.wait(CLOSE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join()
        for pipe in (self._process.stdout, self._process.stderr):
            _pipe(pipe).close()

    def _send(self, message: Mapping[str, Json]) -> None:
        line = _encode(message) + b"\n"
        try:
            with self._writing:
                pipe = _pipe(self._process.stdin)
                pipe.write(line)
                pipe.flush()
        except (OSError, ValueError):  # a closed file is a ValueError
            raise self._gone() from None

    def _gone(self) -> Unavailable:
        if self._process.poll() is not None:
            self._threads[1].join()
        said = " ".join(self._errors)
        return Unavailable(
            f"{self._name} has ended" + (f": {said}" if said else "."),
            hint="Call again to start it anew; what was asked for may have been done.",
        )

    def _read_replies(self, pipe: IO[bytes]) -> None:
        for line in pipe:
            try:
                message = json.loads(line)
            except ValueError:
                continue
            waiting = self._waiting.get(message.get("id", 0)) if isinstance(message, dict) else None
            if waiting is not None:
                waiting.put(message)
        for waiting in list(self._waiting.values()):
            waiting.put(None)

    def _read_errors(self, pipe: IO[bytes]) -> None:
        # Read to the end: a server whose messages nobody takes would stand still.
        for line in pipe:
            self._errors.append(line.decode(errors="replace").strip())


def reply_of(message: Mapping[str, Json]) -> dict[str, Json]:
    """Return the result in a JSON-RPC reply.

    Raises:
        InvalidInput: the reply is an error of the protocol, such as an unknown tool.
    """
    if "error" in message:
        raise InvalidInput(str(message["error"].get("message", "The server refused the request.")))
    result: dict[str, Json] = message.get("result") or {}
    return result


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


def _encode(message: Mapping[str, Json]) -> bytes:
    try:
        return json.dumps(message).encode()
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"An argument is not JSON: {error}.") from None


def _given(arguments: Mapping[str, Json]) -> dict[str, Json]:
    return {name: value for name, value in arguments.items() if value is not None}


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:  # never: the process was started with all three
        raise Unavailable("The server has no streams.")
    return stream


def _start(read: Callable[[IO[bytes]], None], pipe: IO[bytes]) -> threading.Thread:
    thread = threading.Thread(target=read, args=(pipe,), name="mimir-adapter", daemon=True)
    thread.start()
    return thread
