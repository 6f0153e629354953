"""Results for people: tables and panels where there is a terminal, plain text where there is none."""

from __future__ import annotations

import re
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import UNSET

from mimir.errors import InvalidInput
from mimir.model import Hit, Json, Recalled, Reindexed, Remembered
from mimir.operations.context import ContextBlock
from mimir.operations.entities import AsOf, Forgotten, Found, History, PastVersion

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

PLAIN_WIDTH: Final = 100
"""Columns of a table that goes to no terminal, unless COLUMNS says otherwise."""

_EVIDENCE_SHOWN: Final = 280
_SILENT: Final[tuple[Json, ...]] = ("", None, (), [], False, "null")
_SECONDS: Final = (
    ("year", 31_557_600),
    ("month", 2_629_800),
    ("day", 86_400),
    ("hour", 3_600),
    ("minute", 60),
)
_TEXT_KEYS: Final = ("content", "text", "value")
_KIB: Final = 1024
# A memory is foreign text: escape sequences in it must not reach the terminal, nor may marks that reverse a line.
_UNPRINTABLE: Final = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_TOOL_WORD: Final = re.compile(r"\bmimir_([a-z_]+)")


def console(*, stderr: bool = False) -> Console:
    """Return a terminal, or plain output of a fixed width where there is none."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else shutil.get_terminal_size((PLAIN_WIDTH, 24)).columns
    return Console(stderr=stderr, width=width, highlight=False, markup=False, emoji=False)


def print_json(value: object) -> None:
    """Print a value as JSON with two spaces of indentation."""
    text = msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    sys.stdout.write(text + "\n")


def wire(result: msgspec.Struct) -> Json:
    """Return the JSON form of a result, as the tool of the same name answers."""
    own: Callable[[], Json] | None = getattr(result, "wire", None)
    return msgspec.to_builtins(result) if own is None else own()


def as_commands(text: str) -> str:
    """Return help or advice with each tool's name replaced by the command of the same name."""
    return _TOOL_WORD.sub(lambda match: "mimir " + match[1].replace("_", "-"), text)


def show(result: msgspec.Struct) -> None:
    """Print a result for people."""
    from rich.text import Text

    out = console()
    for part in _SHOWN.get(type(result), _any_result)(result):
        # Lines that go to another program stay whole.
        out.print(part, soft_wrap=isinstance(part, Text) and not out.is_terminal)


def printable(text: str) -> str:
    """Return text without control characters, each replaced by a visible mark."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n"))


def tell(message: str, hint: str = "") -> None:
    """Write a message to standard error, and below it what helps."""
    sys.stderr.write(printable(f"mimir: {message}\n" + (f"  {hint}\n" if hint else "")))


def readable(body_json: str) -> str:
    """Return a body as text to read: the words of a plain note, ``key: value`` lines of an object."""
    try:
        body = msgspec.json.decode(body_json)
    except msgspec.DecodeError:
        return printable(body_json)
    if not isinstance(body, dict):
        return printable(body if isinstance(body, str) else body_json)
    if len(body) == 1 and isinstance(next(iter(body.values())), str):
        (name,) = body
        if name in _TEXT_KEYS:
            return printable(body[name])
    return printable("\n".join(f"{name}: {_value_text(value)}" for name, value in body.items()))


def moment(unix_ms: int, now_ms: int | None = None) -> str:
    """Return an instant as local date and time with its distance from now."""
    try:
        local = datetime.fromtimestamp(unix_ms / 1000).astimezone()
    except (OverflowError, ValueError, OSError):
        return f"{unix_ms} ms"
    now = time.time_ns() // 1_000_000 if now_ms is None else now_ms
    return f"{local:%Y-%m-%d %H:%M} ({distance((now - unix_ms) / 1000)})"


def distance(seconds: float) -> str:
    """Return how long ago something was, or how far ahead it is when negative, in its largest unit."""
    for unit, length in _SECONDS:
        count = int(abs(seconds) // length)
        if count:
            words = f"{count} {unit}{'s' if count > 1 else ''}"
            return f"{words} ago" if seconds > 0 else f"in {words}"
    return "just now"


def read_moment(text: str) -> int:
    """Return the milliseconds since 1970 UTC that a number, or a date in ISO form (local without zone), stands for.

    Raises:
        InvalidInput: it is neither.
    """
    word = text.strip()
    if word.lstrip("+-").isdigit():
        return int(word)
    try:
        return int(datetime.fromisoformat(word).timestamp() * 1000)
    except (ValueError, OverflowError, OSError):
        raise InvalidInput(
            f"{text!r} is no time.",
            hint="Give milliseconds since 1970 UTC, or a date such as 2026-01-31 or 2026-01-31T12:00.",
        ) from None


def size(count: int) -> str:
    """Return a number of bytes in a unit that fits."""
    number = float(count)
    for unit in ("B", "KiB", "MiB"):
        if number < _KIB:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= _KIB
    return f"{number:.1f} GiB"


def fields(pairs: Sequence[tuple[str, str]]) -> Table:
    """Return names and values side by side."""
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in pairs:
        grid.add_row(name, Text(value))
    return grid


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: int = 0) -> Table:
    """Return rows under headings; the last ``numbers`` columns are aligned to the right."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for place, heading in enumerate(headings):
        right = place >= len(headings) - numbers
        made.add_column(heading, justify="right" if right else "left", overflow="fold")
    for row in rows:
        made.add_row(*(Text(printable(cell)) for cell in row))
    return made


