"""Resources: what a host may attach to a conversation by its address, and how the addresses are completed.

Each is read by operations that only read, so that it holds for their rules: whose memory may be seen, which workspace
is meant, how long a reply may be. Nothing but the standard library is imported: the lists are asked for at the start.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import quote, unquote

from mimir.errors import NotFound
from mimir.rules.bounds import CEILING_BYTES, bounded
from mimir.server.message import INVALID_PARAMS, RESOURCE_NOT_FOUND, Fault, encode

if TYPE_CHECKING:
    from mimir.model import Json

Run = Callable[[str, Mapping[str, Any]], dict[str, Any]]
"""Runs an operation that only reads, by its name, and returns its result as plain data."""

MARKDOWN: Final = "text/markdown"
JSON: Final = "application/json"

LINKED_FROM: Final = 4_000
"""From how many characters on a body has a link in the reply that shows it."""

_BY_ID: Final = "mimir://entity/id/{id}"
_MOST_LINKS: Final = 20
_DAY_S: Final = 86_400
_PINNED: Final = 50
_EVENTS: Final = 200
_ANY_TIME: Final = 1 << 62


class Resource(NamedTuple):
    """One address, or a template of addresses: what it is, for whom, and how it is read.

    ``read`` is given what stands for the template's variables; ``priority`` is between 0 and 1.
    """

    address: str
    name: str
    title: str
    description: str
    type: str
    audience: tuple[str, ...]
    priority: float
    read: Callable[[Run, Mapping[str, str]], str | dict[str, Json]]

    def listed(self) -> dict[str, Json]:
        """Return the resource as a list shows it."""
        return {
            "uriTemplate" if "{" in self.address else "uri": self.address,
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "mimeType": self.type,
            "annotations": {"audience": self.audience, "priority": self.priority},
        }


def find_resource(address: str) -> tuple[Resource, dict[str, str]] | None:
    """Return the resource of an address with the values of its template's variables, decoded; None for no resource."""
    for resource in (*RESOURCES, *TEMPLATES):
        values = _matched(resource.address, address)
        if values is not None:
            return resource, values
    return None


def answer_read(params: Mapping[str, Json], run: Run, *, modern: bool) -> dict[str, Json]:
    """Return the result of ``resources/read``.

    Raises:
        Fault: no address is given, or nothing has it.
        MimirError: the operation that reads it failed.
    """
    address = params.get("uri")
    if not isinstance(address, str):
        raise Fault(INVALID_PARAMS, "Invalid params: 'uri' must be the address of a resource.")
    found = find_resource(address)
    try:
        if found is not None:
            return {"contents": [read_resource(*found, address, run)]}
        hint = "resources/list and resources/templates/list name what can be read."
    except NotFound as error:
        hint = error.hint
    code = INVALID_PARAMS if modern else RESOURCE_NOT_FOUND
    raise Fault(code, f"Resource not found: {address}. {hint}".rstrip(), data={"uri": address})


def read_resource(resource: Resource, values: Mapping[str, str], address: str, run: Run) -> dict[str, Json]:
    """Return the contents of a resource as a reply holds them.

    Raises:
        MimirError: there is no such memory, or the operation that reads it failed.
    """
    content = resource.read(run, values)
    if isinstance(content, str):
        text = content
    else:  # what is put together from several results may be too long for one
        text = encode(bounded(content, CEILING_BYTES, lambda part: len(encode(part)))).decode()
    return {"uri": address, "mimeType": resource.type, "text": text}


def links_to_long(payload: bytes) -> list[dict[str, Json]]:
    """Return links to the memories of a result whose bodies are long or were cut, for a host to attach in full."""
    if len(payload) < LINKED_FROM:
        return []
    result = json.loads(payload)
    items = result.get("items") if isinstance(result, dict) else None
    return [
        {
            "type": "resource_link",
            "uri": _BY_ID.replace("{id}", quote(item["id"], safe="")),
            "name": f"{item['category']}/{item['key']}",
            "mimeType": JSON,
        }
        for item in (items or ())[:_MOST_LINKS]
        if "body_json" in item and ("truncated" in result or len(item["body_json"]) >= LINKED_FROM)
    ]


