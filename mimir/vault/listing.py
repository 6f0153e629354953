"""One note per category that leads to all notes in it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

import msgspec

from mimir.engine import Engine
from mimir.errors import InvalidInput
from mimir.model import Filter
from mimir.rules.front_matter import write_text
from mimir.rules.note import ENDING, Layout, Target, link_to, note_name
from mimir.vault.files import look, put_aside, reason_of, sure, write_file
from mimir.vault.ledger import NOTHING, Known, Ledger, read_file

FOLDER = "Index"


def are_complete(folder: str, ledger: Ledger) -> bool:
    """Tell whether the overviews name every note that was written last, and are as they were written."""
    return ledger.listed == ledger.header != "" and all(
        ledger.is_same(path, look(folder, path)) for path in _known(ledger)
    )


def write_listings(
    engine: Engine, folder: str, ledger: Ledger, categories: Iterable[str] | None, filter_: Filter, layout: Layout
) -> list[str]:
    """Bring the overviews of categories, or all there are, up to the notes there are; return what went wrong."""
    wanted = {category for _, category, _ in engine.store.count_by_scope(filter_)} if categories is None else categories
    of_path: dict[str, str | None] = {} if categories is not None else dict.fromkeys(_known(ledger))
    of_path |= {f"{FOLDER}/{note_name(category)}{ENDING}": category for category in wanted}
    errors = []
    for path, category in sorted(of_path.items()):
        try:
            named = [] if category is None else engine.store.names(msgspec.structs.replace(filter_, category=category))
            _write_listing(engine, folder, ledger, path, category or "", named, layout)
        except (OSError, InvalidInput) as error:
            errors.append(f"{path}: {reason_of(error)}")
    return errors


def _known(ledger: Ledger) -> list[str]:
    return [path for path in ledger if path.startswith(f"{FOLDER}/") and not ledger.is_memory(path)]


def _write_listing(
    engine: Engine,
    folder: str,
    ledger: Ledger,
    path: str,
    category: str,
    named: Sequence[tuple[str, str]],
    layout: Layout,
) -> None:
    """Write the overview of a category with those memories by id and key; put it aside if there is none."""
    seen = look(folder, path)
    if seen is not None and not read_file(folder, path, engine.settings.max_ingest_bytes).is_listing:
        if not named:
            return
        raise InvalidInput("it is a note of somebody else, and was left alone")
    if not named:
        if seen is not None:
            put_aside(folder, path)
        ledger.remove(path)
        return
    fields = {"mimir": "listing", "category": write_text(category)}
    if layout == "logseq":
        head = [f"{name}:: {value}" for name, value in fields.items()]
    else:
        head = ["---", *(f"{name}: {value}" for name, value in fields.items()), "---"]
    title = " ".join(category.split())
    links = [f"- {link_to(Target(ledger.name_of(entity_id), key))}" for entity_id, key in named]
    count = "1 memory" if len(named) == 1 else f"{len(named):,} memories"
    text = "\n".join([*head, f"\n# {title}\n\n{count}\n", *links, ""])
    whole = os.path.join(folder, path)
    if seen is None or _text_of(whole) != text:
        seen = write_file(folder, path, text, engine.clock.new_id("", 16))
    ledger.put(path, Known("", sure(seen), NOTHING))


def _text_of(path: str) -> str:
    with open(path, encoding="utf-8", newline="") as file:
        return file.read()
