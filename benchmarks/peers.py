"""Compare Mimir with other memories on this machine: `python -m benchmarks.peers`.

Each peer is installed from PyPI, in the version of the table below, into an environment of its own (`--environments`,
kept for the next run), and started in an empty home: same documents, same questions, one after the other. Each runs as
its documents set it up, except where that would download a model: then it gets the vectors of all-MiniLM-L6-v2, the one
that Mimir has in its package, from a server of this program on 127.0.0.1, and the row says "served". A peer that cannot
be installed or fails is a row with the reason.

Documents are written one by one. `written per s` counts until each write is answered, `ready per s` until all of it can
be found, in Mimir with the time to load its model; `refused` are documents that a memory did not want, such as those
that resemble another. Medians and 95th percentiles are of single calls. R@5 and MRR are as in `benchmarks.quality`.
`MB` is the most resident memory of the process that holds the store; a served model is outside of it, Mimir's inside.
Ratios are to Mimir through the same door: 2 is twice as fast as Mimir, 0.5 half as fast.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from benchmarks.datasets import OWN, Collection, Question, identity, load
from benchmarks.measure import circumstances
from benchmarks.quality import texts
from benchmarks.report import Row, add_options, publish
from mimir.config import environment_for_child
from mimir.embedding import load_embedder

ROOT: Final = Path(__file__).resolve().parent.parent
PROGRAM: Final = Path(__file__).with_name("peer_program.py")
PATIENCE_S: Final = 1_800.0


class Peer(Struct, frozen=True, kw_only=True):
    """One memory: what it is called in `peer_program`, what is installed for it, how it is reached and embeds.

    `needs` is a line that the interpreter under it must be able to run, `begins` one that it runs at each start.
    """

    store: str
    name: str
    requirement: str = ""
    beside: tuple[str, ...] = ()
    begins: str = ""
    needs: str = "pass"
    door: Literal["in process", "stdio"]
    vectors: Literal["own", "served", "none"]


PEERS: Final = (
    Peer(store="mimir", name="Mimir", door="in process", vectors="own"),
    Peer(store="mimir-server", name="Mimir", door="stdio", vectors="own"),
    Peer(store="fts5", name="SQLite FTS5", door="in process", vectors="none"),
    Peer(store="chroma", name="Chroma", requirement="chromadb==1.5.9", door="in process", vectors="served"),
    Peer(store="mem0", name="mem0", requirement="mem0ai==2.2.1", door="in process", vectors="served"),
    Peer(
        store="mcp-memory-service",
        name="mcp-memory-service",
        requirement="mcp-memory-service==12.4.0",
        needs="import sqlite3; sqlite3.connect(':memory:').enable_load_extension(True)",
        door="stdio",
        vectors="served",
    ),
    Peer(
        store="basic-memory",
        name="basic-memory",
        requirement="basic-memory==0.24.1",
        needs="import sys; assert sys.version_info >= (3, 12)",
        # Without a SQLite that loads extensions it would search by words alone, as it does under many builds of Python.
        beside=("pysqlite3-binary==0.5.4.post2",),
        begins="import sys, pysqlite3.dbapi2 as d; sys.modules['sqlite3'] = sys.modules['sqlite3.dbapi2'] = d",
        door="stdio",
        vectors="served",
    ),
)


class Outcome(Struct, frozen=True):
    """What `peer_program` tells of one job."""

    start_s: float
    write_ms: list[float]
    refused: int
    ready_s: float
    found: list[list[str]]
    query_ms: list[float]
    memory_mb: float | None


@contextmanager
def embedding_server() -> Iterator[str]:
    """Serve the bundled model under an OpenAI-compatible address, which is yielded, on 127.0.0.1."""
    embedder = load_embedder()
    turn = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        """Answer `POST .../embeddings`."""

        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            """Embed the texts of a request."""
            asked = msgspec.json.decode(self.rfile.read(int(self.headers["Content-Length"])))
            wanted = [asked["input"]] if isinstance(asked["input"], str) else asked["input"]
            with turn:
                vectors = embedder.embed(wanted).tolist()
            data = [
                {"object": "embedding", "index": place, "embedding": vector} for place, vector in enumerate(vectors)
            ]
            usage = {"prompt_tokens": 0, "total_tokens": 0}
            body = msgspec.json.encode({"object": "list", "data": data, "model": "served", "usage": usage})
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing: the figures are the output."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def interpreter(peer: Peer, environments: Path) -> str:
    """Return the interpreter of a peer's environment, which is made where there is none.

    Raises:
        RuntimeError: no interpreter here can run it.
        subprocess.CalledProcessError: it cannot be installed.
    """
    if not peer.requirement:
        return sys.executable
    folder = environments / peer.requirement
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    done = folder / "installed"
    if not done.exists():
        uv = [sys.executable, "-m", "uv", "--quiet"]
        fitting = [base for base in interpreters() if _runs(base, peer.needs)]
        if not fitting:
            raise RuntimeError(f"no Python here can: {peer.needs}")
        subprocess.run([*uv, "venv", "--clear", "--python", fitting[0], str(folder)], check=True)
        wanted = [peer.requirement, *peer.beside]
        subprocess.run([*uv, "pip", "install", "--python", str(python), *wanted], check=True)
        if peer.begins:
            where = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
            packages = subprocess.run(where, capture_output=True, text=True, check=True).stdout.strip()
            (Path(packages) / "begins.pth").write_text(peer.begins + "\n", encoding="utf-8")
        done.touch()
    return str(python)


def interpreters() -> Iterator[str]:
    """Yield the interpreters of this machine: our own, the system's, those of later versions, those of pyenv."""
    yield sys.executable
    yield from filter(
        None, (shutil.which(name) for name in ("/usr/bin/python3", "python3.14", "python3.13", "python3.12"))
    )
    yield from map(str, sorted(Path.home().glob(".pyenv/versions/3.*/bin/python")))


