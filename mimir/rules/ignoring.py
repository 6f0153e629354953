"""What files named like .gitignore leave out, by the rules that gitignore(5) gives for them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

_PIECE: Final = re.compile(r"\*\*/|/\*\*$|\*+|\?|\[[!^]?(?:\][^\]/]*|[^\]/]+)\]|\\.|.", re.DOTALL)


class Pattern(NamedTuple):
    """One line: what it matches below the folder whose file holds it, for folders only or not, and if it takes back."""

    expression: re.Pattern[str]
    folders_only: bool
    takes_back: bool


class Rules(NamedTuple):
    """The lines of one file, and the folder that it stands in, with ``/`` after it unless that is the root."""

    folder: str
    patterns: tuple[Pattern, ...]


def read_rules(text: str, folder: str) -> Rules:
    """Return the rules that the text of a file in ``folder`` gives, as a path below the root with ``/`` between."""
    patterns = [_pattern(line) for line in text.splitlines()]
    return Rules(f"{folder}/" if folder else "", tuple(pattern for pattern in patterns if pattern is not None))


def is_ignored(path: str, *, is_folder: bool, rules: Sequence[Rules]) -> bool:
    """Tell whether a file or folder is left out; the last line that matches decides.

    ``rules`` are those of all folders above, the outermost first. What lies in a folder that is left out is left out
    too, so whoever asks goes down from the root.
    """
    for folder, patterns in reversed(rules):
        below = path.removeprefix(folder)
        for pattern in reversed(patterns):
            if (is_folder or not pattern.folders_only) and pattern.expression.fullmatch(below):
                return not pattern.takes_back
    return False


def _pattern(line: str) -> Pattern | None:
    # Blanks at the end do not count unless the last one is escaped.
    line = re.sub(r"(?<!\\)[ \t]+$", "", line)
    takes_back = line.startswith("!")
    glob = line[1:] if takes_back else line
    folders_only = glob.endswith("/")
    glob = glob.rstrip("/")
    if not glob or line.startswith("#"):
        return None
    # With a slash inside, it is about a path from here; without one, about a name at any depth.
    anchored = "/" in glob
    expression = "" if anchored else "(?:.*/)?"
    pieces = _PIECE.findall(glob.removeprefix("/"))
    if "[" in pieces:
        # A bracket that is not closed matches nothing.
        return None
    expression += "".join(map(_expression, pieces))
    try:
        return Pattern(re.compile(expression, re.DOTALL), folders_only, takes_back)
    except re.error:
        # Such as a range whose end comes before its beginning, which matches nothing.
        return None


def _expression(piece: str) -> str:
    if piece == "**/":
        return "(?:.*/)?"
    if piece == "/**":
        return "/.*"
    if piece.startswith("*"):
        return "[^/]*"
    if piece == "?":
        return "[^/]"
    if piece.startswith("["):
        # What Python means to give a meaning inside of sets one day.
        inside = re.sub(r"[\[\\&~|]|(?<=-)-", r"\\\g<0>", piece[1:-1])
        return f"(?!/)[^{inside[1:]}]" if inside[0] in "!^" else f"(?!/)[{inside}]"
    return re.escape(piece[-1])
