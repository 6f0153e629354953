"""`mimir demo`: remember the documentation of Python's standard library, then ask a real server about it."""

from __future__ import annotations

import importlib
import inspect
import os
import subprocess
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple, Self, cast

import msgspec

from mimir import __version__
from mimir.cli.clients import client_configuration, server_command
from mimir.cli.commands import Command, as_flags, setting_options
from mimir.cli.output import console, printable
from mimir.errors import MimirError, StorageFailure
from mimir.memory import Memory

if TYPE_CHECKING:
    from rich.console import Console

CATEGORY: Final = "python"
MODULES: Final = (
    "asyncio",
    "calendar",
    "collections",
    "csv",
    "datetime",
    "difflib",
    "functools",
    "glob",
    "heapq",
    "json",
    "math",
    "random",
    "re",
    "secrets",
    "shutil",
    "statistics",
    "subprocess",
    "tempfile",
    "textwrap",
    "urllib.parse",
    "webbrowser",
)
TEXT_CHARACTERS: Final = 200
"""How much of a documentation string is kept: what comes later are details, and embedding costs time by length."""

_LEAST_CHARACTERS: Final = 30
_ANSWERS_LOOKED_AT: Final = 3
_SHOWN_CHARACTERS: Final = 70
_REPLY_S: Final = 60.0
_STEP_S: Final = 0.2


class Question(NamedTuple):
    """A question in plain words, and the keys of the memories that answer it."""

    words: str
    answers: tuple[str, ...]


QUESTIONS: Final = (
    Question(
        "start many jobs together and collect what they return",
        ("asyncio.gather", "asyncio.as_completed", "asyncio.wait", "asyncio.TaskGroup"),
    ),
    Question("delete a whole folder and everything inside it", ("shutil.rmtree",)),
    Question(
        "make a password reset link that nobody can predict",
        ("secrets.token_urlsafe", "secrets.token_hex"),
    ),
    Question("pick the three biggest numbers without ordering all of them", ("heapq.nlargest",)),
    Question("how far apart are two places on a map", ("math.dist", "math.hypot")),
    Question("is there enough room left on the drive", ("shutil.disk_usage",)),
    Question(
        "show what changed between two versions of a text",
        ("difflib.Differ", "difflib.HtmlDiff", "difflib.ndiff", "difflib.unified_diff", "difflib.context_diff"),
    ),
    Question("let a long paragraph fit a narrow screen", ("textwrap.fill", "textwrap.wrap", "textwrap.shorten")),
)


class Answer(NamedTuple):
    """What the server replied to one question: the hits, the candidates per arm, and the milliseconds it took."""

    hits: list[dict[str, Any]]
    arms: dict[str, int]
    took_ms: float

    def rank_of(self, keys: Sequence[str]) -> int | None:
        """Return the place of the first hit with one of the keys, from 1."""
        for rank, hit in enumerate(self.hits, start=1):
            if hit["key"] in keys:
                return rank
        return None


def demo_command() -> Command:
    """Return the command that shows remembering and recalling on real input."""
    return Command(
        "demo",
        _demo,
        help=(
            "Remember the documentation of Python's standard library in a new store, or the one named by --db, start a"
            " server on it as a client does, and ask it questions in other words. Exit status 1 when most answers are"
            " not among the first three."
        ),
        options=setting_options(),
        example="mimir demo",
    )


