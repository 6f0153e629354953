"""A memory as a note for people, and back: front matter, the body as prose or JSON, links between notes.

What is written is read again as the same memory, byte for byte of every value. Notes of the Rust Mimir are read too:
their front matter is not quoted, and their bodies are JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import msgspec

from mimir.errors import InvalidInput
from mimir.model import Entity, Json, Link

ENDING: Final = ".md"

_FENCE: Final = "---"
_LINKS_HEADING: Final = "## Links"
_UNRESOLVED: Final = " \u2014 unresolved"
_PROSE_KEYS: Final = ("content", "text")
_CODE_START: Final = "```json\n"
_CODE_END: Final = "\n```"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_DEFAULT_WEIGHT: Final = 0.5
_LARGEST: Final = (1 << 63) - 1
_LONGEST_FRONT_MATTER: Final = 524_288
_DEEPEST_FRONT_MATTER: Final = 8

_WORD: Final = re.compile(r"[^\W\d_][\w./-]*(?: [\w./-]+)*")
_OTHER_MEANING: Final = re.compile(r"y|n|yes|no|true|false|on|off|null", re.IGNORECASE)
# Neither JSON nor this writer has to escape them, but readers of YAML refuse them or take them for line breaks.
_UNPRINTABLE: Final = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
_ALIAS_MARKS: Final = str.maketrans("[]|\n\r", "     ")
_LINK_LINE: Final = re.compile(
    r"- \[\[(?P<name>[^\]|\n]+)(?:\|(?P<alias>(?:[^\]]|\](?!\](?!\])))*))?\]\](?: \((?P<relationship>.*)\))?"
    rf"(?: (?P<weight>[0-9.e+-]+))?(?P<unresolved>{_UNRESOLVED})?"
)


class NoteLink(NamedTuple):
    """One link as it stands in a note: the file name without ending, or of a target without a note its id."""

    name: str
    relationship: str
    weight: float
    unresolved: bool


class Note(NamedTuple):
    """What a note says: fields of an entity that it names, its body as JSON text, its links."""

    fields: dict[str, Any]
    body_json: str
    links: tuple[NoteLink, ...]


class _Field(NamedTuple):
    name: str
    field: str
    write: Callable[[Any], str]
    read: Callable[[Any], Any]
    optional: bool = False


def note_name(entity_id: str) -> str:
    """Return the name of an entity's note without its ending: other characters than letters, digits, - and _ as _."""
    return "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in entity_id)


def write_note(entity: Entity, keys: Mapping[str, str], score_floor: float | None = None) -> str:
    """Return an entity as the text of its note; ``keys`` has the key of every entity that has a note, by id."""
    body_json, prose_key, prose = _as_prose(entity.body_json)
    links = _links_section(entity.links, keys)
    section = f"\n{prose}\n{links}"
    # Only what comes back as it was may stand as prose: a text may look like JSON, or like a section of links.
    if not _comes_back(section, prose_key, prose):
        prose_key = ""
        section = f"\n{_CODE_START}{msgspec.json.format(body_json, indent=2)}{_CODE_END}\n{links}"
    values = {**{name: getattr(entity, name) for name in Entity.__struct_fields__}, "score_floor": score_floor}
    values["body_key"] = "" if prose_key == _PROSE_KEYS[0] else prose_key
    lines = [
        f"{field.name}: {field.write(values[field.field])}"
        for field in _FIELDS
        if not (field.optional and values[field.field] in ("", None))
    ]
    return "\n".join([_FENCE, *lines, _FENCE, section])


def read_note(text: str) -> Note:
    """Return what the text of a note says.

    Raises:
        InvalidInput: it has no front matter, one that does not end or is no YAML, or a value is of the wrong kind.
    """
    lines = text.lstrip("\r\n").split("\n")
    if lines[0].rstrip() != _FENCE:
        raise InvalidInput("no frontmatter", hint="Begin the note with a line ---, fields, and another line ---.")
    end = next((place for place, line in enumerate(lines[1:], start=1) if line.rstrip() == _FENCE), None)
    if end is None:
        raise InvalidInput("unclosed frontmatter", hint="End the fields at the top with a line ---.")
    told = _front_matter(lines[1:end])
    fields = {
        field.field: _read(field, told[field.name])
        for field in _FIELDS
        # Editors leave a field that was emptied behind: only of a text is that a value.
        if field.name in told and (told[field.name] != "" or field.read is _read_text)
    }
    prose_key = fields.pop("body_key", "") or _PROSE_KEYS[0]
    body_json, links = _read_section("\n".join(lines[end + 1 :]), prose_key)
    return Note(fields, body_json, links)