def _matched(template: str, address: str) -> dict[str, str] | None:
    parts, given = template.split("/"), address.split("/")
    if len(parts) != len(given):
        return None
    values: dict[str, str] = {}
    for part, word in zip(parts, given, strict=True):
        if part.startswith("{"):
            try:
                values[part[1:-1]] = unquote(word, errors="strict")
            except UnicodeDecodeError:
                return None
        elif part != word:
            return None
    return values if all(values.values()) else None


def _read_named(run: Run, values: Mapping[str, str]) -> dict[str, Json]:
    found = run("as_of", {**values, "as_of_unix_ms": _ANY_TIME})
    if not found["found"]:
        raise NotFound(f"Entity not found: {values['category']}/{values['key']}")
    return run("get_entity", {"id": found["id"]})


def _read_today(run: Run, _: Mapping[str, str]) -> dict[str, Json]:
    now = time.localtime()
    midnight = time.mktime((now.tm_year, now.tm_mon, now.tm_mday, 0, 0, 0, 0, 0, -1))
    return run("timeline", {"from_ms": int(midnight * 1000), "limit": _EVENTS})


def _read_schema(run: Run, _: Mapping[str, str]) -> dict[str, Json]:
    counts, places = run("stats", {}), run("workspace_list", {})
    return {
        "address": ["workspace_hash", "category", "key"],
        "body_json": 'a JSON object, usually {"content": "..."}; its keys appear beside the others in recall',
        "categories": counts["by_category"],
        "types": counts["by_type"],
        "layers": counts["by_layer"],
        "workspaces": {one["workspace_hash"]: one["entities"] for one in places["workspaces"]},
        **{name: value for part in (counts, places) for name, value in part.items() if name == "truncated"},
    }


_MODEL: Final = ("assistant",)
_BOTH: Final = ("user", "assistant")

RESOURCES: Final = (
    Resource(
        "mimir://context",
        "context",
        "Memory context",
        "Pinned and most used memories as a block to put before a prompt, one line each.",
        MARKDOWN,
        _MODEL,
        1.0,
        lambda run, _: run("context", {})["markdown"],
    ),
    Resource(
        "mimir://always-on",
        "always-on",
        "Pinned memories",
        "The memories that belong to every conversation, in full.",
        JSON,
        _BOTH,
        0.9,
        lambda run, _: run("recall", {"query": "", "always_on": True, "limit": _PINNED, "reinforce": False}),
    ),
    Resource(
        "mimir://timeline/today",
        "timeline-today",
        "Today's journal",
        "What was journalled since midnight of this machine, newest first.",
        JSON,
        _BOTH,
        0.6,
        _read_today,
    ),
    Resource(
        "mimir://schema",
        "schema",
        "Words in use",
        "How a memory is addressed, and which categories, types, layers and workspaces are in use, with counts.",
        JSON,
        _MODEL,
        0.4,
        _read_schema,
    ),
    Resource(
        "mimir://stats",
        "stats",
        "Statistics",
        "Counts of memories, versions, links and vectors.",
        JSON,
        ("user",),
        0.2,
        lambda run, _: run("stats", {}),
    ),
)
"""What is listed, the most useful first but for the order of a menu."""

TEMPLATES: Final = (
    Resource(
        _BY_ID,
        "entity-by-id",
        "Memory by id",
        "One memory in full, by the id that recall shows.",
        JSON,
        _BOTH,
        0.7,
        lambda run, values: run("get_entity", values),
    ),
    Resource(
        "mimir://entity/{category}/{key}",
        "entity",
        "Memory by name",
        "One memory in full, by category and key, each percent-encoded.",
        JSON,
        _BOTH,
        0.7,
        _read_named,
    ),
)
"""Addresses with variables; the first that fits is read."""
