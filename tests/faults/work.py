"""Pieces of work on a store, each in a process of its own that may meet a bad disk or be killed.

    python -m tests.faults.work WORK STORE [OPTIONS AS JSON]

prints a line of JSON for each acknowledged deed, for each failure that is an error of ours, and at the end how many
calls of each kind there were. Anything else that goes wrong is a traceback, as in every Python program.
"""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, Final

import apsw

from mimir import Memory, MimirError, StorageFailure
from mimir.cli.main import run as run_command
from mimir.cli.serve import serve as serve_command
from mimir.store.sqlite import schema
from tests.doubles import WordEmbedder
from tests.faults.ledger import EITHER, FORGOTTEN, Deed, body
from tests.faults.vfs import Disk, Fault

_KINDS: Final = ("remember", "remember", "change", "forget", "link", "unlink", "journal", "state", "fold")

NEW_KEY: Final = "new.key"
COPY: Final = "copy.db"
WENT: Final = "went.json"
"""Where a server leaves what its disk went through, beside the store."""

SHELF: Final = 60
"""Memories that a prepared store holds, before any work."""


def prepare(path: str, key: str = "") -> list[Deed]:
    """Make a store on which every kind of work has something to do, and return what it holds."""
    deeds: list[Deed] = []
    with Memory.open(path, embedder=WordEmbedder(), encryption_key=key) as memory:
        for number in range(SHELF):
            one = memory.remember("shelf", f"k{number}", body(number), tags=["leaf", f"t{number % 7}"])
            deeds.append(Deed("memory", one.id, number))
        memory.embed_pending()
        for number in range(0, SHELF, 6):
            memory.remember("shelf", f"k{number}", body(number + 100))
            deeds.append(Deed("memory", deeds[number].name, number + 100))
            deeds.append(Deed("versions", deeds[number].name, 1))
        for number in range(1, SHELF, 6):
            memory.forget("shelf", f"k{number}")
            deeds.append(Deed("memory", deeds[number].name, FORGOTTEN))
        deeds += [Deed("event", memory.journal(acted={"n": number}).id) for number in range(5)]
        memory.state_set("cursor", "7")
        deeds.append(Deed("state", "cursor", 7))
        memory.link("shelf", "k2", deeds[3].name)
        deeds.append(Deed("link", f"{deeds[2].name} {deeds[3].name}", 1))
    return deeds


def write(memory: Memory, options: dict[str, Any]) -> Iterator[Deed]:
    """Remember, change, forget, link, unlink, journal and keep state, one after the other."""
    chance = random.Random(options.get("seed", 0))
    ids: dict[str, str] = {}
    changes: dict[str, int] = {}
    links: list[tuple[str, str]] = []
    first = options.get("first", 1_000)
    for number in range(first, first + options.get("count", 60)):
        kind = chance.choice(_KINDS)
        live = sorted(ids)
        if kind == "remember" or len(live) < 3:
            key = f"k{number}"
            ids[key] = memory.remember("work", key, body(number)).id
            yield Deed("memory", ids[key], number)
        elif kind == "change":
            key = chance.choice(live)
            memory.remember("work", key, body(number))
            changes[key] = changes.get(key, 0) + 1
            yield Deed("memory", ids[key], number)
            yield Deed("versions", ids[key], changes[key])
        elif kind == "forget":
            key = chance.choice(live)
            memory.forget("work", key)
            yield Deed("memory", ids.pop(key), FORGOTTEN)
        elif kind == "link":
            source, target = chance.sample(live, 2)
            yield Deed("link", f"{ids[source]} {ids[target]}", EITHER)
            memory.link("work", source, ids[target])
            links.append((source, ids[target]))
            yield Deed("link", f"{ids[source]} {ids[target]}", 1)
        elif kind == "unlink" and links:
            source, target_id = links.pop()
            if source in ids:
                yield Deed("link", f"{ids[source]} {target_id}", EITHER)
                memory.unlink("work", source, target_id)
                yield Deed("link", f"{ids[source]} {target_id}", 0)
        elif kind == "journal":
            yield Deed("event", memory.journal(evaluated={"n": number}).id)
        elif kind == "state":
            memory.state_set("counter", str(number))
            yield Deed("state", "counter", number)
        elif kind == "fold":
            memory.embed_pending()
            memory.store.truncate_log(0.1)


def bulk(memory: Memory, options: dict[str, Any]) -> Iterator[Deed]:
    """Remember many at once, batch by batch."""
    batch = options.get("batch", 50)
    for first in range(0, options.get("count", 300), batch):
        numbers = range(first, first + batch)
        memory.remember_many(
            ({"category": "bulk", "key": f"k{number}", "body_json": body(number)} for number in numbers), batch=batch
        )
        for number in numbers:
            yield Deed("memory", memory.store.find("bulk", f"k{number}", "")[0].entity.id, number)


def purge(memory: Memory, _options: dict[str, Any]) -> Iterator[Deed]:
    """Erase what was archived."""
    memory.purge()
    yield from ()


def embed(memory: Memory, _options: dict[str, Any]) -> Iterator[Deed]:
    """Give every passage a new vector."""
    memory.embed(batch_category="shelf")
    yield from ()


def reindex(memory: Memory, _options: dict[str, Any]) -> Iterator[Deed]:
    """Rebuild the text index."""
    memory.reindex()
    yield from ()


