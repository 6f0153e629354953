"""A real server on its pipes, and the time, processor time and memory of processes; a MB is 10^6 bytes."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, NamedTuple, Self, cast

import msgspec

from benchmarks.report import Row
from mimir.config import environment_for_child

PROTOCOL: Final = "2025-06-18"
KIB_MB: Final = 1024 / 1e6
BUSY_ABOVE: Final = 0.5
"""Load average per core from which other programs are taken to disturb a measurement."""

INITIALIZE: Final = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": PROTOCOL,
        "capabilities": {},
        "clientInfo": {"name": "benchmark", "version": "1"},
    },
}


def serve(db: Path) -> list[str]:
    """Return the command that serves a store over stdio."""
    return [sys.executable, "-m", "mimir", "serve", "--db", str(db)]


def tool_call(tool: str, arguments: dict[str, Any], number: int = 1) -> dict[str, Any]:
    """Return the request that calls a tool."""
    params = {"name": tool, "arguments": arguments}
    return {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}


def start(command: Sequence[str], **environment: str) -> tuple[subprocess.Popen[bytes], IO[bytes], IO[bytes]]:
    """Start a program and return it with its standard input and output.

    Whatever this process was told, a Python program keeps its compiled modules, as an installed one does.
    """
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment_for_child(PYTHONDONTWRITEBYTECODE="", **environment),
    )
    return process, cast("IO[bytes]", process.stdin), cast("IO[bytes]", process.stdout)


class Server:
    """A running `mimir serve`, spoken to as a client does: one request, then its reply."""

    def __init__(self, db: Path, **environment: str) -> None:
        self.process, self._input, self._output = start(serve(db), **environment)
        self._sent = 0
        self.request("initialize", INITIALIZE["params"])
        self._send({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def __enter__(self) -> Self:
        """Return the server itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the server by the end of its input and wait until it has left the store."""
        self.process.communicate()

    def request(self, method: str, params: object) -> Any:  # noqa: ANN401 - any JSON value
        """Send one request and return its result.

        Raises:
            RuntimeError: the server ended or answered with an error.
        """
        self._sent += 1
        self._send({"jsonrpc": "2.0", "id": self._sent, "method": method, "params": params})
        line = self._output.readline()
        reply = msgspec.json.decode(line) if line else {"error": "the server ended"}
        if "error" in reply:
            raise RuntimeError(f"{method}: {reply['error']}")
        return reply["result"]

    def call(self, tool: str, arguments: dict[str, Any]) -> Any:  # noqa: ANN401 - any JSON value
        """Call a tool and return what it answered.

        Raises:
            RuntimeError: the tool failed.
        """
        result = self.request("tools/call", {"name": tool, "arguments": arguments})
        if result.get("isError"):
            raise RuntimeError(f"{tool}: {result['structuredContent']}")
        return result["structuredContent"]

    def memory_mb(self) -> float | None:
        """Return the resident memory of the server, or None where the system does not tell."""
        return resident_mb(self.process.pid)

    def cpu_s(self) -> float | None:
        """Return the processor time that the server has taken, or None where the system does not tell."""
        try:
            stat = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="utf-8")
        except OSError:
            return None
        user, system = stat.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def _send(self, message: object) -> None:
        self._input.write(msgspec.json.encode(message) + b"\n")
        self._input.flush()


class Lifetime(NamedTuple):
    """One process from start to exit, in milliseconds; `first` is when its first line was out."""

    first: float
    whole: float


def run_once(command: Sequence[str], message: object = None, **environment: str) -> Lifetime:
    """Run a program on one line of input, as `echo ... | program` does.

    Raises:
        RuntimeError: it failed, or printed nothing although it got input.
    """
    begin = time.perf_counter()
    process, input_, output = start(command, **environment)
    if message is not None:
        input_.write(msgspec.json.encode(message) + b"\n")
    input_.close()
    line = output.readline()
    first = time.perf_counter()
    output.close()
    failed = process.wait() != 0
    end = time.perf_counter()
    if failed or (message is not None and b'"result"' not in line):
        raise RuntimeError(f"{' '.join(command)}: exit {process.returncode}, {line[:500]!r}")
    return Lifetime(1000 * (first - begin), 1000 * (end - begin))


def resident_mb(pid: int) -> float | None:
    """Return the resident memory of a process in MB, or None where the system does not tell."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return _resident_by_ps(pid)
    return _status_mb(status, "VmRSS")


def peak_mb() -> float | None:
    """Return the most resident memory of this process in MB, or None where the system does not tell."""
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
    except OSError:
        return _peak_by_resource()
    return _status_mb(status, "VmHWM")


def children_cpu_s() -> float:
    """Return the processor time of all ended child processes."""
    times = os.times()
    return times.children_user + times.children_system


def timed(calls: Iterable[Callable[[], object]]) -> list[float]:
    """Return the milliseconds that each call took."""
    durations = []
    for call in calls:
        start = time.perf_counter()
        call()
        durations.append(1000 * (time.perf_counter() - start))
    return durations


def spread(durations: Sequence[float]) -> Row:
    """Return count, median and 99th percentile of durations in milliseconds."""
    ranked = sorted(durations)
    return {
        "runs": len(ranked),
        "p50 ms": statistics.median(ranked),
        "p99 ms": ranked[min(len(ranked) - 1, len(ranked) * 99 // 100)],
    }


def circumstances() -> Row:
    """Return load average and speed of this machine at the moment, and warn when it is busy.

    `loop_ms` is the processor time of a fixed piece of Python: results of two runs compare where it is alike.
    """
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    if load is not None and load > BUSY_ABOVE * (os.cpu_count() or 1):
        print(
            f"Load average {load:.1f}: other programs disturb the figures; repeat on a quiet machine.",
            file=sys.stderr,
        )
    return {"load_average": load, "loop_ms": 1000 * min(_loop() for _ in range(5))}


def _loop() -> float:
    start = time.process_time()
    total = 0
    for number in range(200_000):
        total += number & 7
    return time.process_time() - start


def _status_mb(status: str, field: str) -> float | None:
    for line in status.splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * KIB_MB
    return None


def _resident_by_ps(pid: int) -> float | None:
    try:
        shown = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, check=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return int(shown.stdout) * KIB_MB


def _peak_by_resource() -> float | None:
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * KIB_MB