def _runs(python: str, line: str) -> bool:
    return subprocess.run([python, "-c", line], capture_output=True, check=False).returncode == 0


def documents(collection: Collection) -> list[tuple[str, str, str, list[str]]]:
    """Return what is stored of each memory: name, title, text, tags. Of one that was revised, the last text."""
    latest = {identity(memory): memory for memory in collection.memories}
    return [
        (
            name,
            f"{memory['category']} {memory['key']}".replace("-", " "),
            "\n".join(texts(memory["body_json"])),
            list(memory.get("tags", ())),
        )
        for name, memory in latest.items()
    ]


def run(peer: Peer, job: dict[str, Any], environments: Path) -> Outcome:
    """Let a peer do a job in an empty home.

    Raises:
        RuntimeError: it failed or took longer than half an hour; with the end of what it said.
        subprocess.CalledProcessError: it cannot be installed.
    """
    python = interpreter(peer, environments)
    # Windows keeps files of a killed server open for a moment.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        environment = environment_for_child(
            HOME=home,
            USERPROFILE=home,
            MEM0_TELEMETRY="False",
            ANONYMIZED_TELEMETRY="False",
            BASIC_MEMORY_NO_PROMOS="1",
            PYTHONPATH="" if peer.requirement else str(ROOT),
        )
        try:
            done = subprocess.run(
                [python, "-P", str(PROGRAM)],
                input=msgspec.json.encode({**job, "store": peer.store}),
                cwd=home,
                env=environment,
                capture_output=True,
                timeout=PATIENCE_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise RuntimeError(f"no answer within {PATIENCE_S:.0f} s") from error
        if done.returncode != 0:
            raise RuntimeError((done.stderr.decode(errors="replace").strip().splitlines() or ["no reason told"])[-1])
        return msgspec.json.decode(done.stdout.strip().splitlines()[-1], type=Outcome)


def measured(peer: Peer, outcome: Outcome, questions: Sequence[Question]) -> Row:
    """Return the figures of one peer on one data set."""
    count = len(outcome.write_ms)
    answered = [(set(question.gold), found) for question, found in zip(questions, outcome.found, strict=True)]
    return {
        "peer": peer.name,
        "door": peer.door,
        "vectors": peer.vectors,
        "refused": outcome.refused,
        "written per s": 1000 * count / sum(outcome.write_ms),
        "ready per s": count / outcome.ready_s,
        "write p50 ms": statistics.median(outcome.write_ms),
        "query p50 ms": statistics.median(outcome.query_ms),
        "query p95 ms": statistics.quantiles(outcome.query_ms, n=20)[-1],
        "R@5": statistics.fmean(len(gold.intersection(found[:5])) / len(gold) for gold, found in answered),
        "MRR": statistics.fmean(
            next((1 / place for place, name in enumerate(found, 1) if name in gold), 0.0) for gold, found in answered
        ),
        "MB": outcome.memory_mb,
    }


def compared(rows: Sequence[Row]) -> list[Row]:
    """Add to each row how fast it writes and answers in proportion to Mimir through the same door."""
    ours = {row["door"]: row for row in rows if row["peer"] == "Mimir" and "ready per s" in row}
    return [
        {
            **row,
            "writes x": _share(row, ours[row["door"]], "ready per s"),
            "queries x": _share(ours[row["door"]], row, "query p50 ms"),
        }
        if row["door"] in ours and "ready per s" in row
        else row
        for row in rows
    ]


def _share(above: Row, below: Row, column: str) -> float:
    numerator, denominator = above[column], below[column]
    assert isinstance(numerator, float)  # noqa: S101 - both come from `measured`
    assert isinstance(denominator, float)  # noqa: S101
    return numerator / denominator


def main() -> None:
    """Run the command."""
    arguments = _arguments()
    peers = [peer for peer in PEERS if not arguments.only or peer.store in arguments.only]
    rows: list[Row] = []
    settings = circumstances()
    with embedding_server() as embeddings:
        for dataset in [dataset for path in arguments.data or [OWN] for dataset in load(path)]:
            (collection,) = dataset.collections
            questions = [question for question in collection.questions if question.gold]
            stored = documents(collection)
            job = {
                "embeddings": embeddings,
                "documents": stored,
                "questions": [question.text for question in questions],
            }
            of_set: list[Row] = []
            for peer in peers:
                print(f"{dataset.name}, {len(stored)} documents: {peer.store}", file=sys.stderr, flush=True)
                try:
                    row = measured(peer, run(peer, job, arguments.environments), questions)
                except (RuntimeError, subprocess.CalledProcessError) as error:
                    row = {"peer": peer.name, "door": peer.door, "vectors": peer.vectors, "failed": str(error)[:200]}
                version = peer.requirement.partition("==")[2]
                of_set.append(
                    {"data": f"{dataset.name} ({len(stored)})", **row, "peer": f"{peer.name} {version}".strip()}
                )
            rows += compared(of_set)
    publish("peers", rows, arguments, settings)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare Mimir with other memories on this machine.")
    parser.add_argument(
        "--data", type=Path, action="append", metavar="PATH", help="a data set or a folder of them; default: our own"
    )
    parser.add_argument("--only", action="append", choices=[peer.store for peer in PEERS], help="repeatable")
    parser.add_argument(
        "--environments",
        type=Path,
        default=Path.home() / ".cache" / "mimir-peers",
        metavar="FOLDER",
        help="where the peers are installed",
    )
    add_options(parser)
    return parser.parse_args()


if __name__ == "__main__":
    main()
