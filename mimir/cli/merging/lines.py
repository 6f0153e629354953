"""Lines of a text: how they end and how far they stand from the margin."""

from __future__ import annotations

from typing import Final

INDENT: Final = "  "
"""One step from the margin where a file shows no other."""


def line_break_of(text: str) -> str:
    """Return how the lines of a text end, by its first one."""
    end = text.find("\n")
    return "\r\n" if end > 0 and text[end - 1] == "\r" else "\n"


def margin_of(text: str, position: int) -> str | None:
    """Return the white space before a position when nothing else is on its line, otherwise None."""
    before = text[text.rfind("\n", 0, position) + 1 : position].lstrip("\ufeff")
    return None if before.strip(" \t") else before


def line_margin(text: str, position: int) -> str:
    """Return the white space at the beginning of the line of a position."""
    line = text[text.rfind("\n", 0, position) + 1 : position].lstrip("\ufeff")
    return line[: len(line) - len(line.lstrip(" \t"))]


def line_end(text: str, position: int) -> int:
    """Return where the line after that of a position begins."""
    return text.find("\n", position) + 1 or len(text)
