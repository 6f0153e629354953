"""A marked note in a Markdown file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from mimir.cli.merging.document import Change
from mimir.cli.merging.lines import line_break_of
from mimir.model import Json

NOTE_BEGIN: Final = "<!-- mimir: begin -->"
NOTE_END: Final = "<!-- mimir: end -->"

_NOTE: Final = re.compile(rf"{re.escape(NOTE_BEGIN)}.*?{re.escape(NOTE_END)}", re.DOTALL)


def read(text: str) -> Json:
    """Return the note of a text, if there is one."""
    match = _NOTE.search(text)
    return {"note": match.group().replace("\r\n", "\n")} if match else {}


def put(text: str, change: Change) -> str:
    """Return the text with a note in place of the one there is, or at its end."""
    line_break = line_break_of(text)
    note = str(change.value).replace("\n", line_break)
    if _NOTE.search(text):
        return _NOTE.sub(lambda _: note, text, count=1)
    if not text:
        return note + line_break
    return text + (line_break if text.endswith("\n") else line_break * 2) + note + line_break


def take(text: str, _change: Change) -> Iterator[str]:
    """Yield the text without its note."""
    yield re.sub(r"(?:(?<=\n)\r?\n)?" + _NOTE.pattern + r"\r?\n?", "", text, count=1, flags=re.DOTALL)
