"""A `mimir serve` of one's own: requests in, each reply to whom it belongs, nothing left behind."""

from __future__ import annotations

import itertools
import json
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import IO, Any, Final

from mimir.config import environment_for_child
from mimir.errors import InvalidInput, Unavailable

Json = Any

CLOSE_TIMEOUT_S: Final = 5.0

_KEPT_ERROR_LINES: Final = 20


class ServerProcess:
    """A server process: requests in, each reply to whom it belongs."""

    def __init__(self, command: Sequence[str]) -> None:
        self._name = command[0]
        try:
            self.process = subprocess.Popen(
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
            _start(self._read_replies, _pipe(self.process.stdout)),
            _start(self._read_errors, _pipe(self.process.stderr)),
        ]

    def has_ended(self) -> bool:
        """Tell whether the process has ended."""
        return self.process.poll() is not None

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
            _pipe(self.process.stdin).close()
        try:
            self.process.wait(CLOSE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join()
        for pipe in (self.process.stdout, self.process.stderr):
            _pipe(pipe).close()

    def _send(self, message: Mapping[str, Json]) -> None:
        line = encode(message) + b"\n"
        try:
            with self._writing:
                pipe = _pipe(self.process.stdin)
                pipe.write(line)
                pipe.flush()
        except (OSError, ValueError):  # a closed file is a ValueError
            raise self._gone() from None

    def _gone(self) -> Unavailable:
        if self.process.poll() is not None:
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


def encode(message: Mapping[str, Json]) -> bytes:
    """Return a message as JSON.

    Raises:
        InvalidInput: a value in it is not JSON.
    """
    try:
        return json.dumps(message).encode()
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"An argument is not JSON: {error}.") from None


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:  # never: the process was started with all three
        raise Unavailable("The server has no streams.")
    return stream


def _start(read: Callable[[IO[bytes]], None], pipe: IO[bytes]) -> threading.Thread:
    thread = threading.Thread(target=read, args=(pipe,), name="mimir-adapter", daemon=True)
    thread.start()
    return thread