def vacuum(memory: Memory, _options: dict[str, Any]) -> Iterator[Deed]:
    """Give free space back."""
    done = memory.maintenance(vacuum=True)
    if done.errors:
        raise StorageFailure(done.errors[0], hint="Do it again.")
    yield from ()


def groom(memory: Memory, _options: dict[str, Any]) -> Iterator[Deed]:
    """Run the passes over all memories."""
    memory.autocohere()
    memory.cohere()
    yield from ()


def export(memory: Memory, _options: dict[str, Any]) -> Iterator[Deed]:
    """Write every memory as a note beside the store."""
    done = memory.vault_export(vault_dir=str(Path(memory.store.path).parent / "vault"))
    if done.errors:
        raise StorageFailure(done.errors[0], hint="Do it again.")
    yield from ()


def start(memory: Memory, _options: dict[str, Any]) -> Iterator[Deed]:
    """Do no more than open the store, which brings a file of an older format to the present one."""
    memory.stats()
    yield from ()


WORKS: Final[dict[str, Callable[[Memory, dict[str, Any]], Iterator[Deed]]]] = {
    work.__name__: work for work in (write, bulk, purge, embed, reindex, vacuum, groom, export, start)
}


COMMANDS: Final = {"seal": ("seal",), "unseal": ("unseal",), "rekey": ("rekey", NEW_KEY), "backup": ("backup", COPY)}
"""Work that is a command of its own; the files that it names are in the present folder."""


def newer_migrations() -> tuple[Callable[[apsw.Connection], None], ...]:
    """Return the migrations of a later version of Mimir, whose files have another table."""

    def step(connection: apsw.Connection) -> None:
        for _ in connection.execute("CREATE TABLE later AS SELECT number, body_json FROM entities"):
            pass

    return (*schema.MIGRATIONS, step)


def serve(path: str, options: dict[str, Any]) -> None:
    """Serve the store over MCP on a disk with a fault, as `mimir serve` does."""
    given = options["fault"]
    fault = Fault(given[0], tuple(given[1]), *given[2:]) if given else None
    # A connection that is collected while its file fails can tell nobody; only a file system in Python lets it try.
    sys.unraisablehook = lambda _unraisable: None
    leave = os._exit
    with Disk(fault) as disk:

        def tell_and_leave(status: int) -> None:
            went = {"calls": disk.counted, "met": disk.met}
            Path(path).with_name(WENT).write_text(json.dumps(went), encoding="utf-8")
            leave(status)

        # How a server ends, without a look back.
        os._exit = tell_and_leave  # type: ignore[assignment]  # it does not return either
        serve_command(["--db", path, "--embedding", "off"])


def say(line: dict[str, Any]) -> None:
    """Print a line at once."""
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


@contextmanager
def telling_failures() -> Iterator[None]:
    """Print an error of ours instead of ending with it."""
    try:
        yield
    except MimirError as error:
        say({"error": error.code, "message": error.message, "hint": error.hint})


@contextmanager
def opened(path: str, options: dict[str, Any]) -> Iterator[Memory]:
    """Open a store and close it, whatever the disk does."""
    patience_ms = options.get("patience_ms", 30_000)
    key = options.get("key", "")
    memory = Memory.open(path, embedder=WordEmbedder(), busy_timeout_ms=patience_ms, encryption_key=key)
    try:
        yield memory
    finally:
        # What fails while it closes, SQLite leaves to the next start; only a file system in Python can raise it here.
        with suppress(apsw.Error):
            memory.close()


def run(work: str, path: str, options: dict[str, Any]) -> None:
    """Do a piece of work on the store at ``path``, printing every deed; a failed step does not stop the next."""
    given = options.get("fault")
    fault = Fault(given[0], tuple(given[1]), *given[2:]) if given else None
    if options.get("newer"):
        schema.MIGRATIONS = newer_migrations()  # type: ignore[misc]  # another version has another constant
    if "file_limit" in options:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (options["file_limit"], resource.RLIM_INFINITY))
    with Disk(fault) if "fault" in options else nullcontext() as disk:
        if disk is not None:
            _watch_files(disk)
        if work in COMMANDS:
            run_command([*COMMANDS[work], "--db", path, "--encryption-key", options["key"]])
        for round_ in range(0 if work in COMMANDS else options.get("rounds", 1)):
            options["first"] = options.get("first", 0) + 1_000 * (round_ + 1)
            with telling_failures(), opened(path, options) as memory:
                for deed in WORKS[work](memory, options):
                    say({"deed": deed})
        say({"calls": dict(disk.counted) if disk is not None else {}, "met": disk.met if disk is not None else 0})


def _watch_files(disk: Disk) -> None:
    """Count what this process does to other files than those of SQLite, and let the fault befall it."""

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        writes = event == "open" and (set(arguments[1] or "") & set("wxa+") or arguments[2] & (os.O_WRONLY | os.O_RDWR))
        if writes or event in ("os.rename", "os.remove", "os.mkdir"):
            disk.called("file")

    sys.addaudithook(watch)


if __name__ == "__main__":
    _, named, store, *rest = sys.argv
    chosen = json.loads(rest[0]) if rest else {}
    if named == "serve":
        serve(store, chosen)
    else:
        run(named, store, chosen)
