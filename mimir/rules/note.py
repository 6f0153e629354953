"""A memory as a note for people, and back: front matter, the body as prose or JSON, links between notes.

What is written is read again as the same memory, byte for byte of every value. Any Markdown is read: fields that a
memory does not have become properties of its body. Notes of the Rust Mimir are read too: their front matter is not
quoted, and their bodies are JSON.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import msgspec

from mimir.errors import InvalidInput
from mimir.model import Entity, Json, Link
from mimir.rules import front_matter as fm
from mimir.rules.layouts import original_lines, page_properties, read_original_lines, read_page_properties

ENDING: Final = ".md"

Layout: TypeAlias = Literal["obsidian", "logseq", "original"]
"""YAML front matter, page properties of Logseq, or byte for byte what the Rust Mimir writes."""

_LINKS_HEADING: Final = "## Links"
_UNRESOLVED: Final = " \u2014 unresolved"
_PROSE_KEYS: Final = ("content", "text")
_PROPERTIES: Final = "properties"
_BLANK: Final = "\0\r\n\t "
_CODE_START: Final = "```json\n"
_CODE_END: Final = "\n```"
DEFAULT_WEIGHT: Final = 0.5
_LONGEST_NAME: Final = 100
_LONGEST_FORM: Final = 100_000

_SAFE_NAME: Final = re.compile(r"[a-z0-9_-]+")
_DEVICE: Final = re.compile(r"con|prn|aux|nul|com[0-9]|lpt[0-9]")
_PROPERTY_NAME: Final = re.compile(r"[^\W\d][\w -]{0,80}")
_ALIAS_MARKS: Final = str.maketrans("[]|\n\r", "     ")
_NO_LINK: Final = re.compile(r"[\[\]|#^\n]")
_LINK_LINE: Final = re.compile(
    r"[-*] \[\[(?P<name>[^\]|\n]+)(?:\|(?P<alias>(?:[^\]]|\](?!\](?!\])))*))?\]\](?: \((?P<relationship>.*)\))?"
    rf"(?: (?P<weight>[0-9.e+-]+))?(?P<unresolved>{_UNRESOLVED})?"
)
_VOLATILE_LINE: Final = re.compile(r"^(?:decay_score|retrieval_count|last_accessed)::? .*\n", re.MULTILINE)

_FORMS: Final[Mapping[str, Callable[[Json], str]]] = {
    "ascii": lambda value: json.dumps(value, separators=(",", ":")),
    "spaced": lambda value: json.dumps(value, ensure_ascii=False),
    "spaced ascii": json.dumps,
}
"""Other common ways to write one JSON value, which a store keeps as they came."""


class Target(NamedTuple):
    """What a link to a memory says: the name of its note, without ending, and its key."""

    name: str
    key: str


class NoteLink(NamedTuple):
    """One link as it stands in a note: the name of a note, or of a target without a note its id."""

    name: str
    relationship: str
    weight: float
    unresolved: bool


class Note(NamedTuple):
    """What a note says: fields of an entity that it names, its body as JSON text, its links.

    `is_own` tells that Mimir wrote it; `is_listing` that it is an overview, which stands for no memory.
    """

    fields: dict[str, Any]
    body_json: str
    links: tuple[NoteLink, ...]
    is_own: bool = True
    is_listing: bool = False


class _Field(NamedTuple):
    name: str
    field: str
    write: Callable[[Any], str]
    read: Callable[[Any], Any]
    optional: bool = False


def note_name(entity_id: str) -> str:
    """Return the name of an entity's note without its ending, safe and different from any other on every system."""
    if _SAFE_NAME.fullmatch(entity_id) and not _DEVICE.fullmatch(entity_id) and len(entity_id) <= _LONGEST_NAME:
        return entity_id
    mark = hashlib.sha256(entity_id.encode()).hexdigest()[:8]
    return f"{original_name(entity_id)[:_LONGEST_NAME]}-{mark}"


def original_name(entity_id: str) -> str:
    """Return the name that the Rust Mimir gives a note: other characters than letters, digits, - and _ as _."""
    return "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in entity_id)


def write_note(
    entity: Entity, targets: Mapping[str, Target], score_floor: float | None = None, layout: Layout = "obsidian"
) -> str:
    """Return an entity as the text of its note; ``targets`` has every entity that has a note, by id."""
    if layout == "original":
        return _write_original(entity, targets)
    links = _links_section(entity.links, targets)
    told, section = _lay_out(entity.body_json, entity.key)
    values = {**{name: getattr(entity, name) for name in Entity.__struct_fields__}, "score_floor": score_floor}
    values |= {name: told.pop(name, "") for name in ("body_key", "body_form")}
    values["aliases"] = (entity.key, *told.pop("aliases", ()))
    pairs = [
        (field.name, field.write(values[field.field]))
        for field in _FIELDS
        if not (field.optional and values[field.field] in ("", None))
    ]
    pairs += [(name, fm.write_json(value)) for name, value in told.items()]
    if layout == "logseq":
        head = page_properties(pairs, {name: values[name] for name in ("tags", "aliases")})
    else:
        head = [fm.FENCE, *(f"{name}: {value}" for name, value in pairs), fm.FENCE]
    return "\n".join([*head, f"\n{section}\n{links}"])


