"""What people write inside the text of a note: #tags, [[links]] to other notes, and its code, which holds neither."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote

_CODE: Final = re.compile(
    r"^(`{3,}|~{3,})[^\n]*\n.*?(?:^\1[`~]*[ \t]*$|\Z)|(`{1,8})[^`\n][^\n]{0,1000}?\2", re.DOTALL | re.MULTILINE
)
_TAG: Final = re.compile(r"(?<![^\s(\[{,;])#([\w/-]*[^\W\d][\w/-]*)")
_WIKI_LINK: Final = re.compile(r"\[\[([^\[\]|\n]{1,400})(?:\|[^\[\]\n]{0,400})?\]\]")
_FILE_LINK: Final = re.compile(r"\]\(<?([^()<>\n:]{1,400}\.md)(?:#[^()<>\n]{0,400})?>?\)", re.IGNORECASE)
_ENDING: Final = ".md"


def inline_tags(text: str) -> tuple[str, ...]:
    """Return the tags of a Markdown text without their #, each once, as they first stand."""
    return tuple(dict.fromkeys(tag.strip("/") for tag in _TAG.findall(_without_code(text)) if tag.strip("/")))


def inline_links(text: str) -> tuple[str, ...]:
    """Return the names of the notes that a Markdown text leads to, each once, without heading or block."""
    words = _without_code(text)
    wiki = ((match.start(), re.split(r"[#^]", match[1], maxsplit=1)[0]) for match in _WIKI_LINK.finditer(words))
    files = ((match.start(), unquote(match[1])) for match in _FILE_LINK.finditer(words))
    names = (link_name(name) for _, name in sorted([*wiki, *files]))
    return tuple(dict.fromkeys(name for name in names if name))


def link_name(name: str) -> str:
    """Return the name of a note as links compare it: without ending, ./ and ../, in small letters."""
    name = name.strip().replace("\\", "/").lower().removesuffix(_ENDING)
    return "/".join(part for part in name.split("/") if part not in ("", ".", ".."))


def _without_code(text: str) -> str:
    return _CODE.sub(" ", text) if "`" in text or "~~~" in text else text
