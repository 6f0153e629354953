"""The thin loop around the dispatcher: one JSON message a line on standard input, one reply a line on standard output.

The main thread reads. What costs nothing it answers itself; calls of tools run one after the other on a second thread,
in the order in which they came, and those of operations declared long on a third, so that nobody waits for them.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Final

from mimir.config import IS_WINDOWS
from mimir.errors import MimirError
from mimir.server.call import Call, progress_token
from mimir.server.dispatch import CALLS, Dispatcher
from mimir.server.message import INVALID_REQUEST, Fault, Notification, Request, encode, read_message
from mimir.server.roots import Roots
from mimir.workspace import AUTO

if TYPE_CHECKING:
    import logging

    from mimir.progress import Listener

MAXIMUM_LINE_BYTES: Final = 32 * 1024 * 1024
"""Longest message that is read; of a longer one nothing is kept."""

BACKLOG_BYTES: Final = 64 * 1024 * 1024
"""How much may wait for its turn before the reading pauses."""

END_OF_INPUT_S: Final = 30.0
"""How long one accepted call may take after the end of input, in seconds: however many wait, each gets its turn."""

TERMINATION_S: Final = 2.0
"""The same after SIGTERM, SIGINT or the death of the parent, in seconds: hosts kill soon after they have asked."""

BESIDE_S: Final = 1.0
"""How long what runs beside the serving waits for the first reply, in seconds."""

PARENT_POLL_S: Final = 5.0
"""How often an idle server looks whether its parent still lives, in seconds."""

_CHUNK: Final = 256 * 1024
_OPENINGS: Final = ("initialize", "server/discover")

# Each is the end of a line to some reader of lines, and in JSON it can only stand inside a string.
_LINE_ENDS: Final = tuple((end.encode(), b"\\u%04x" % ord(end)) for end in "\u0085\u2028\u2029")


Start = Callable[[], Callable[[], None]]
"""Starts something without keeping the caller waiting, and returns what ends it."""


def serve_stdio(dispatcher: Dispatcher, beside: Start | None = None, *, parent_poll_s: float = PARENT_POLL_S) -> int:
    """Serve on the standard streams until the end of input, a signal or the death of the parent.

    ``beside`` runs from after the first reply, so that a client never waits for it, until before the store is closed.

    Returns the exit status: 0, or 1 when the streams are not open. When calls outlive their bound after the end, the
    process ends on the spot with status 1.
    """
    try:
        source, sink = claim_streams()
    except OSError:
        sys.stderr.write("mimir: standard input or output is closed; a server needs both.\n")
        return 1
    StdioServer(dispatcher, source, sink, beside, parent_poll_s=parent_poll_s).run()
    return 0


def claim_streams() -> tuple[int, int]:
    """Take the standard streams for the protocol alone and return their private descriptors, input and output.

    What else prints in this process prints to standard error; what reads in a child finds nothing.

    Raises:
        OSError: standard input or output is closed.
    """
    for number in (0, 1):
        os.fstat(number)
    null = os.open(os.devnull, os.O_RDWR)  # the lowest free number: standard error, if that is closed
    source, sink = os.dup(0), os.dup(1)
    os.dup2(null, 0)
    os.dup2(2, 1)
    if null != 2:  # noqa: PLR2004 - the number of standard error
        os.close(null)
    return source, sink


class Lines:
    """Cuts a stream of bytes into lines, however it arrives."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def cut(self, data: bytes) -> Iterator[bytes | None]:
        """Take the next bytes, none at the end of the stream, and yield the lines they end; None is one too long."""
        *ended, rest = data.split(b"\n")
        for piece in ended:
            self._keep(piece)
            yield self._take()
        self._keep(rest)
        if not data and self._size:
            yield self._take()

    def _keep(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > MAXIMUM_LINE_BYTES:
            self._parts.clear()
        else:
            self._parts.append(piece)

    def _take(self) -> bytes | None:
        line = b"".join(self._parts) if self._size <= MAXIMUM_LINE_BYTES else None
        self._parts.clear()
        self._size = 0
        return line


class Worker:
    """A thread that runs what it is given, one after the other; it starts with the first."""

    def __init__(self, name: str) -> None:
        self._tasks: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    def put(self, task: Callable[[], None]) -> None:
        """Let the thread run ``task`` after all that it was given before."""
        if self._thread.ident is None:
            self._thread.start()
        self._tasks.put(task)

    def finish(self) -> None:
        """Wait until everything has been run."""
        if self._thread.ident is not None:
            self._tasks.put(None)
            self._thread.join()

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            task()


class StdioServer:
    """One run of the server over a pair of file descriptors."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        source: int,
        sink: int,
        beside: Start | None = None,
        *,
        parent_poll_s: float = PARENT_POLL_S,
    ) -> None:
        self._beside = beside
        self._end_beside: Callable[[], None] | None = None
        self._dispatcher = dispatcher
        self._source = source
        self._sink = sink
        self._parent_poll_s = parent_poll_s
        self._parent = os.getppid()
        self._log = _logger() if dispatcher.settings.log_level in ("debug", "info") else None
        self._stopped = ""
        self._warm = False
        self._calls: dict[str | float, Call] = {}
        self._backlog = 0
        self._answered = 0
        self._lock = threading.Lock()
        self._output = threading.Lock()
        self._in_order = Worker("mimir-calls")
        self._long = Worker("mimir-long-calls")
        self._roots = None
        if dispatcher.settings.workspace == AUTO:
            self._roots = Roots(dispatcher, self._write, self._log_workspace)
        self._woken, self._wake = (-1, -1) if IS_WINDOWS else os.pipe()

    def run(self) -> None:
        """Serve until there is a reason to stop; then finish what was accepted and close the store."""
        if self._log:
            self._log.info("serving %s", self._dispatcher.settings.db)
        self._log_workspace()
        if not IS_WINDOWS:  # where a read cannot be interrupted, and Ctrl-C or the end of input have to do
            os.set_blocking(self._wake, False)
            signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
            signal.signal(signal.SIGTERM, self._on_signal)
            signal.signal(signal.SIGINT, self._on_signal)
        if self._beside:
            # A person may start the server without any client.
            quiet = threading.Timer(BESIDE_S, self._start_beside)
            quiet.daemon = True
            quiet.start()
        try:
            self._read()
        except KeyboardInterrupt:
            self._stopped = "SIGINT"
        if self._log:
            self._log.info("stopping: %s", self._stopped)
        done = threading.Event()
        threading.Thread(target=self._bound_end, args=(done,), daemon=True).start()
        if self._roots is not None:
            self._roots.give_up()
        self._in_order.finish()
        self._long.finish()
        if self._end_beside is not None:
            self._end_beside()
        try:
            self._dispatcher.close()
        except MimirError as error:
            # Every acknowledged memory is safe: what is lost is how often some were used.
            _logger().warning("closing the store: %s", error.message)
        done.set()

    def _read(self) -> None:
        lines = Lines()
        while not self._stopped:
            if not self._wait():
                continue
            try:
                data = os.read(self._source, _CHUNK)
            except BlockingIOError:
                continue
            except OSError:  # a terminal or a socket that is gone
                data = b""
            for line in lines.cut(data):
                self._accept(line)
            if not data:
                self._stopped = "end of input"

    def _log_workspace(self) -> None:
        if self._log and self._dispatcher.settings.workspace:
            workspace = self._dispatcher.workspace
            self._log.info("workspace of calls that name none: %s (%s)", workspace.hash or "none", workspace.reason)

    def _wait(self) -> bool:
        """Wait for input, a reason to stop or the time to look after the parent; tell whether there is input."""
        if IS_WINDOWS:  # select takes sockets only: the read itself waits
            return True
        paused = self._backlog > BACKLOG_BYTES
        watched = [self._woken] if paused else [self._woken, self._source]
        ready, _, _ = select.select(watched, (), (), self._parent_poll_s)
        if self._woken in ready:
            os.read(self._woken, 4096)
        # A server that was started by process 1 is nobody's orphan: only a change tells that the parent has died.
        if not ready and os.getppid() != self._parent:
            self._stop("the parent process has ended")
            self._give_up_after(TERMINATION_S)
        return self._source in ready

    def _accept(self, line: bytes | None) -> None:
        if line is None:
            self._write(Fault(INVALID_REQUEST, f"Invalid request: longer than {MAXIMUM_LINE_BYTES} bytes.").reply())
            return
        if not line.strip():
            return
        try:
            message = read_message(line)
        except Fault as fault:
            self._write(fault.reply())
            return
        if self._roots is not None and self._roots.note(message):
            # What is sent from now on means the workspace that the answer will name.
            self._in_order.put(self._roots.wait)
        if isinstance(message, Request):
            self._take_on(message, len(line))
        elif isinstance(message, Notification) and message.method == "notifications/cancelled":
            self._cancel(message.params.get("requestId"))

    def _take_on(self, request: Request, size: int) -> None:
        if request.method in CALLS:
            call = Call(request, self._teller(request))
            with self._lock:
                self._calls[request.id] = call
                self._backlog += size
            self._in_order.put(partial(self._assign, call, size))
            return
        self._write(self._dispatcher.answer(request))
        self._start_beside()
        if request.method in _OPENINGS and not self._warm:
            self._warm = True
            self._in_order.put(self._dispatcher.warm_up)

    def _start_beside(self) -> None:
        with self._lock:
            start, self._beside = self._beside, None
        if start is not None and not self._stopped:
            self._end_beside = start()

    def _cancel(self, request_id: object) -> None:
        if isinstance(request_id, (str, int, float)):
            with self._lock:
                call = self._calls.get(request_id)
                if call is not None:
                    call.cancelled = True

    def _teller(self, request: Request) -> Listener | None:
        """Return what tells the client how far a call has come, or None when it does not want to know."""
        token = progress_token(request)
        if token is None:
            return None

        def tell(done: int, total: int | None) -> None:
            params = {"progressToken": token, "progress": done}
            if total is not None:
                params["total"] = total
            self._write(encode({"jsonrpc": "2.0", "method": "notifications/progress", "params": params}))

        return tell

    def _assign(self, call: Call, size: int) -> None:
        # A long call leaves the queue only in its turn, so that it finds everything written that was sent before it.
        if self._dispatcher.is_long(call.request):
            self._long.put(partial(self._perform, call, size))
        else:
            self._perform(call, size)

    def _perform(self, call: Call, size: int) -> None:
        started = time.perf_counter()
        reply = call.run(self._dispatcher)
        with self._lock:
            self._answered += self._sink >= 0
            if self._calls.get(call.request.id) is call:
                del self._calls[call.request.id]
            paused = self._backlog > BACKLOG_BYTES
            self._backlog -= size
            resumed = paused and self._backlog <= BACKLOG_BYTES
            if call.cancelled:
                reply = None
        if reply is not None:
            self._write(reply)
        self._start_beside()
        if resumed:
            self._wake_reader()
        if self._log:
            outcome = "cancelled" if reply is None else f"answered in {(time.perf_counter() - started) * 1000:.1f} ms"
            self._log.debug("%s: %s", call.request.params.get("name") or call.request.method, outcome)

    def _write(self, reply: bytes) -> None:
        for end, escape in _LINE_ENDS:
            if end in reply:
                reply = reply.replace(end, escape)
        rest = memoryview(reply + b"\n")
        with self._output:
            while rest and self._sink >= 0:
                try:
                    rest = rest[os.write(self._sink, rest) :]
                except BlockingIOError:  # the host has made its end of a shared description non-blocking
                    select.select((), [self._sink], ())
                except OSError as error:
                    self._sink = -1
                    self._stop("the client no longer reads")
                    if not isinstance(error, ConnectionError):
                        _logger().error("standard output: %s", error)

    def _on_signal(self, number: int, _frame: object) -> None:
        self._stop(signal.Signals(number).name)
        self._give_up_after(TERMINATION_S)

    def _stop(self, reason: str) -> None:
        self._stopped = self._stopped or reason
        self._wake_reader()

    def _wake_reader(self) -> None:
        if not IS_WINDOWS:
            with suppress(BlockingIOError):  # it has not yet got round to the last ones
                os.write(self._wake, b"\0")

    def _bound_end(self, done: threading.Event) -> None:
        answered = -1
        while answered != self._answered:
            answered = self._answered
            if done.wait(END_OF_INPUT_S):
                return
        _logger().warning("gave up: no call was answered for %.0f s; %d were left", END_OF_INPUT_S, len(self._calls))
        self._give_up()

    def _give_up_after(self, seconds: float) -> None:
        bound = threading.Timer(seconds, self._give_up)
        bound.daemon = True
        bound.start()

    def _give_up(self) -> None:
        # What still runs was never acknowledged, and its transaction is undone; a store that is only slow to close
        # has everything.
        os._exit(1 if self._calls else 0)


def _logger() -> logging.Logger:
    # Imported for the first line that is logged; most servers log none.
    import logging

    return logging.getLogger(__name__)
