"""Readers of what other memories know: entities and relations, single memories, notes with observations."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from mimir.documents import decode
from mimir.errors import InvalidInput
from mimir.importing import Edge, Found, Item, Problem, base_name, first_records, moment, objects, records, text, whole
from mimir.model import Json

LONGEST_FRONT_MATTER: Final = 64 * 1024

_FENCE: Final = re.compile(r"\A---[ \t]*\r?\n(.*?)^---[ \t]*$\r?\n?", re.DOTALL | re.MULTILINE)
_OBSERVATION: Final = re.compile(r"^\s*[-*]\s+\[(?![ xX-]\])[^\[\]\n]+\]\s+(?!\()(.+)$", re.MULTILINE)
_RELATION: Final = re.compile(r"^\s*[-*]\s+([^\[\]\n]*?)\s*\[\[([^\[\]\n]+)\]\]", re.MULTILINE)
_MENTION: Final = re.compile(r"\[\[([^\[\]\n]+)\]\]")
_TAG: Final = re.compile(r"(?<![\w#])#([^\W\d_][\w/-]*)")
_RELATES: Final = "relates_to"
_MENTIONS: Final = "links_to"


def memory_server(name: str, data: bytes) -> Iterator[Found]:
    """Read the file of the official memory server: an entity with its observations, or a relation, a line."""
    for found in records(name, data):
        if isinstance(found, Problem):
            yield found
            continue
        place, record = found
        key, source, target = (text(record.get(field)) for field in ("name", "from", "to"))
        if record.get("type") == "entity" and key.strip():
            observations = record.get("observations")
            told = [text(one) for one in observations] if isinstance(observations, list) else []
            yield Item(
                category=text(record.get("entityType")).strip() or "entity",
                key=key,
                body={"name": key, "observations": [one for one in told if one], "source": place},
                names=(key,),
            )
        elif record.get("type") == "relation" and source and target:
            yield Edge(source=source, target=target, relationship=text(record.get("relationType")) or _RELATES)
        else:
            yield Problem(place=place, reason="neither an entity with a name nor a relation between two")


def mem0(name: str, data: bytes) -> Iterator[Found]:
    """Read memories of mem0 as its get_all answers them, or a plain list of them."""
    value = whole(data)
    listed = value.get("results") or value.get("memories") if isinstance(value, dict) else value
    for number, memory in enumerate(objects(listed), start=1):
        place = f"{base_name(name)}#{number}"
        content = text(memory.get("memory")) or text(memory.get("data"))
        if not content.strip():
            yield Problem(place=place, reason="no text under memory")
            continue
        categories = memory.get("categories")
        tags = tuple(text(one) for one in categories if text(one)) if isinstance(categories, list) else ()
        about = {field: memory[field] for field in ("user_id", "agent_id", "run_id", "metadata") if memory.get(field)}
        yield Item(
            category=tags[0] if tags else "mem0",
            key=f"mem0/{text(memory.get('id')) or number}",
            body={"content": content, **about, "source": place},
            tags=tags,
            at_unix_ms=moment(memory.get("updated_at") or memory.get("created_at")),
        )
    for relation in objects(value.get("relations")) if isinstance(value, dict) else ():
        words = [
            text(relation.get("source")),
            text(relation.get("relationship")),
            text(relation.get("target")) or text(relation.get("destination")),
        ]
        if all(words):
            yield Item(
                category="relation",
                key=f"mem0/{' '.join(words)}",
                body={"content": " ".join(words).replace("_", " "), "source": base_name(name)},
            )


def basic_memory(name: str, data: bytes) -> Iterator[Found]:
    """Read a note of Basic Memory: its Markdown as it is, its relations as links, the tags of its observations."""
    try:
        whole_note = decode(name, data)
        fields, content = _front_matter(whole_note)
    except InvalidInput as error:
        yield Problem(place=base_name(name), reason=error.message)
        return
    if not whole_note.strip():
        return
    stem = name.removesuffix(".md")
    title = _word(fields.get("title")) or base_name(stem)
    permalink = _word(fields.get("permalink")) or stem
    told = fields.get("tags")
    tags = told.split(",") if isinstance(told, str) else [_word(one) for one in told] if isinstance(told, list) else []
    for observation in _OBSERVATION.findall(content):
        tags += _TAG.findall(observation)
    yield Item(
        category=_word(fields.get("type")) or "note",
        key=permalink,
        body={"title": title, "content": content.strip(), "source": base_name(name)},
        tags=tuple(dict.fromkeys(tag.strip().removeprefix("#") for tag in tags if tag.strip())),
        at_unix_ms=moment(_word(fields.get("created")) or _word(fields.get("date"))),
        names=(title, permalink, stem, base_name(stem)),
    )
    related = {}
    for relationship, target in _RELATION.findall(content):
        related[_target(target)] = relationship.strip() or _RELATES
    for target in _MENTION.findall(content):
        related.setdefault(_target(target), _MENTIONS)
    for target, relationship in related.items():
        yield Edge(source=permalink, target=target, relationship=relationship)


def is_memory_server(_name: str, data: bytes) -> bool:
    """Tell whether a file is one of the official memory server."""
    return any(
        {"type", "name", "entityType"} <= record.keys() or {"type", "from", "to", "relationType"} <= record.keys()
        for record in first_records(data)
    )


def is_mem0(_name: str, data: bytes) -> bool:
    """Tell whether a file holds memories of mem0."""
    value = whole(data)
    listed = value.get("results") or value.get("memories") if isinstance(value, dict) else value
    return any(isinstance(one.get("memory"), str) for one in objects(listed))


def is_basic_memory(name: str, data: bytes) -> bool:
    """Tell whether a file is a note of Basic Memory."""
    return name.endswith(".md") and any(mark in data for mark in (b"permalink:", b"## Observations", b"## Relations"))


def _front_matter(note: str) -> tuple[dict[str, Json], str]:
    """Return the fields above a note and what stands below them.

    Raises:
        InvalidInput: the fields are no YAML, or too long.
    """
    import yaml

    match = _FENCE.match(note)
    if match is None:
        return {}, note
    if len(match.group(1)) > LONGEST_FRONT_MATTER:
        raise InvalidInput(f"the front matter is {len(match.group(1))} characters long")
    try:
        fields = yaml.safe_load(match.group(1))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise InvalidInput(f"the front matter is no YAML: {' '.join(str(error).split())}") from None
    return (fields if isinstance(fields, dict) else {}), note[match.end() :]


def _word(value: Json) -> str:
    # Only plain values: a short list of aliases can stand for a text of any length.
    return str(value).strip() if isinstance(value, (str, int, float)) or hasattr(value, "isoformat") else ""


def _target(link: str) -> str:
    return link.partition("|")[0].partition("#")[0].strip()
