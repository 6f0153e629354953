"""One memory at work: store documents, ask questions, tell how long it took and what was found.

`benchmarks.peers` starts this file with the interpreter of the environment that the memory is installed in, in an empty
home, with the job as JSON on standard input; the outcome is the last line of standard output. So it imports nothing but
the standard library until it knows which memory it is.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

DEPTH: Final = 10
DIMENSIONS: Final = 384
SETTLE_S: Final = 120.0


class Document(NamedTuple):
    """What is stored: the name by which questions know it, a title, the text of the body, tags."""

    name: str
    title: str
    body: str
    tags: list[str]

    @property
    def text(self) -> str:
        """Everything in one text, for memories that take nothing else."""
        return "\n".join(filter(None, (self.title, self.body, " ".join(self.tags))))


class Refused(Exception):
    """The memory does not want a document, such as one that resembles another."""


class Store(NamedTuple):
    """A memory that is open: how to write and search it, how to wait for its vectors, which process holds it."""

    write: Callable[[Document], object]
    search: Callable[[str], list[str]]
    settle: Callable[[], object]
    process: int


class Client:
    """A server of MCP on its pipes."""

    def __init__(self, *command: str, **environment: str) -> None:
        errors = Path("server.log").open("wb")  # noqa: SIM115 - it is open as long as the server runs
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, env={**os.environ, **environment}
        )
        self._sent = 0
        client = {"name": "benchmark", "version": "1"}
        self.request("initialize", {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client})
        self._send({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def request(self, method: str, params: object) -> Any:  # noqa: ANN401 - any JSON value
        """Send a request and return its result; what the server says on its own account is passed over."""
        self._sent += 1
        self._send({"jsonrpc": "2.0", "id": self._sent, "method": method, "params": params})
        while line := self.process.stdout.readline():  # type: ignore[union-attr] # a pipe, see above
            reply = json.loads(line)
            if reply.get("id") == self._sent and "method" not in reply:
                if "error" in reply or reply["result"].get("isError"):
                    raise RuntimeError(f"{method}: {line[:500]!r}")
                return reply["result"]
        raise RuntimeError(f"{method}: the server ended; {Path('server.log').read_text(encoding='utf-8')[-500:]}")

    def call(self, tool: str, **arguments: object) -> Any:  # noqa: ANN401 - any JSON value
        """Call a tool and return the JSON or the text that it answered."""
        result = self.request("tools/call", {"name": tool, "arguments": arguments})
        text = "".join(part.get("text", "") for part in result["content"])
        try:
            return json.loads(text)
        except ValueError:
            return text

    def _send(self, message: object) -> None:
        self.process.stdin.write(json.dumps(message).encode() + b"\n")  # type: ignore[union-attr] # as above
        self.process.stdin.flush()  # type: ignore[union-attr]


def mimir(_: str) -> Store:
    """Open Mimir in this process, as its Python API is used."""
    from mimir import Memory

    memory = Memory.open("memory.db")

    def write(document: Document) -> None:
        category, _, key = document.name.partition("/")
        memory.remember(category, key, {"content": document.body}, tags=document.tags)

    def search(question: str) -> list[str]:
        return [f"{hit.category}/{hit.key}" for hit in memory.recall(question, limit=DEPTH).items]

    return Store(write, search, memory.embed_pending, os.getpid())


def mimir_server(_: str) -> Store:
    """Start Mimir as a client does."""
    client = Client(sys.executable, "-m", "mimir", "serve", "--db", "memory.db")

    def write(document: Document) -> None:
        category, _, key = document.name.partition("/")
        client.call(
            "mimir_remember", category=category, key=key, body_json={"content": document.body}, tags=document.tags
        )

    def search(question: str) -> list[str]:
        reply = client.call("mimir_recall", query=question, limit=DEPTH)
        return [f"{item['category']}/{item['key']}" for item in reply["items"]]

    def settle() -> None:
        until(lambda: not client.call("mimir_recall", query="anything", limit=1, reinforce=False).get("pending"))

    return Store(write, search, settle, client.process.pid)


def fts5(_: str) -> Store:
    """Use SQLite's FTS5 alone: porter stems, any of the words, BM25, a transaction for each document."""
    import sqlite3

    database = sqlite3.connect("memory.db", isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("CREATE VIRTUAL TABLE memory USING fts5(name UNINDEXED, text, tokenize = 'porter unicode61')")

    def search(question: str) -> list[str]:
        words = " OR ".join(f'"{word}"' for word in re.findall(r"\w+", question.lower()))
        rows = database.execute("SELECT name FROM memory WHERE memory MATCH ? ORDER BY rank LIMIT ?", (words, DEPTH))
        return [name for (name,) in rows]

    def write(document: Document) -> None:
        database.execute("INSERT INTO memory VALUES (?, ?)", (document.name, document.text))

    return Store(write, search, _nothing, os.getpid())


def chroma(embeddings: str) -> Store:
    """Use Chroma on disk, with an embedding function that asks the server."""
    import chromadb

    class Served(chromadb.EmbeddingFunction):  # type: ignore[misc] # not installed where types are checked
        """What Chroma calls for vectors, in place of its default."""

        def __init__(self) -> None:
            """Keep nothing: Chroma asks for a constructor of its own."""

        def __call__(self, input: list[str]) -> list[list[float]]:
            """Return the vectors of texts."""
            body = json.dumps({"input": input, "model": "served"}).encode()
            request = urllib.request.Request(  # noqa: S310 - the loopback address that the benchmark made
                f"{embeddings}/embeddings", body, {"Content-Type": "application/json"}
            )
            with urllib.request.urlopen(request) as reply:  # noqa: S310 - as above
                return [item["embedding"] for item in json.load(reply)["data"]]

    collection = chromadb.PersistentClient("chroma").create_collection("memory", embedding_function=Served())

    def search(question: str) -> list[str]:
        return list(collection.query(query_texts=[question], n_results=DEPTH)["ids"][0])

    def write(document: Document) -> None:
        collection.add(ids=[document.name], documents=[document.text])

    return Store(write, search, _nothing, os.getpid())


def mem0(embeddings: str) -> Store:
    """Use mem0 with its default vector store in a folder, without a language model: texts are stored as given."""
    from mem0 import Memory

    served = {"model": "served", "openai_base_url": embeddings, "api_key": "none"}
    memory = Memory.from_config(
        {
            "vector_store": {
                "provider": "qdrant",
                "config": {"path": "qdrant", "on_disk": True, "embedding_model_dims": DIMENSIONS},
            },
            "embedder": {"provider": "openai", "config": {**served, "embedding_dims": DIMENSIONS}},
            "llm": {"provider": "openai", "config": served},
            "history_db_path": "history.db",
        }
    )

    def write(document: Document) -> None:
        memory.add(document.text, user_id="somebody", metadata={"name": document.name}, infer=False)

    def search(question: str) -> list[str]:
        reply = memory.search(question, filters={"user_id": "somebody"}, top_k=DEPTH)
        return [item["metadata"]["name"] for item in reply["results"]]

    return Store(write, search, _nothing, os.getpid())


def basic_memory(embeddings: str) -> Store:
    """Start basic-memory as a client does, with its vectors from the server."""
    client = Client(
        str(Path(sys.executable).with_name("basic-memory")),
        "mcp",
        BASIC_MEMORY_SEMANTIC_EMBEDDING_PROVIDER="openai",
        BASIC_MEMORY_SEMANTIC_EMBEDDING_MODEL="served",
        BASIC_MEMORY_SEMANTIC_EMBEDDING_API_BASE=embeddings,
        BASIC_MEMORY_SEMANTIC_EMBEDDING_API_KEY="none",
        BASIC_MEMORY_SEMANTIC_EMBEDDING_DIMENSIONS=str(DIMENSIONS),
        # Its own bound is meant for its own model, whose cosines lie higher.
        BASIC_MEMORY_SEMANTIC_MIN_SIMILARITY="0",
    )
    names: dict[str, str] = {}

    def write(document: Document) -> None:
        title = document.title
        names[title] = document.name
        client.call("write_note", title=title, content=document.body, directory="notes", tags=document.tags)

    def search(question: str) -> list[str]:
        reply = client.call("search_notes", query=question, page_size=DEPTH, output_format="json")
        titles = dict.fromkeys(item["title"] for item in reply["results"])
        return [names[title] for title in titles if title in names]

    def settle() -> None:
        last = list(names.values())[-1]
        until(lambda: last in search(list(names)[-1]))

    return Store(write, search, settle, client.process.pid)


def mcp_memory_service(embeddings: str) -> Store:
    """Start mcp-memory-service as a client does, with its vectors from the server."""
    client = Client(
        str(Path(sys.executable).with_name("memory")),
        "server",
        MCP_MEMORY_STORAGE_BACKEND="sqlite_vec",
        MCP_EXTERNAL_EMBEDDING_URL=f"{embeddings}/embeddings",
        MCP_EXTERNAL_EMBEDDING_MODEL="served",
    )
    names: dict[str, str] = {}

    def write(document: Document) -> None:
        try:
            client.call("memory_store", content=document.text, metadata={"tags": document.tags})
        except RuntimeError as error:
            if "Duplicate content" in str(error):
                raise Refused from error
            raise
        names[document.text] = document.name

    def search(question: str) -> list[str]:
        reply = str(client.call("memory_search", query=question, limit=DEPTH))
        found = {reply.find(text): name for text, name in names.items() if text in reply}
        return [found[place] for place in sorted(found)]

    return Store(write, search, _nothing, client.process.pid)


STORES: Final[dict[str, Callable[[str], Store]]] = {
    "mimir": mimir,
    "mimir-server": mimir_server,
    "fts5": fts5,
    "chroma": chroma,
    "mem0": mem0,
    "basic-memory": basic_memory,
    "mcp-memory-service": mcp_memory_service,
}


def until(holds: Callable[[], bool]) -> None:
    """Ask until something holds.

    Raises:
        RuntimeError: it does not within two minutes.
    """
    deadline = time.monotonic() + SETTLE_S
    while not holds():
        if time.monotonic() > deadline:
            raise RuntimeError("what was written could not be found in time")


def main() -> None:
    """Do one job."""
    job = json.load(sys.stdin)
    started = time.perf_counter()
    store = STORES[job["store"]](job["embeddings"])
    opened = time.perf_counter()
    writes = []
    refused = 0
    for document in job["documents"]:
        try:
            writes.append(_timed(store.write, Document(*document))[1])
        except Refused:
            refused += 1
    store.settle()
    ready = time.perf_counter()
    store.search(job["questions"][0])
    asked = [_timed(store.search, question) for question in job["questions"]]
    outcome = {
        "start_s": opened - started,
        "write_ms": writes,
        "refused": refused,
        "ready_s": ready - opened,
        "found": [found for found, _ in asked],
        "query_ms": [ms for _, ms in asked],
        "memory_mb": _resident_mb(store.process),
    }
    sys.stdout.write("\n" + json.dumps(outcome) + "\n")
    sys.stdout.flush()
    # Servers and background threads of peers must not keep the benchmark waiting.
    if store.process != os.getpid():
        os.kill(store.process, 9)
    os._exit(0)


def _nothing() -> None:
    """Wait for nothing: a write is searchable when it returns."""


def _timed(call: Callable[[Any], Any], argument: object) -> tuple[Any, float]:
    begin = time.perf_counter()
    result = call(argument)
    return result, 1000 * (time.perf_counter() - begin)


def _resident_mb(process: int) -> float | None:
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    except OSError:
        return None
    return next(int(line.split()[1]) * 1024 / 1e6 for line in status.splitlines() if line.startswith("VmHWM"))


if __name__ == "__main__":
    main()