def read_note(text: str) -> Note:
    """Return what the text of a note says, whoever wrote it.

    Raises:
        InvalidInput: its front matter does not end or is no YAML, or it is a note of ours with a value of the wrong
            kind.
    """
    text = text.replace("\r\n", "\n")
    told, rest = _told(text)
    is_own = "id" in told and "category" in told and "key" in told
    fields: dict[str, Any] = {}
    properties: dict[str, Any] = {}
    for name, value in told.items():
        field = _BY_NAME.get(name)
        # Editors leave a field that was emptied behind: only of a text is that a value.
        if field is not None and (value not in ("", []) or field.read is fm.read_text):
            try:
                fields[field.field] = field.read(value)
                continue
            except (ValueError, TypeError, OverflowError):
                if is_own:
                    raise InvalidInput(
                        f"'{name}' is {value!r:.60}, which cannot be read.",
                        hint="Write it as mimir_vault_export does.",
                    ) from None
        if field is None or value not in ("", []):
            properties[name if field is None else f"{name}_"] = _property(name, value)
    aliases = [alias for alias in fields.pop("aliases", ()) if alias != fields.get("key")]
    if aliases:
        properties = {"aliases": aliases, **properties}
    if "tags" in fields and not is_own:
        fields["tags"] = tuple(dict.fromkeys(tag.removeprefix("#") or tag for tag in fields["tags"]))
    prose_key, form = fields.pop("body_key", ""), fields.pop("body_form", "")
    body, links = _cut_links(rest)
    body_json = _read_body(body, prose_key or _PROSE_KEYS[0], properties, form)
    return Note(fields, body_json, links, is_own, properties.get("mimir") == "listing")


def same_but_for_use(first: str, second: str) -> bool:
    """Tell whether two texts of a note differ only in how often, when and how strongly a memory was used."""
    return first == second or _without_use(first) == _without_use(second)


def is_blank(note: Note) -> bool:
    """Tell whether a note holds neither fields nor any letter."""
    return not note.fields and not prose_of(note.body_json).strip(_BLANK)


def prose_of(body_json: str) -> str:
    """Return the text of a body that stands in its note as prose, else nothing."""
    value = _decoded(body_json)
    if isinstance(value, dict):
        value = {name: inner for name, inner in value.items() if name != _PROPERTIES}
    return _as_prose(value)[1]


def aliases_of(body_json: str) -> tuple[str, ...]:
    """Return the other names that a note gives itself, its title among them."""
    body = _decoded(body_json)
    properties = body.get(_PROPERTIES) if isinstance(body, dict) else None
    if not isinstance(properties, dict):
        return ()
    aliases = properties.get("aliases")
    names = [properties.get("title"), *(aliases if isinstance(aliases, list) else ())]
    return tuple(name for name in names if isinstance(name, str))


def _without_use(text: str) -> str:
    head, fence, rest = text.partition(f"\n{fm.FENCE}\n")
    return _VOLATILE_LINE.sub("", f"{head}\n") + fence + rest


def _told(text: str) -> tuple[dict[str, Any], str]:
    """Return the fields at the top of a note, as text, and what stands below."""
    page = read_page_properties(text)
    if page is not None:
        return page
    lines, rest = fm.split_front_matter(text)
    original = read_original_lines(lines)
    # Written without quotes, whatever the values hold: not YAML, though it often looks like it.
    return original or (fm.read_fields(lines) if lines else {}), rest


def _property(name: str, value: object) -> Json:
    try:
        return fm.as_json(value)
    except ValueError:
        raise InvalidInput(f"'{name}' holds half a character.", hint="Write it anew.") from None


def _lay_out(body_json: str, key: str) -> tuple[dict[str, Any], str]:
    """Return a body as fields of the front matter and as the text below it.

    Only what comes back as it was may stand as prose: a text may look like JSON, or like a section of links.
    """
    value = _decoded(body_json)
    if value is None and body_json.strip() != "null":
        body_json, value = _as_body(_PROSE_KEYS[0], body_json, {}), {_PROSE_KEYS[0]: body_json}
    properties = value.get(_PROPERTIES) if isinstance(value, dict) else None
    choices: list[tuple[dict[str, Any], Json]] = [({}, value)]
    if isinstance(properties, dict) and _are_writable(properties, key):
        rest = {name: inner for name, inner in value.items() if name != _PROPERTIES}
        choices.insert(0, (properties, rest))
    for told, body in choices:
        prose_key, prose = _as_prose(body)
        if prose_key and _comes_back(prose, prose_key, told, value):
            form = _form(body_json, prose, prose_key, told)
            return {**told, "body_key": prose_key.removeprefix(_PROSE_KEYS[0]), "body_form": form}, prose
    block = f"{_CODE_START}{msgspec.json.format(body_json, indent=2)}{_CODE_END}"
    return {"body_form": _form(body_json, block, _PROSE_KEYS[0], {})}, block


