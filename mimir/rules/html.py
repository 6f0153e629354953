"""Text out of HTML: what a page shows, with its headings and lists as Markdown."""

from __future__ import annotations

import codecs
import re
from html.parser import HTMLParser
from typing import Final

_CHARSET: Final = re.compile(rb"charset\s*=\s*[\"']?\s*([A-Za-z0-9_:.-]+)")
_HEAD_BYTES: Final = 2_048
_SILENT: Final = frozenset({"script", "style", "template", "noscript", "svg", "math", "object", "iframe", "select"})
_BLOCKS: Final = frozenset(
    "address article aside blockquote body dd details div dl dt fieldset figcaption figure footer form header hr"  # noqa: SIM905 - one line
    " html main nav ol p pre section summary table title ul".split()
)
_HEADINGS: Final = {f"h{level}": "#" * level + " " for level in range(1, 7)}


def html_text(data: bytes) -> str:
    """Return what an HTML page shows: headings and items of lists with their marks, cells apart, no scripts or styles.

    Raises:
        ValueError: it is no text in the encoding that it names, UTF-8 if it names none.
    """
    named = _CHARSET.search(data[:_HEAD_BYTES])
    encoding = "utf-8-sig"
    if named is not None and not data.startswith(codecs.BOM_UTF8):
        try:
            encoding = codecs.lookup(named.group(1).decode()).name
        except LookupError:
            encoding = "utf-8-sig"
    reader = _Reader()
    reader.feed(data.decode("utf-8-sig" if encoding == "utf-8" else encoding))
    reader.close()
    return reader.text()


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._parts: list[str] = []
        self._silent: list[str] = []
        self._kept = 0

    def text(self) -> str:
        """Return what was read, without blank lines in a row."""
        lines = [line.rstrip() for line in "".join(self._parts).split("\n")]
        return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()

    def parse_marked_section(self, i: int, report: bool = True) -> int:
        """Read a section that opens with ``<![``; one of no kind that HTML knows is a comment, as in browsers."""
        try:
            return super().parse_marked_section(i, report)
        except AssertionError:
            return self.parse_bogus_comment(i)

    def handle_starttag(self, tag: str, _attributes: list[tuple[str, str | None]]) -> None:
        if tag in _SILENT:
            self._silent.append(tag)
        elif tag == "br":
            self._parts.append("\n")
        elif tag == "li":
            self._parts.append("\n- ")
        elif tag in ("td", "th"):
            self._parts.append(" | ")
        elif tag == "tr":
            self._parts.append("\n")
        elif tag in _BLOCKS or tag in _HEADINGS:
            self._kept += tag == "pre"
            self._parts.append("\n\n" + _HEADINGS.get(tag, ""))

    def handle_endtag(self, tag: str) -> None:
        if tag in self._silent:
            del self._silent[self._silent.index(tag) :]
        elif tag in _BLOCKS or tag in _HEADINGS:
            self._kept -= tag == "pre" and self._kept > 0
            self._parts.append("\n\n")

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self._parts.append(data if self._kept else re.sub(r"\s+", " ", data))
