"""What reads foreign text, each as a function of bytes that may refuse them with an error of ours and nothing else."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from mimir.connectors import load_sources
from mimir.crypto import KEY_BYTES, Keys, check_head, read_key_file
from mimir.drafts import make_draft
from mimir.errors import InvalidInput, Locked, MimirError
from mimir.importing import Item
from mimir.importing.formats import FORMATS
from mimir.model import Entity, Stored
from mimir.rules.conflicts import disagreements, read_memory
from mimir.rules.extract import extract
from mimir.rules.fencing import context_line, source
from mimir.rules.html import html_text
from mimir.rules.ignoring import is_ignored, read_rules
from mimir.rules.note import read_note, write_note
from mimir.rules.query import parse_query
from mimir.rules.secrets import find_secrets, masked
from mimir.rules.text import searchable_text, segment, split_passages
from mimir.server.message import Fault, Reply, encode, read_message
from mimir.store.codec import COLUMNS, UNREADABLE, BodySeal, entity_row, links_from_text, stored_from_row

_KEYS: Final = Keys(bytes(KEY_BYTES))
_FOLDER: Final = Path(tempfile.gettempdir())


def message(data: bytes) -> None:
    """Read one message of the protocol, and write what stood in it again."""
    try:
        read = read_message(data)
    except Fault as fault:
        json.loads(fault.reply())
        return
    json.loads(encode(read.result if isinstance(read, Reply) else read.params))


def note(data: bytes) -> None:
    """Read a note, and a note of what it said."""
    try:
        read = read_note(data.decode("utf-8", "replace"))
    except InvalidInput:
        return
    json.loads(read.body_json)
    entity = Entity(id="mem-1", category="c", key="k", body_json=read.body_json)
    again = read_note(write_note(entity, {}))
    assert json.loads(again.body_json) == json.loads(read.body_json), "a body did not come back"


def codec(data: bytes) -> None:
    """Lay a memory down and take it up again, then take up a row that somebody else has written."""
    text = data.decode("utf-8", "replace")
    entity = Entity(id="mem-1", category=text, key=text[::-1], body_json=text, tags=(text, ""), agent_id=text)
    for seal in (None, *(BodySeal(_KEYS.bodies, original_form=original) for original in (False, True))):
        row = entity_row(Stored(number=1, entity=entity), seal)
        assert stored_from_row(1, row, seal).entity == entity, "a memory did not come back"
        foreign = tuple(
            text if column in ("body_json", "tags") else value for column, value in zip(COLUMNS, row, strict=True)
        )
        try:
            links_from_text(text)
            read = stored_from_row(1, foreign, seal).entity
        except msgspec.DecodeError:
            continue
        assert seal is None or read.body_json == UNREADABLE, "a body was believed that was never sealed"


def keys(data: bytes) -> None:
    """Read a key file, and the head of a store."""
    with tempfile.NamedTemporaryFile(dir=_FOLDER, suffix=".key") as file:
        file.write(data)
        file.flush()
        with suppress(Locked):
            assert len(read_key_file(file.name)) == KEY_BYTES, "a key of another length was read"
    for known in (None, _KEYS):
        try:
            sealed = check_head(data, known, "m.db")
        except MimirError:
            continue
        assert not sealed or known is not None, "a sealed file was opened without a key"


def query(data: bytes) -> None:
    """Turn text into a query: nothing of it is an operator."""
    read = parse_query(data.decode("utf-8", "replace"))
    assert all(word.replace("_", "").isalnum() or not word.isascii() for word in read.words), "an operator survived"


def passages(data: bytes) -> None:
    """Split text into passages that cover it, and prepare it for the index."""
    text = data.decode("utf-8", "replace")
    split = split_passages(text)
    assert "".join(text[one.start : one.start + one.length] for one in split) == text, "a passage is missing"
    segment(text)


def sentences(data: bytes) -> None:
    """Read what a text tells, as knowledge and as statements that may contradict each other."""
    text = data.decode("utf-8", "replace")
    assert all(sentence in text for _, sentence in extract(text)), "a sentence was made up"
    half = len(text) // 2
    bodies = [msgspec.json.encode({"content": part}).decode() for part in (text[:half], text[half:])]
    disagreements([read_memory(Entity(id=body, category="c", key="k", body_json=body)) for body in bodies])


def draft(data: bytes) -> None:
    """Check a memory whose body is any text, and lay it out."""
    try:
        made = make_draft("c", "k", data.decode("utf-8", "surrogateescape"), secrets="mask", changes={})
    except MimirError:
        return
    assert made.text == searchable_text(msgspec.json.decode(made.body_json)), "the text is not that of the body"


def secrets(data: bytes) -> None:
    """Mask secrets, and look for what is left; what was none stays as it was."""
    text = data.decode("utf-8", "replace")
    safe, found = masked(text)
    assert find_secrets(safe) == [], "a secret shows after masking"
    assert found or safe == text, "a text without secrets was changed"


def prompt(data: bytes) -> None:
    """Put a text into a prompt as data: a line, and a part that begins no other."""
    text = data.decode("utf-8", "surrogateescape")
    line = context_line(
        category=text,
        key=text,
        text=text,
        retrievals=1,
        decay=1.0,
        recorded_ms=0,
        valid_to_ms=None,
        age_days=0.0,
        agent=text,
        most=100,
    )
    assert line.isprintable(), "a line breaks"
    assert not any(rest and not rest.startswith("    ") for rest in source("k", text).splitlines()[1:]), "a part begins"


def configuration(data: bytes) -> None:
    """Read a configuration of connectors."""
    with tempfile.NamedTemporaryFile(dir=_FOLDER, suffix=".yaml") as file:
        file.write(data)
        file.flush()
        try:
            load_sources(file.name)
        except InvalidInput:
            return


def exports(data: bytes) -> None:
    """Read an export in every format: each finding has a name and a place, or is told as a problem."""
    for one in FORMATS.values():
        one.fits("conversations.json", data)
        for found in one.read("conversations.json", data):
            assert not isinstance(found, Item) or (found.key and found.body), "an item is empty"


def page(data: bytes) -> None:
    """Read what an HTML page shows."""
    try:
        shown = html_text(data)
    except ValueError:
        return
    assert "\n\n\n" not in shown, "blank lines are left"


def ignoring(data: bytes) -> None:
    """Read the rules of an ignore file, and ask them."""
    text = data.decode("utf-8", "replace")
    is_ignored(text[:50] or "a", is_folder=True, rules=[read_rules(text, "")])


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    one.__name__: one
    for one in (
        message,
        note,
        codec,
        keys,
        query,
        passages,
        sentences,
        draft,
        secrets,
        prompt,
        configuration,
        exports,
        page,
        ignoring,
    )
}