def _comes_back(prose: str, prose_key: str, properties: Mapping[str, Json], value: Json) -> bool:
    body, links = _cut_links(f"\n{prose}\n".replace("\r\n", "\n"))
    try:
        return not links and json.loads(_read_body(body, prose_key, properties, "")) == value
    except (InvalidInput, ValueError, RecursionError):
        return False


def _are_writable(properties: Mapping[str, Json], key: str) -> bool:
    """Tell whether the properties of a body can stand in the front matter and be told from the fields there."""
    aliases = properties.get("aliases")
    others = {name: value for name, value in properties.items() if name != "aliases"}
    if "aliases" in properties and not (
        isinstance(aliases, list)
        and all(isinstance(alias, str) and alias for alias in aliases)
        and key not in aliases
        and next(iter(properties)) == "aliases"
    ):
        return False
    if not properties or not all(_PROPERTY_NAME.fullmatch(name) and name not in _BY_NAME for name in others):
        return False
    try:
        read = fm.read_fields([f"{name}: {fm.write_json(value)}" for name, value in others.items()])
        return {name: fm.as_json(value) for name, value in read.items()} == others
    except (InvalidInput, ValueError, RecursionError):
        return False


def _form(body_json: str, section: str, prose_key: str, properties: Mapping[str, Any]) -> str:
    """Return in which form a body is kept as JSON text: nothing for the shortest, a name, or that text itself."""
    if _read_body(section, prose_key, properties, "") == body_json:
        return ""
    value = _decoded(body_json)
    for name, written in _FORMS.items():
        if written(value) == body_json:
            return name
    return body_json if len(body_json) <= _LONGEST_FORM else ""


def _read_body(text: str, prose_key: str, properties: Mapping[str, Json], form: str) -> str:
    """Return the body of a note as JSON text, in its form as long as it says the same."""
    body_json = _read_section(text.strip(), prose_key, properties)
    if not form:
        return body_json
    value = _decoded(body_json)
    if form in _FORMS:
        return _FORMS[form](value)
    return form if _decoded(form) == value else body_json


def _read_section(text: str, prose_key: str, properties: Mapping[str, Json]) -> str:
    block = ""
    if text.startswith(_CODE_START) and text.endswith(_CODE_END):
        block = text[len(_CODE_START) : -len(_CODE_END)]
        try:
            msgspec.json.decode(block)
        except (msgspec.DecodeError, RecursionError) as error:
            if _CODE_END in block:
                block = ""
            else:
                raise InvalidInput(f"the JSON block cannot be read: {error}", hint="Mend it, or write prose.") from None
    elif text[:1] in ("{", "["):
        with suppress(msgspec.DecodeError, RecursionError):
            msgspec.json.decode(text)
            block = text
    if not block:
        return _as_body(prose_key, text, properties)
    if not properties:
        return msgspec.json.format(block, indent=-1)
    value = msgspec.json.decode(block)
    if not isinstance(value, dict):
        raise InvalidInput(
            f"{next(iter(properties))!r} is no field of a memory, and a JSON list has no place for it.",
            hint="Remove it from the front matter.",
        )
    return msgspec.json.encode({**value, _PROPERTIES: dict(properties)}).decode()


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
        weight = fm.read_share(match["weight"]) if match["weight"] else DEFAULT_WEIGHT
    except ValueError:
        weight = DEFAULT_WEIGHT
    return NoteLink((match["alias"] or name) if unresolved else name, relationship, weight, unresolved)


def _links_section(links: Iterable[Link], targets: Mapping[str, Target]) -> str:
    # In an order of their own: that of the store knows when each was made, which a note does not.
    ordered = sorted(links, key=lambda link: (-link.weight, link.target_id, link.relationship))
    lines = list(_link_lines(ordered, targets))
    return "\n".join(["", _LINKS_HEADING, "", *lines, ""]) if lines else ""


