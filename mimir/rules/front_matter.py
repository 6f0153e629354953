"""Front matter: the fields between two lines --- at the top of a Markdown file, as values, and back as YAML.

Reading makes nothing but texts, lists and mappings, within bounds; what a text means follows from its field.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from mimir.errors import InvalidInput
from mimir.model import Json

FENCE: Final = "---"

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_LARGEST: Final = (1 << 63) - 1
_LONGEST: Final = 524_288
_DEEPEST: Final = 8

_FIELD_LINE: Final = re.compile(r"[\w\"'][^:]*:(\s|$)")
_WORD: Final = re.compile(r"[^\W\d_][\w./-]*(?: [\w./-]+)*")
_OTHER_MEANING: Final = re.compile(r"y|n|yes|no|true|false|on|off|null", re.IGNORECASE)
_NUMBER: Final = re.compile(r"-?(?:0|[1-9]\d{0,17})(?:\.\d{1,15})?")
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:T[0-9]{2}:[0-9]{2}(?::[0-9]{2})?)?")
# Neither JSON nor this writer has to escape them, but readers of YAML refuse them or take them for line breaks.
_UNPRINTABLE: Final = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


class Plain(str):
    """A scalar that stands without quotes, so that YAML may take it for a number, a flag or nothing."""

    __slots__ = ()


def split_front_matter(text: str) -> tuple[list[str], str]:
    """Part the lines of the front matter, none if there is none, from the text below.

    Raises:
        InvalidInput: it begins like one and does not end.
    """
    lines = text.lstrip("\r\n").split("\n")
    if lines[0].rstrip() != FENCE:
        return [], text
    end = next((place for place, line in enumerate(lines[1:], start=1) if line.rstrip() == FENCE), None)
    if end is not None:
        return lines[1:end], "\n".join(lines[end + 1 :])
    if len(lines) > 1 and _FIELD_LINE.match(lines[1]):
        raise InvalidInput("unclosed frontmatter", hint="End the fields at the top with a line ---.")
    # A rule above a text.
    return [], text


def read_fields(lines: Sequence[str]) -> dict[str, Any]:
    """Return the fields of a front matter by name.

    Raises:
        InvalidInput: it is no YAML, has no fields, or is too long or too deep.
    """
    text = "\n".join(lines)
    if len(text) > _LONGEST:
        raise InvalidInput(f"the frontmatter is {len(text)} characters long", hint="Move texts into the body.")
    told = _read_yaml(text)
    if told in ("", None):
        return {}
    if not isinstance(told, dict):
        raise InvalidInput("the frontmatter has no fields", hint="Write fields as name: value.")
    return told


def _read_yaml(text: str) -> Json:
    """Return what YAML says, every scalar as the text it is written as.

    From its events, since building nested values in the library may end the process, and aliases may stand for more
    than there is memory.
    """
    import yaml

    loader = yaml.CBaseLoader if yaml.__with_libyaml__ else yaml.BaseLoader
    levels: list[list[Json]] = [[]]
    try:
        for event in yaml.parse(text, Loader=loader):
            if isinstance(event, yaml.CollectionStartEvent):
                levels.append([])
            elif isinstance(event, yaml.CollectionEndEvent):
                parts = levels.pop()
                pairs = zip(map(str, parts[::2]), parts[1::2], strict=True)
                levels[-1].append(dict(pairs) if isinstance(event, yaml.MappingEndEvent) else parts)
            elif isinstance(event, yaml.ScalarEvent):
                levels[-1].append(Plain(event.value) if event.implicit[0] else event.value)
            elif isinstance(event, yaml.AliasEvent):
                raise InvalidInput("the frontmatter has an alias", hint="Write the value in both places.")
            if len(levels) > _DEEPEST:
                raise InvalidInput("the frontmatter is nested too deep", hint="Write fields as name: value.")
    except (yaml.YAMLError, RecursionError) as error:
        problem = getattr(error, "problem", None) or "it cannot be read"
        raise InvalidInput(
            f"the frontmatter is no YAML: {problem}", hint="Put values with special characters in quotes."
        ) from None
    return levels[0][0] if levels[0] else None


def as_json(value: object) -> Json:
    """Return a value that was read as what YAML takes it for: numbers, flags, null, texts, lists, mappings.

    Raises:
        ValueError: it is no valid Unicode.
    """
    if isinstance(value, dict):
        return {str(as_json(str(name))): as_json(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [as_json(inner) for inner in value]
    word = str(value)
    word.encode()
    if isinstance(value, Plain):
        if word.lower() in ("", "null", "~"):
            return None
        if word.lower() in ("true", "false"):
            return word.lower() == "true"
        if _NUMBER.fullmatch(word):
            return json.loads(word)
    return word


def write_json(value: Json) -> str:
    """Return a JSON value as YAML on one line."""
    if isinstance(value, str):
        return value if _DATE.fullmatch(value) else write_text(value)
    return escaped(json.dumps(value, ensure_ascii=False))


def write_text(value: str) -> str:
    """Return a text as YAML, quoted where it would mean something else."""
    plain = _WORD.fullmatch(value) and not _OTHER_MEANING.fullmatch(value)
    return value if plain and value.isprintable() else write_quoted(value)


def write_quoted(value: str) -> str:
    """Return a text in quotes, as JSON and YAML both read it."""
    return escaped(json.dumps(value, ensure_ascii=False))


def write_texts(values: Iterable[str]) -> str:
    """Return texts as a YAML list."""
    return "[" + ", ".join(map(write_text, values)) + "]"


def write_flag(value: bool) -> str:
    """Return true or false."""
    return "true" if value else "false"


def write_moment(unix_ms: int) -> str:
    """Return a time in UTC, or as a number where no calendar reaches."""
    try:
        moment = _EPOCH + unix_ms * _MILLISECOND
    except OverflowError:
        return str(unix_ms)
    exact = "milliseconds" if unix_ms % 1_000 else "seconds"
    return moment.isoformat(timespec=exact).removesuffix("+00:00") + "Z"


def read_text(value: object) -> str:
    """Return a text; like the readers below it raises ValueError or TypeError for what is none."""
    if not isinstance(value, str):
        raise TypeError
    value.encode()  # half of a surrogate pair, which an escape can make, is no text
    return str(value)


def read_texts(value: object) -> tuple[str, ...]:
    """Return the texts of a list, of a JSON array or of a list with commas."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            value = [part.strip() for part in str(value).strip("[]").split(",")]
    if not isinstance(value, (list, tuple)):
        raise TypeError
    return tuple(read_text(part) for part in value if part != "")


def read_flag(value: object) -> bool:
    """Return what a word such as true or no says."""
    word = read_text(value).lower()
    if word not in ("true", "false", "yes", "no"):
        raise ValueError
    return word in ("true", "yes")


def read_share(value: object) -> float:
    """Return a number from 0 to 1."""
    share = float(read_text(value))
    if not 0.0 <= share <= 1.0:
        raise ValueError
    return share


def read_count(value: object) -> int:
    """Return a whole number that fits into 63 bits and is not negative."""
    count = int(read_text(value))
    if not 0 <= count <= _LARGEST:
        raise ValueError
    return count


def read_moment(value: object) -> int:
    """Return a time in milliseconds since 1970; one without a zone is in UTC."""
    word = read_text(value).strip()
    if word.lstrip("-").isdigit():
        unix_ms = int(word)
    else:
        moment = datetime.fromisoformat(word)
        unix_ms = ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH) // _MILLISECOND
    if not -_LARGEST - 1 <= unix_ms <= _LARGEST:
        raise ValueError
    return unix_ms


def escaped(text: str) -> str:
    """Return JSON with escapes for the characters that YAML wants escaped."""
    return _UNPRINTABLE.sub(lambda match: f"\\u{ord(match.group()):04x}", text)