def _demo(settings: dict[str, Any], _values: dict[str, Any]) -> int:
    # A store named by the environment is the user's own: only a flag brings the demo there.
    path = settings.pop("db", None) or os.path.join(tempfile.mkdtemp(prefix="mimir-demo-"), "memory.db")
    out = console()
    out.print(f"mimir {__version__}, store {path}\n", soft_wrap=True)
    memories = list(documentation())
    fill(out, str(path), settings, memories)
    embed(out, str(path), settings)
    with Client([*server_command(str(path)), *as_flags(settings)]) as client:
        remember_one(out, client)
        answers = [client.recall(question.words) for question in QUESTIONS]
    show_answers(out, answers)
    found = sum(
        answer.rank_of(question.answers) is not None for question, answer in zip(QUESTIONS, answers, strict=True)
    )
    out.print(
        f"{found} of {len(QUESTIONS)} answers are among the first {_ANSWERS_LOOKED_AT}."
        " No question left this machine.\n",
        style="bold",
        soft_wrap=True,
    )
    out.print("Next: let your client start this server. In its JSON configuration:\n")
    line = msgspec.json.encode(client_configuration(str(path))).decode()
    out.print(f"    {line}\n", soft_wrap=True)
    out.print(
        f"Leave out --db and its path for your own store, and delete {path} when done.",
        soft_wrap=True,
    )
    return 0 if found > len(QUESTIONS) / 2 else 1


def documentation() -> Iterator[dict[str, Any]]:
    """Yield a memory for each documented public function and class of the modules, in alphabetical order."""
    seen = set()
    for module_name in MODULES:
        module = importlib.import_module(module_name)
        names = getattr(module, "__all__", None) or dir(module)
        for name in sorted(names):
            value = getattr(module, name)
            text = opening(inspect.cleandoc(getattr(value, "__doc__", None) or ""))
            known = len(text) < _LEAST_CHARACTERS or text in seen
            if known or name.startswith("_") or not callable(value) or _is_exception(value):
                continue
            seen.add(text)
            yield {
                "category": CATEGORY,
                "key": f"{module_name}.{name}",
                "tags": [module_name],
                "type": "reference",
                "body_json": {"content": text},
            }


def _is_exception(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, BaseException)


def opening(text: str) -> str:
    """Return the first paragraph of a text, and the next ones while they fit."""
    first, *others = text.split("\n\n")
    for paragraph in others:
        if len(first) + len(paragraph) > TEXT_CHARACTERS:
            break
        first += "\n\n" + paragraph
    return first[:TEXT_CHARACTERS]


def fill(out: Console, path: str, settings: Mapping[str, Any], memories: Sequence[dict[str, Any]]) -> None:
    """Write memories into a store, a batch at a time, and say how fast it went."""
    started = time.perf_counter()
    # Without the model first, so that writing and embedding show apart.
    with (
        Memory.open(path, **{**settings, "embedding": "off"}) as memory,
        counting(out, "Remembering", len(memories)) as advance,
    ):
        memory.remember_many(memories, batch=100, progress=advance)
    took = time.perf_counter() - started
    out.print(
        f"Remembered {len(memories)} pieces of documentation from {len(MODULES)} modules in {took:.2f} s.",
        soft_wrap=True,
    )


def embed(out: Console, path: str, settings: Mapping[str, Any]) -> None:
    """Compute the vectors that wait in a store, and say how fast it went; without a model only say why not."""
    with Memory.open(path, **settings) as memory:
        if memory.embedder is None:
            out.print(f"No search by meaning: {memory.no_embedder}.", style="yellow", soft_wrap=True)
            return
        started = time.perf_counter()
        total, done = memory.store.count_pending(), 0
        with counting(out, "Embedding", total) as advance:
            while step := memory.embed_pending(_STEP_S):
                done += step
                advance(done)
    took = time.perf_counter() - started
    out.print(f"Computed {done} vectors for search by meaning in {took:.1f} s, offline.", soft_wrap=True)


@contextmanager
def counting(out: Console, doing: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a bar on a terminal while something is done; yields what takes the number done so far."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        console=out,
        transient=True,
        disable=not out.is_terminal,
    ) as progress:
        task = progress.add_task(doing, total=total)
        yield lambda done: progress.update(task, completed=done)


def remember_one(out: Console, client: Client) -> None:
    """Store a memory through the server and ask for it in other words."""
    text = "We ship the billing service on Tuesday mornings, never on Fridays."
    client.call("mimir_remember", category="decision", key="release", body_json={"content": text})
    question = "which day do new invoices go live"
    answer = client.recall(question)
    found = printable(answer.hits[0]["evidence"]) if answer.hits else "nothing"
    out.print(f"Started a server and let it remember: {text}", soft_wrap=True)
    out.print(f"Asked it: {question}? It found: {found}", soft_wrap=True)