def _link_lines(links: Iterable[Link], targets: Mapping[str, Target]) -> Iterator[str]:
    for link in links:
        target = targets.get(link.target_id)
        # Without a note beside it, an id that is no file name stands for itself, if it can.
        name = note_name(link.target_id)
        shown = target or Target(name, "" if link.target_id == name else link.target_id)
        relationship = link.relationship
        if not relationship.isprintable() or relationship[:1] == '"' or relationship.strip() != relationship:
            relationship = fm.write_quoted(relationship)
        weight = "" if link.weight == DEFAULT_WEIGHT else f" {link.weight!r}"
        safe = shown._replace(name=name) if _NO_LINK.search(shown.name) else shown
        yield f"- {link_to(safe)} ({relationship}){weight}{'' if target else _UNRESOLVED}"


def link_to(target: Target) -> str:
    """Return a link to a note that shows the key of its memory."""
    alias = " ".join(target.key.translate(_ALIAS_MARKS).split())
    return f"[[{target.name}|{alias}]]" if alias else f"[[{target.name}]]"


def _write_original(entity: Entity, targets: Mapping[str, Target]) -> str:
    values = {name: getattr(entity, name) for name in ("id", "category", "key", "type", "workspace_hash", "agent_id")}
    values |= {
        "tags": msgspec.json.encode(entity.tags).decode(),
        "decay_score": f"{entity.decay_score:.4f}",
        "retrieval_count": str(entity.retrieval_count),
        "layer": entity.layer,
        "created": fm.write_moment(entity.created_at_unix_ms // 1_000 * 1_000),
        "last_accessed": fm.write_moment(entity.last_accessed_unix_ms // 1_000 * 1_000),
    }
    links = []
    for link in entity.links:
        target = targets.get(link.target_id)
        name = f"{original_name(link.target_id)}|{target.key}" if target else original_name(link.target_id)
        links.append(f"- [[{name}]] ({link.relationship or 'related'}){'' if target else _UNRESOLVED}")
    section = "\n".join(["", _LINKS_HEADING, "", *links, ""]) if links else ""
    return "\n".join([fm.FENCE, *original_lines(values), fm.FENCE, f"\n{entity.body_json}\n{section}"])


def _as_prose(value: Json) -> tuple[str, str]:
    """Return the only member of a body and its text, if it is one under a common name, else nothing."""
    if isinstance(value, dict) and len(value) == 1:
        ((name, text),) = value.items()
        if name in _PROSE_KEYS and isinstance(text, str):
            return name, text
    return "", ""


def _decoded(body_json: str) -> Json:
    """Return the value of a body, None for one that is no JSON."""
    try:
        return msgspec.json.decode(body_json)
    except (msgspec.DecodeError, RecursionError):
        return None


def _as_body(prose_key: str, text: str, properties: Mapping[str, Json]) -> str:
    body: dict[str, Json] = {prose_key: text}
    if properties:
        body[_PROPERTIES] = dict(properties)
    return msgspec.json.encode(body).decode()


_FIELDS: Final = (
    _Field("id", "id", fm.write_text, fm.read_text),
    _Field("category", "category", fm.write_text, fm.read_text),
    _Field("key", "key", fm.write_text, fm.read_text),
    _Field("type", "type", fm.write_text, fm.read_text),
    _Field("workspace_hash", "workspace_hash", fm.write_text, fm.read_text),
    _Field("agent_id", "agent_id", fm.write_text, fm.read_text),
    _Field("tags", "tags", fm.write_texts, fm.read_texts),
    _Field("decay_score", "decay_score", "{:.4f}".format, fm.read_share),
    _Field("retrieval_count", "retrieval_count", str, fm.read_count),
    _Field("layer", "layer", fm.write_text, fm.read_text),
    _Field("created", "created_at_unix_ms", fm.write_moment, fm.read_moment),
    _Field("last_accessed", "last_accessed_unix_ms", fm.write_moment, fm.read_moment),
    _Field("recorded", "recorded_at_unix_ms", fm.write_moment, fm.read_moment),
    _Field("valid_from", "valid_from_unix_ms", fm.write_moment, fm.read_moment, optional=True),
    _Field("valid_to", "valid_to_unix_ms", fm.write_moment, fm.read_moment, optional=True),
    _Field("status", "status", fm.write_text, fm.read_text),
    _Field("certainty", "certainty", repr, fm.read_share),
    _Field("score_floor", "score_floor", repr, fm.read_share, optional=True),
    _Field("verified", "verified", fm.write_flag, fm.read_flag),
    _Field("always_on", "always_on", fm.write_flag, fm.read_flag),
    _Field("visibility", "visibility", fm.write_text, fm.read_text),
    _Field("topic_path", "topic_path", fm.write_text, fm.read_text, optional=True),
    _Field("source", "source", fm.write_text, fm.read_text),
    _Field("body_key", "body_key", fm.write_text, fm.read_text, optional=True),
    _Field("body_form", "body_form", fm.write_text, fm.read_text, optional=True),
    _Field("aliases", "aliases", fm.write_texts, fm.read_texts),
)
_BY_NAME: Final = {field.name: field for field in _FIELDS}
