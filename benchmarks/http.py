"""Measure many clients of one server over HTTP: `python -m benchmarks.http`.

Each client is a thread with a connection of its own that asks, waits for the answer and asks again, for the whole time:
half of them as revision 2026-07-28 does, without a session, half in a session of the revision before. Of ten calls two
remember something new, one changes a memory, four recall by words, one reads a history, one reads and one sets state.
Server and clients share the machine. `memory` is the server's resident memory: `MB` at the end, `grown MB` since a
third of the time had passed, when every thread and cache is there; what remains is the store that has grown.

A reply that is an error, or none at all, ends the run with status 1.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from benchmarks import corpus
from benchmarks.budgets import print_verdicts
from benchmarks.measure import INITIALIZE, circumstances, resident_mb, spread, tool_call
from benchmarks.report import Row, add_options, publish
from mimir import Memory
from mimir.config import environment_for_child

MODERN: Final = "2026-07-28"
META: Final = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "benchmark", "version": "1"},
}
HEADERS: Final = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
TOKEN: Final = "benchmark"  # noqa: S105 - it protects nothing
PATIENCE_S: Final = 60

READS: Final = ("recall", "history", "state get")
WRITES: Final = ("remember", "change", "state set")
MIX: Final = ("remember", "remember", "change", *["recall"] * 4, "history", "state get", "state set")


class Client:
    """One client with its connection; ``seconds`` is what its calls took, by kind."""

    def __init__(self, port: int, number: int, memories: list[dict[str, Any]]) -> None:
        self.seconds: list[tuple[str, float]] = []
        self.errors: Counter[str] = Counter()
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
        self._modern = number % 2 == 0
        self._number = number
        self._memories = memories
        self._chance = random.Random(number)
        self._headers = {**HEADERS, "Authorization": f"Bearer {TOKEN}"}
        if self._modern:
            self._headers |= {"MCP-Protocol-Version": MODERN, "Mcp-Method": "tools/call"}

    def run(self, start: threading.Barrier, duration_s: float) -> None:
        """Call one tool after another until the time is over."""
        if not self._modern:
            self._shake_hands()
        start.wait()
        end = time.perf_counter() + duration_s
        while (began := time.perf_counter()) < end:
            kind = self._chance.choice(MIX)
            try:
                self._call(*self._asked(kind, len(self.seconds)))
            except (OSError, http.client.HTTPException, RuntimeError, ValueError) as error:
                self.errors[f"{type(error).__name__}: {error}"[:300]] += 1
                self._connection.close()
            self.seconds.append((kind, time.perf_counter() - began))
        self._connection.close()

    def _asked(self, kind: str, turn: int) -> tuple[str, dict[str, Any]]:
        memory = self._chance.choice(self._memories)
        where = {"category": memory["category"], "key": memory["key"], "workspace_hash": memory["workspace_hash"]}
        if kind == "recall":
            words = corpus.text(memory).split()
            return "mimir_recall", {"query": " ".join(words[:3]), "mode": "fts5", "limit": 5}
        if kind == "history":
            return "mimir_history", where
        if kind == "state get":
            return "mimir_state_get", {"key": f"client-{self._number}"}
        if kind == "state set":
            return "mimir_state_set", {"key": f"client-{self._number}", "value_json": turn}
        body = {"content": f"{corpus.text(memory)} {self._number} {turn}"}
        if kind == "remember":
            where["key"] = f"client-{self._number}-{turn}"
        return "mimir_remember", {**where, "body_json": body}

    def _call(self, tool: str, arguments: dict[str, Any]) -> None:
        """Call a tool.

        Raises:
            RuntimeError: the status is not 200, or the reply is an error.
        """
        message = tool_call(tool, arguments, len(self.seconds) + 1)
        if self._modern:
            message["params"]["_meta"] = META
            self._headers["Mcp-Name"] = tool
        reply = self._post(message)
        if "error" in reply or reply["result"].get("isError"):
            raise RuntimeError(f"{tool}: {reply}")

    def _post(self, message: object, status: int = 200) -> Any:  # noqa: ANN401 - any JSON value
        self._connection.request("POST", "/mcp", json.dumps(message), self._headers)
        response = self._connection.getresponse()
        body = response.read()
        if response.status != status:
            raise RuntimeError(f"status {response.status}: {body[:200]!r}")
        if session := response.headers.get("Mcp-Session-Id"):
            self._headers["Mcp-Session-Id"] = session
        if response.headers.get("Content-Type", "").startswith("text/event-stream"):
            body = body.rpartition(b"data: ")[2]
        return json.loads(body) if body else None

    def _shake_hands(self) -> None:
        self._post(INITIALIZE)
        self._post({"jsonrpc": "2.0", "method": "notifications/initialized"}, 202)


@contextmanager
def served(db: Path) -> Iterator[tuple[int, int]]:
    """Serve a store over HTTP; yield its port and the number of the process.

    Raises:
        RuntimeError: the server does not start, or does not end well.
    """
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mimir", "serve", "--db", str(db), "--transport", "http", "--port", str(port)]
    # Vectors are computed beside the calls; here the calls are measured.
    command += ["--embedding", "off"]
    environment = environment_for_child(MIMIR_MCP_TOKEN=TOKEN)
    with subprocess.Popen(command, stderr=subprocess.PIPE, env=environment, encoding="utf-8") as server:
        line = server.stderr.readline() if server.stderr else ""
        try:
            if str(port) not in line:
                raise RuntimeError(line)
            yield port, server.pid
        finally:
            server.send_signal(signal.SIGTERM)
        if server.wait(PATIENCE_S):
            raise RuntimeError(f"the server ended with status {server.returncode}")


def measure(clients: int, duration_s: float, entities: int) -> list[Row]:
    """Let clients use one server for a while and return what their calls took.

    Raises:
        RuntimeError: a call failed, or a memory that was acknowledged is not in the store.
    """
    with tempfile.TemporaryDirectory() as folder:
        db = Path(folder) / "http.db"
        memories = list(corpus.memories(entities))
        with Memory.open(str(db), embedding="off") as memory:
            memory.remember_many(memories)
        with served(db) as (port, process):
            working = [Client(port, number, memories) for number in range(clients)]
            start = threading.Barrier(clients + 1)
            with ThreadPoolExecutor(clients) as threads:
                ended = [threads.submit(client.run, start, duration_s) for client in working]
                start.wait()
                resident = list(watched_mb(process, duration_s))
            for one in ended:
                one.result()
        errors = sum((client.errors for client in working), Counter[str]())
        if errors:
            raise RuntimeError(f"{errors.total()} calls failed, such as: {errors.most_common(3)}")
        taken = [one for client in working for one in client.seconds]
        stored = sum(kind == "remember" for kind, _ in taken)
        with Memory.open(str(db), embedding="off") as memory:
            found = memory.stats().total_entities
        if found != entities + stored:
            raise RuntimeError(f"{entities + stored} memories were acknowledged, {found} are in the store")
    return [
        {"what": "every call", **spread_of(taken, MIX), "per s": len(taken) / duration_s, "errors": 0},
        {"what": "reads", **spread_of(taken, READS)},
        {"what": "writes", **spread_of(taken, WRITES)},
        {
            "what": "memory",
            "MB": resident[-1],
            "grown MB": max(0.0, resident[-1] - resident[len(resident) // 3]),
            "budget": "http memory",
        },
    ]


def watched_mb(process: int, duration_s: float) -> Iterator[float]:
    """Yield the resident memory of a process thirty times over a while; 0 where the system does not tell."""
    for _ in range(30):
        time.sleep(duration_s / 30)
        yield resident_mb(process) or 0.0


def spread_of(taken: list[tuple[str, float]], kinds: tuple[str, ...]) -> Row:
    """Return how long the calls of some kinds took."""
    return spread([1000 * seconds for kind, seconds in taken if kind in kinds])


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="benchmarks.http", description=__doc__)
    parser.add_argument("--clients", type=int, default=50, metavar="N")
    parser.add_argument("--seconds", type=float, default=30, metavar="S")
    parser.add_argument("--entities", type=int, default=10_000, metavar="N", help="memories in the store before")
    add_options(parser)
    arguments = parser.parse_args()
    settings = circumstances()
    settings |= {"clients": arguments.clients, "seconds": arguments.seconds, "entities": arguments.entities}
    rows = measure(arguments.clients, arguments.seconds, arguments.entities)
    publish("http", rows, arguments, settings)
    print_verdicts(rows)


if __name__ == "__main__":
    main()