def show_answers(out: Console, answers: Sequence[Answer]) -> None:
    """Print each question with the memory that answers it, its place, score, the arms that found it and the time."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    made.add_column("question", ratio=3)
    made.add_column("rank", justify="right", no_wrap=True)
    made.add_column("memory found", ratio=4)
    made.add_column("score", justify="right", no_wrap=True)
    made.add_column("arms", no_wrap=True)
    made.add_column("ms", justify="right", no_wrap=True)
    for question, answer in zip(QUESTIONS, answers, strict=True):
        rank = answer.rank_of(question.answers)
        place, style = ("-", "red") if rank is None else (str(rank), "green")
        if not answer.hits:
            made.add_row(question.words, place, "nothing", "", "", f"{answer.took_ms:.0f}")
            continue
        hit = answer.hits[(rank or 1) - 1]
        text = textwrap.shorten(printable(hit["evidence"]), _SHOWN_CHARACTERS, placeholder=" ...")
        made.add_row(
            question.words,
            Text(place, style=style),
            Text.assemble((hit["key"], "bold cyan"), "\n", (text, "dim")),
            f"{hit['score']:.2f}",
            " + ".join(hit.get("scores") or answer.arms),
            f"{answer.took_ms:.0f}",
        )
    out.print(made)


class Client:
    """A minimal MCP client: a server process of its own, one request at a time."""

    def __init__(self, command: Sequence[str]) -> None:
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._requests = 0

    def __enter__(self) -> Self:
        """Open the session."""
        self._request(
            "initialize",
            {
                "protocolVersion": "2025-11-25",
                "capabilities": {},
                "clientInfo": {"name": "mimir-demo", "version": __version__},
            },
        )
        self._send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return self

    def __exit__(self, *exception: object) -> None:
        """End the server as clients do: close its input and wait."""
        stdin, stdout = self._pipes()
        with suppress(BrokenPipeError):
            stdin.close()
        self._process.wait()
        stdout.close()

    def call(self, tool: str, **arguments: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON value
        """Call a tool and return its structured result.

        Raises:
            MimirError: the tool failed, or the server ended.
        """
        result = self._request("tools/call", {"name": tool, "arguments": arguments})
        content: dict[str, Any] = result["structuredContent"]
        if result.get("isError"):
            raise MimirError(f"{tool} failed: {content['error']}", hint=content["hint"])
        return content

    def recall(self, question: str) -> Answer:
        """Ask one question."""
        started = time.perf_counter()
        found = self.call("mimir_recall", query=question, limit=_ANSWERS_LOOKED_AT)
        return Answer(found["items"], found["arms"], (time.perf_counter() - started) * 1000)

    def _request(self, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        self._requests += 1
        # A server that hangs is killed; its end of output then ends the wait.
        bound = threading.Timer(_REPLY_S, self._process.kill)
        bound.start()
        try:
            self._send({"jsonrpc": "2.0", "id": self._requests, "method": method, "params": params})
            line = self._pipes()[1].readline()
        finally:
            bound.cancel()
        if not line:
            raise StorageFailure(
                f"The server ended with exit status {self._process.wait()}.",
                hint="Run: mimir doctor",
            )
        reply: dict[str, Any] = msgspec.json.decode(line)
        if "error" in reply:
            raise MimirError(f"{method} failed: {reply['error']['message']}")
        result: dict[str, Any] = reply["result"]
        return result

    def _send(self, message: Mapping[str, Any]) -> None:
        stdin = self._pipes()[0]
        # A server that has ended shows by the end of its output.
        with suppress(BrokenPipeError):
            stdin.write(msgspec.json.encode(message) + b"\n")
            stdin.flush()

    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        return cast("tuple[IO[bytes], IO[bytes]]", (self._process.stdin, self._process.stdout))