def _front_matter(lines: Sequence[str]) -> dict[str, Any]:
    if [line.partition(":")[0] for line in lines] == list(_ORIGINAL_FIELDS):
        # Written without quotes, whatever the values hold: not YAML, though it often looks like it.
        return {name: line.partition(":")[2].strip() for name, line in zip(_ORIGINAL_FIELDS, lines, strict=True)}
    text = "\n".join(lines)
    if len(text) > _LONGEST_FRONT_MATTER:
        raise InvalidInput(f"the frontmatter is {len(text)} characters long", hint="Move texts into the body.")
    told = _read_yaml(text)
    if told in ("", None):
        return {}
    if not isinstance(told, dict):
        raise InvalidInput("the frontmatter has no fields", hint="Write fields as name: value.")
    return told


def _read_yaml(text: str) -> Json:
    """Return what YAML says, every scalar as the text it is written as: what it means follows from its field.

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
                levels[-1].append(event.value)
            elif isinstance(event, yaml.AliasEvent):
                raise InvalidInput("the frontmatter has an alias", hint="Write the value in both places.")
            if len(levels) > _DEEPEST_FRONT_MATTER:
                raise InvalidInput("the frontmatter is nested too deep", hint="Write fields as name: value.")
    except (yaml.YAMLError, RecursionError) as error:
        problem = getattr(error, "problem", None) or "it cannot be read"
        raise InvalidInput(
            f"the frontmatter is no YAML: {problem}", hint="Put values with special characters in quotes."
        ) from None
    return levels[0][0] if levels[0] else None


def _read(field: _Field, value: object) -> Json:
    try:
        return field.read(value)
    except (ValueError, TypeError, OverflowError):
        raise InvalidInput(
            f"'{field.name}' is {value!r:.60}, which cannot be read.", hint="Write it as mimir_vault_export does."
        ) from None


def _read_section(text: str, prose_key: str) -> tuple[str, tuple[NoteLink, ...]]:
    """Return the body and the links of what stands below the front matter."""
    body, links = _cut_links(text.replace("\r\n", "\n"))
    body = body.strip()
    if body.startswith(_CODE_START) and body.endswith(_CODE_END):
        try:
            return msgspec.json.format(body[len(_CODE_START) : -len(_CODE_END)], indent=-1), links
        except (msgspec.DecodeError, RecursionError) as error:
            raise InvalidInput(f"the JSON block cannot be read: {error}", hint="Mend it, or write prose.") from None
    if body[:1] in ("{", "["):
        with suppress(msgspec.DecodeError, RecursionError):
            return msgspec.json.format(body, indent=-1), links
    return _as_body(prose_key, body), links


def _cut_links(text: str) -> tuple[str, tuple[NoteLink, ...]]:
    """Part the section of links off the end of a note; a heading above anything else is part of the body."""
    start = text.rfind(f"\n{_LINKS_HEADING}\n")
    if start < 0:
        return text, ()
    lines = [line.rstrip() for line in text[start:].split("\n")[2:] if line.strip()]
    matches = [_LINK_LINE.fullmatch(line) for line in lines]
    if not all(matches):
        return text, ()
    return text[:start], tuple(_read_link(match) for match in matches if match)


def _read_link(match: re.Match[str]) -> NoteLink:
    name, relationship, unresolved = match["name"], match["relationship"] or "related", bool(match["unresolved"])
    if relationship.startswith('"'):
        with suppress(ValueError):
            relationship = str(json.loads(relationship))
    try:
        weight = float(match["weight"] or _DEFAULT_WEIGHT)
    except ValueError:
        weight = _DEFAULT_WEIGHT
    return NoteLink((match["alias"] or name) if unresolved else name, relationship, weight, unresolved)


def _links_section(links: Iterable[Link], keys: Mapping[str, str]) -> str:
    # In an order of their own: that of the store knows when each was made, which a note does not.
    ordered = sorted(links, key=lambda link: (-link.weight, link.target_id, link.relationship))
    lines = list(_link_lines(ordered, keys))
    return "\n".join(["", _LINKS_HEADING, "", *lines, ""]) if lines else ""


def _link_lines(links: Iterable[Link], keys: Mapping[str, str]) -> Iterator[str]:
    for link in links:
        name, key = note_name(link.target_id), keys.get(link.target_id)
        # Without a note beside it, an id that is no file name stands for itself, if it can.
        alias = key if key is not None else link.target_id if link.target_id != name else ""
        alias = " ".join(alias.translate(_ALIAS_MARKS).split())
        target = f"{name}|{alias}" if alias else name
        relationship = link.relationship
        if not relationship.isprintable() or relationship[:1] == '"' or relationship.strip() != relationship:
            relationship = _quoted(relationship)
        weight = "" if link.weight == _DEFAULT_WEIGHT else f" {link.weight!r}"
        yield f"- [[{target}]] ({relationship}){weight}{'' if key is not None else _UNRESOLVED}"


def _as_prose(body_json: str) -> tuple[str, str, str]:
    """Return a body as JSON, and if it is one text under a common name, that name and the text, else nothing."""
    try:
        body = msgspec.json.decode(body_json)
    except (msgspec.DecodeError, RecursionError):
        return _as_body(_PROSE_KEYS[0], body_json), _PROSE_KEYS[0], body_json
    if isinstance(body, dict) and len(body) == 1:
        ((name, value),) = body.items()
        if name in _PROSE_KEYS and isinstance(value, str):
            return body_json, name, value
    return body_json, "", ""


def _comes_back(section: str, prose_key: str, prose: str) -> bool:
    if not prose_key:
        return False
    try:
        return _read_section(section, prose_key)[0] == _as_body(prose_key, prose)
    except InvalidInput:
        return False


def _as_body(prose_key: str, text: str) -> str:
    return msgspec.json.encode({prose_key: text}).decode()


def _text(value: str) -> str:
    plain = _WORD.fullmatch(value) and not _OTHER_MEANING.fullmatch(value)
    return value if plain and value.isprintable() else _quoted(value)


def _quoted(value: str) -> str:
    # A JSON string is a YAML one as well.
    return _UNPRINTABLE.sub(lambda match: f"\\u{ord(match.group()):04x}", json.dumps(value, ensure_ascii=False))


def _texts(values: Iterable[str]) -> str:
    return "[" + ", ".join(map(_text, values)) + "]"


def _flag(value: bool) -> str:
    return "true" if value else "false"


def _moment(unix_ms: int) -> str:
    try:
        moment = _EPOCH + unix_ms * _MILLISECOND
    except OverflowError:
        return str(unix_ms)
    exact = "milliseconds" if unix_ms % 1_000 else "seconds"
    return moment.isoformat(timespec=exact).removesuffix("+00:00") + "Z"


def _read_text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    value.encode()  # half of a surrogate pair, which an escape can make, is no text
    return value


def _read_texts(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            value = [part.strip() for part in str(value).strip("[]").split(",")]
    if not isinstance(value, (list, tuple)):
        raise TypeError
    return tuple(_read_text(part) for part in value if part != "")


def _read_flag(value: object) -> bool:
    word = _read_text(value).lower()
    if word not in ("true", "false", "yes", "no"):
        raise ValueError
    return word in ("true", "yes")


def _read_share(value: object) -> float:
    share = float(_read_text(value))
    if not 0.0 <= share <= 1.0:
        raise ValueError
    return share


def _read_count(value: object) -> int:
    count = int(_read_text(value))
    if not 0 <= count <= _LARGEST:
        raise ValueError
    return count


def _read_moment(value: object) -> int:
    word = _read_text(value).strip()
    if word.lstrip("-").isdigit():
        unix_ms = int(word)
    else:
        moment = datetime.fromisoformat(word)
        unix_ms = ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH) // _MILLISECOND
    if not -_LARGEST - 1 <= unix_ms <= _LARGEST:
        raise ValueError
    return unix_ms


_FIELDS: Final = (
    _Field("id", "id", _text, _read_text),
    _Field("category", "category", _text, _read_text),
    _Field("key", "key", _text, _read_text),
    _Field("type", "type", _text, _read_text),
    _Field("workspace_hash", "workspace_hash", _text, _read_text),
    _Field("agent_id", "agent_id", _text, _read_text),
    _Field("tags", "tags", _texts, _read_texts),
    _Field("decay_score", "decay_score", "{:.4f}".format, _read_share),
    _Field("retrieval_count", "retrieval_count", str, _read_count),
    _Field("layer", "layer", _text, _read_text),
    _Field("created", "created_at_unix_ms", _moment, _read_moment),
    _Field("last_accessed", "last_accessed_unix_ms", _moment, _read_moment),
    _Field("recorded", "recorded_at_unix_ms", _moment, _read_moment),
    _Field("valid_from", "valid_from_unix_ms", _moment, _read_moment, optional=True),
    _Field("valid_to", "valid_to_unix_ms", _moment, _read_moment, optional=True),
    _Field("status", "status", _text, _read_text),
    _Field("certainty", "certainty", repr, _read_share),
    _Field("score_floor", "score_floor", repr, _read_share, optional=True),
    _Field("verified", "verified", _flag, _read_flag),
    _Field("always_on", "always_on", _flag, _read_flag),
    _Field("visibility", "visibility", _text, _read_text),
    _Field("topic_path", "topic_path", _text, _read_text, optional=True),
    _Field("source", "source", _text, _read_text),
    _Field("body_key", "body_key", _text, _read_text, optional=True),
)
_ORIGINAL_FIELDS: Final = tuple(field.name for field in _FIELDS[:12])