def _recalled(result: Recalled) -> list[RenderableType]:
    from rich.text import Text

    parts: list[RenderableType] = []
    if result.items:
        parts.append(_hits(result.items))
    else:
        parts.append(Text("Nothing found.", style="bold"))
    arms = ", ".join(f"{name} {count}" for name, count in result.arms.items())
    parts.append(Text(f"mode {result.mode}; candidates: {arms or 'none'}", style="dim"))
    parts += [Text(note, style="yellow") for note in _notes(result)]
    return parts


def _notes(result: Recalled) -> list[str]:
    notes = []
    if result.low_relevance is True:
        notes.append("low relevance: nothing stored seems to be about this.")
    if result.pending is not UNSET and result.pending:
        notes.append(f"pending: {result.pending} passages wait for a vector; words find them already.")
    if result.degraded is not UNSET and result.degraded:
        notes.append(f"degraded: {as_commands(result.degraded)}")
    return notes


def _hits(items: Sequence[Hit]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    made.add_column("#", justify="right")
    made.add_column("score", justify="right", style="green")
    made.add_column("memory", overflow="fold", ratio=1)
    made.add_column("age", justify="right", no_wrap=True)
    for rank, hit in enumerate(items, start=1):
        memory = Text.assemble((printable(f"{hit.category}/{hit.key}"), "bold cyan"), ("  " + hit.id, "dim"))
        for mark in _marks(hit):
            memory.append(f"  [{mark}]", style="yellow")
        evidence = printable(hit.evidence) or readable(hit.body_json)
        memory.append("\n" + _shortened(evidence))
        made.add_row(str(rank), f"{hit.score:.2f}", memory, distance(hit.age_days * 86_400))
    return made


def _marks(entity: Hit | PastVersion) -> list[str]:
    marks = [] if entity.status == "active" else [printable(entity.status)]
    for mark, is_set in (
        ("archived", entity.archived),
        ("verified", entity.verified),
        ("pinned", entity.always_on),
    ):
        if is_set:
            marks.append(mark)
    return marks


def _found(result: Found) -> list[RenderableType]:
    return _one(msgspec.to_builtins(result))


def _one(values: dict[str, Json]) -> list[RenderableType]:
    """Show one memory: its body in a frame, everything else that is set below it."""
    from rich.panel import Panel
    from rich.text import Text

    title = Text(printable(f"{values.pop('category')}/{values.pop('key')}"), style="bold cyan")
    body = Text(readable(values.pop("body_json")))
    return [Panel(body, title=title, title_align="left"), fields(_pairs(values))]


def _history(result: History) -> list[RenderableType]:
    from rich.text import Text

    heading = printable(f"{result.category}/{result.key}")
    if not result.versions:
        return [Text(f"{heading} has no past versions here.")]
    parts: list[RenderableType] = [Text(f"{heading}: {result.returned} of {result.total} past versions", style="bold")]
    for version in result.versions:
        span = f"{moment(version.recorded_at_unix_ms)} to {moment(version.invalidated_at_unix_ms)}"
        line = Text.assemble("\n", (span, "cyan"), ("  " + version.version_id, "dim"))
        for mark in _marks(version):
            line.append(f"  [{mark}]", style="yellow")
        parts += [line, Text(readable(version.body_json))]
    return parts


def _as_of(result: AsOf) -> list[RenderableType]:
    from rich.text import Text

    if not result.found:
        name = printable(f"{result.category}/{result.key}")
        return [Text(f"Nothing was known of {name} at {moment(result.as_of_unix_ms)}.")]
    return _one(msgspec.to_builtins(result))


def _remembered(result: Remembered) -> list[RenderableType]:
    from rich.text import Text

    name = printable(f"{result.category}/{result.key}")
    parts: list[RenderableType] = [Text.assemble((result.action, "bold green"), f" {name}  ", (result.id, "dim"))]
    if result.similar_to is not UNSET:
        alike = [(similar.key, f"{similar.similarity:.2f}", similar.id) for similar in result.similar_to]
        parts += [Text("It reads like:", style="yellow"), table(("key", "similarity", "id"), alike)]
    if result.warnings is not UNSET:
        parts += [Text(printable(warning), style="yellow") for warning in result.warnings]
    return parts


def _forgotten(result: Forgotten) -> list[RenderableType]:
    from rich.text import Text

    name = printable(f"{result.category}/{result.key}")
    return [Text(f"Archived {name}" if result.archived else f"Nothing live is stored as {name}.")]


def _context(result: ContextBlock) -> list[RenderableType]:
    from rich.text import Text

    return [Text(printable(result.markdown))]


def _reindexed(result: Reindexed) -> list[RenderableType]:
    from rich.text import Text

    return [Text(f"Reindexed {result.reindexed} entities into FTS5")]


def _any_result(result: msgspec.Struct) -> list[RenderableType]:
    """Show a result of any form: its plain members side by side, each list of objects as a table."""
    from rich.text import Text

    values = wire(result)
    parts: list[RenderableType] = []
    plain = {name: value for name, value in values.items() if not _is_listing(value)}
    if plain:
        parts.append(fields(_pairs(plain)))
    for name, value in values.items():
        if not _is_listing(value):
            continue
        parts.append(Text(f"\n{_label(name)}", style="bold"))
        if isinstance(value, dict):
            parts.append(fields([(printable(str(key)), _shown("", item)) for key, item in value.items()]))
        else:
            # A column that says nothing in any row only takes the others' place.
            headings = list(dict.fromkeys(key for row in value for key, cell in row.items() if cell not in _SILENT))
            rows = [[_shown(heading, row.get(heading)) for heading in headings] for row in value]
            parts.append(table([_label(heading) for heading in headings], rows))
    return parts


def _is_listing(value: Json) -> bool:
    if isinstance(value, dict):
        return bool(value)
    return isinstance(value, (list, tuple)) and bool(value) and all(isinstance(item, dict) for item in value)


def _pairs(values: Mapping[str, Json]) -> list[tuple[str, str]]:
    """Return the members that say something, labelled and in words."""
    return [(_label(name), _shown(name, value)) for name, value in values.items() if value not in ("", None, (), [])]


def _label(name: str) -> str:
    for ending in ("_unix_ms", "_bytes", "_json"):
        name = name.removesuffix(ending)
    return printable(name.replace("_", " "))


def _shown(name: str, value: Json) -> str:
    if value is None:
        return ""
    if isinstance(value, int) and not isinstance(value, bool):
        if name.endswith("_unix_ms"):
            return moment(value)
        if name.endswith("_bytes"):
            return size(value)
    if isinstance(value, float):
        return f"{value:.2f}"
    if name == "body_json" and isinstance(value, str):
        return _shortened(readable(value))
    if isinstance(value, dict):
        return printable(" ".join(f"{part}={_shown(part, inner)}" for part, inner in value.items()))
    if _is_listing(value):
        return "; ".join(_shown(name, item) for item in value)
    return printable(_value_text(value))


def _value_text(value: Json) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    return msgspec.json.encode(value).decode()


def _shortened(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= _EVIDENCE_SHOWN else flat[:_EVIDENCE_SHOWN].rstrip() + " ..."


_SHOWN: Final[dict[type, Callable[[Any], list[RenderableType]]]] = {
    Recalled: _recalled,
    Found: _found,
    History: _history,
    AsOf: _as_of,
    Remembered: _remembered,
    Forgotten: _forgotten,
    ContextBlock: _context,
    Reindexed: _reindexed,
}
"""How each result is shown; one that is not named here is shown by its form."""
