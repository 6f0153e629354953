"""`mimir obsidian-sync`: a folder of notes that follows the store, once or for as long as it runs."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import click

from mimir.cli.commands import Argument, Command, json_option, open_engine, refuse_writes, setting_options, waiting
from mimir.cli.output import print_json, printable, show
from mimir.config import expand
from mimir.errors import MimirError
from mimir.operations.vault import require_plaintext, vault_folder
from mimir.progress import Cancelled, cancelled_when
from mimir.vault.notion import write_notion_zip
from mimir.vault.syncing import Sync, Synced

_TITLE: Final = "Syncing notes"
_REST: Final = 10
"""A look at a large folder is followed by a pause this many times as long."""


def sync_command() -> Command:
    """Return the command that keeps a vault in step with the store."""
    return Command(
        "obsidian-sync",
        _sync,
        help=(
            "Keep a folder of Markdown notes in step with the store: a note for each memory, an overview for each"
            " category. Only what changed is written. With --two-way edits, new and deleted notes come back."
        ),
        arguments=[Argument("vault", "Folder of the notes, such as an Obsidian vault or a folder in it.")],
        options=[
            click.Option(["--watch"], is_flag=True, help="Go on until stopped, looking every --sync-interval-secs."),
            click.Option(["--two-way"], is_flag=True, help="Bring edits of the notes into memory as well."),
            click.Option(["--logseq"], is_flag=True, help="Write page properties of Logseq in place of front matter."),
            click.Option(["--notion"], metavar="FILE", help="Also write a zip file for the import of Notion."),
            click.Option(["--plaintext"], is_flag=True, help="Needed for an encrypted store: notes are readable."),
            click.Option(["--workspace-hash"], metavar="TEXT", help="Only this workspace; empty: the global one."),
            json_option("Print each report as JSON."),
            *setting_options(),
        ],
        example="mimir obsidian-sync ~/vault/Memory --watch --two-way",
    )


def _sync(flags: dict[str, Any], values: dict[str, Any]) -> int:
    folder = vault_folder(values["vault"])
    tell: Callable[[Synced], None] = print_json if values["as_json"] else show
    with _stopped_by_signals() as stop, open_engine(flags) as engine:
        refuse_writes(engine.settings, "write")
        require_plaintext(engine, allowed=values["plaintext"])
        sync = Sync(
            engine,
            folder,
            two_way=values["two_way"],
            layout="logseq" if values["logseq"] else "obsidian",
            workspace_hash=values["workspace_hash"],
        )
        with suppress(Cancelled), cancelled_when(stop.is_set):
            with waiting(_TITLE):
                report = sync.round()
            tell(report)
            if values["notion"]:
                target = os.path.abspath(expand(values["notion"]))
                with waiting("Writing pages for Notion"):
                    pages = write_notion_zip(engine, target, values["workspace_hash"])
                sys.stderr.write(f"mimir: {pages:,} pages for Notion in {target}\n")
            if values["watch"]:
                _watch(sync, tell, stop, max(1, engine.settings.sync_interval_secs))
    return 0


def _watch(sync: Sync, tell: Callable[[Synced], None], stop: threading.Event, interval_s: float) -> None:
    """Do a round whenever there is something to do, until stopped; what fails is said once, and tried again."""
    said = ""
    pause = interval_s
    sys.stdout.flush()
    while not stop.wait(pause):
        began = time.monotonic()
        try:
            done = sync.round() if sync.is_due() else None
            if done is not None and not done.is_empty:
                tell(done)
                sys.stdout.flush()
            said = ""
        except MimirError as error:
            if error.message != said:
                said = error.message
                sys.stderr.write(printable(f"mimir: {said} {error.hint}".rstrip() + "\n"))
        pause = max(interval_s, _REST * (time.monotonic() - began))


@contextmanager
def _stopped_by_signals() -> Iterator[threading.Event]:
    """Yield what an interrupt or a request to end sets, so that a note is finished before the program ends."""
    stop = threading.Event()
    former = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        former[number] = signal.signal(number, lambda *_: stop.set())
    try:
        yield stop
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
