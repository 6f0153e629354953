"""Readers of conversations: what was said becomes one memory each, in order, under one topic path."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import msgspec
from msgspec import Struct

from mimir.importing import (
    Found,
    Item,
    Problem,
    base_name,
    first_records,
    moment,
    objects,
    records,
    shortened,
    text,
    told_time,
    whole,
)
from mimir.model import Json

CATEGORY: Final = "transcript"

LONGEST_JOINED: Final = 4_000
"""Most characters at which what an assistant goes on to say or do is still the same turn."""

LONGEST_RESULT: Final = 300
"""Most characters that are kept of what a tool was given or gave back: files and logs are not what was said."""

LONGEST_TEXT: Final = 1_000_000

_USER: Final = "user"
_ASSISTANT: Final = "assistant"
_SPEAKERS: Final = {"human": _USER, "user": _USER, "assistant": _ASSISTANT}
_REMINDER: Final = re.compile(r"<system-reminder>.*?</system-reminder>", re.DOTALL)
_UNSAID: Final = (
    "<command-",
    "<local-command",
    "<bash-",
    "<environment_context>",
    "<user_instructions>",
    "<permissions instructions>",
    "<turn_aborted>",
    "<INSTRUCTIONS>",
    "# AGENTS.md instructions",
)
"""How texts begin that a program puts into the mouth of its user."""


class Turn(Struct, frozen=True, kw_only=True):
    """What one speaker said in one go; `id` names it within its conversation, `place` says where it stands."""

    speaker: str
    text: str
    id: str
    place: str
    at_unix_ms: int | None


def claude_code(name: str, data: bytes) -> Iterator[Found]:
    """Read a session of Claude Code: a record a line, of which those of the main conversation are turns."""
    session, title, turns = "", "", []
    for found in records(name, data):
        if isinstance(found, Problem):
            yield found
            continue
        place, record = found
        session = session or text(record.get("sessionId"))
        if record.get("type") == "summary":
            title = text(record.get("summary")) or title
        message = record.get("message")
        if text(record.get("type")) not in _SPEAKERS or record.get("isSidechain") or record.get("isMeta"):
            continue
        if not isinstance(message, dict):
            yield Problem(place=place, reason="a turn without a message")
            continue
        content = message.get("content")
        kinds = {text(block.get("type")) for block in objects(content)}
        # What tools gave back comes in the name of the user.
        speaker = _ASSISTANT if kinds == {"tool_result"} else _SPEAKERS[text(record["type"])]
        turns.append(_turn(speaker, _blocks(content), text(record.get("uuid")), place, record.get("timestamp")))
    yield from _transcript("claude-code", session or _stem(name), title, _joined(turns))


def codex(name: str, data: bytes) -> Iterator[Found]:
    """Read a session of Codex: a record a line, with its content in ``payload`` or, in old ones, beside it."""
    session, turns = "", []
    for found in records(name, data):
        if isinstance(found, Problem):
            yield found
            continue
        place, record = found
        payload = record.get("payload")
        payload = payload if isinstance(payload, dict) else record
        if record.get("type") in ("session_meta", None):
            session = session or text(payload.get("id"))
        elif record.get("type") in ("response_item", *_CODEX_ITEMS):
            speaker, words = _codex_item(payload)
            turns.append(_turn(speaker, words, "", place, record.get("timestamp")))
    yield from _transcript("codex", session or _stem(name), "", _joined(turns))


def chatgpt(name: str, data: bytes) -> Iterator[Found]:
    """Read conversations.json of a ChatGPT export: of each tree of messages the branch that was last seen."""
    for number, conversation in enumerate(objects(whole(data)), start=1):
        place = f"{base_name(name)}#{number}"
        nodes = conversation.get("mapping")
        if not isinstance(nodes, dict):
            yield Problem(place=place, reason="a conversation without messages")
            continue
        turns = []
        for node, message in _branch(nodes, conversation.get("current_node")):
            author, metadata = message.get("author"), message.get("metadata")
            speaker = _SPEAKERS.get(text(author.get("role")) if isinstance(author, dict) else "", "")
            hidden = isinstance(metadata, dict) and metadata.get("is_visually_hidden_from_conversation")
            if speaker and not hidden and message.get("recipient", "all") == "all":
                words = _parts(message.get("content"))
                turns.append(_turn(speaker, words, node, f"{place}/{node}", message.get("create_time")))
        known = text(conversation.get("conversation_id")) or text(conversation.get("id"))
        began = conversation.get("create_time")
        yield from _transcript("chatgpt", known or str(number), text(conversation.get("title")), turns, began)


def claude(name: str, data: bytes) -> Iterator[Found]:
    """Read conversations.json of a Claude export."""
    for number, conversation in enumerate(objects(whole(data)), start=1):
        place = f"{base_name(name)}#{number}"
        if not isinstance(conversation.get("chat_messages"), list):
            yield Problem(place=place, reason="a conversation without messages")
            continue
        turns = []
        for position, message in enumerate(objects(conversation["chat_messages"]), start=1):
            words = _blocks(message.get("content")) or text(message.get("text"))
            for attachment in objects(message.get("attachments")):
                told = shortened(text(attachment.get("extracted_content")), LONGEST_RESULT)
                words += f"\n[{text(attachment.get('file_name')) or 'attachment'}] {told}"
            turns.append(
                _turn(
                    _SPEAKERS.get(text(message.get("sender")), ""),
                    words,
                    text(message.get("uuid")),
                    f"{place}/{position}",
                    message.get("created_at"),
                )
            )
        known, title = text(conversation.get("uuid")), text(conversation.get("name"))
        yield from _transcript("claude", known or str(number), title, turns, conversation.get("created_at"))


def is_claude_code(_name: str, data: bytes) -> bool:
    """Tell whether a file is a session of Claude Code."""
    return any(
        ("sessionId" in record and text(record.get("type")) in _SPEAKERS) or {"leafUuid", "summary"} <= record.keys()
        for record in first_records(data)
    )


def is_codex(_name: str, data: bytes) -> bool:
    """Tell whether a file is a session of Codex."""
    found = first_records(data)
    return any(record.get("type") in ("session_meta", "response_item") and "payload" in record for record in found) or (
        bool(found) and {"id", "timestamp"} <= found[0].keys() and any(r.get("type") in _CODEX_ITEMS for r in found)
    )


def is_chatgpt(_name: str, data: bytes) -> bool:
    """Tell whether a file is conversations.json of ChatGPT."""
    return any("mapping" in one for one in objects(whole(data)))


def is_claude(_name: str, data: bytes) -> bool:
    """Tell whether a file is conversations.json of Claude."""
    return any("chat_messages" in one for one in objects(whole(data)))


def _turn(speaker: str, words: str, id: str, place: str, at: Json) -> Turn:
    return Turn(speaker=speaker, text=words.strip()[:LONGEST_TEXT], id=id, place=place, at_unix_ms=moment(at))


def _joined(turns: Iterable[Turn]) -> Iterator[Turn]:
    """Yield turns, each together with what the assistant goes on to say or do after it, up to a length."""
    last: Turn | None = None
    for turn in turns:
        if not turn.text:
            continue
        if last and last.speaker == turn.speaker == _ASSISTANT and len(last.text) + len(turn.text) < LONGEST_JOINED:
            last = msgspec.structs.replace(last, text=f"{last.text}\n{turn.text}")
            continue
        if last:
            yield last
        last = turn
    if last:
        yield last


def _transcript(
    program: str, conversation: str, title: str, turns: Iterable[Turn], began: Json = None
) -> Iterator[Item]:
    start = moment(began)
    for turn in turns:
        words = _REMINDER.sub("", turn.text).strip() if turn.speaker == _USER else turn.text
        if not turn.speaker or not words or words.startswith(_UNSAID):
            continue
        at = turn.at_unix_ms if turn.at_unix_ms is not None else start
        body: dict[str, Json] = {"speaker": turn.speaker, "content": words}
        if at is not None:
            body["at"] = told_time(at)
        if title:
            body["conversation"] = title
        body["source"] = turn.place
        yield Item(
            category=CATEGORY,
            key=f"{program}/{conversation}/{turn.id or turn.place.rpartition(':')[2]}",
            body=body,
            kind=CATEGORY,
            topic_path=f"{CATEGORY}/{program}/{conversation}",
            at_unix_ms=at,
        )


def _blocks(content: Json) -> str:
    """Return what the blocks of a message say, and in short what tools were given and gave back."""
    if isinstance(content, str):
        return content
    return "\n".join(filter(None, map(_block, objects(content))))


def _block(block: Mapping[str, Json]) -> str:
    match block.get("type"):
        case "text" | "input_text" | "output_text":
            return text(block.get("text"))
        case "tool_use":
            return _use(text(block.get("name")), block.get("input"))
        case "tool_result":
            return _result(_blocks(block.get("content")))
        case "image" | "input_image" | "document":
            return f"[{block['type']}]"
    return ""


def _use(tool: str, given: Json) -> str:
    if isinstance(given, dict):
        given = ", ".join(f"{name}: {value}" for name, value in given.items() if isinstance(value, (str, int, float)))
    return f"[{tool or 'tool'}] {shortened(text(given), LONGEST_RESULT)}"


def _result(words: str) -> str:
    return f"-> {shortened(words, LONGEST_RESULT)}" if words.strip() else ""


_CODEX_ITEMS: Final = (
    "message",
    "function_call",
    "function_call_output",
    "custom_tool_call",
    "custom_tool_call_output",
    "local_shell_call",
)


def _codex_item(item: Mapping[str, Json]) -> tuple[str, str]:
    """Return who speaks in an item of a session, and what it says."""
    kind = item.get("type")
    if kind == "message":
        return _SPEAKERS.get(text(item.get("role")), ""), _blocks(item.get("content"))
    if kind in ("function_call", "custom_tool_call"):
        return _ASSISTANT, _use(text(item.get("name")), item.get("arguments") or item.get("input"))
    if kind == "local_shell_call":
        action = item.get("action")
        command = action.get("command") if isinstance(action, dict) else None
        return _ASSISTANT, _use("shell", " ".join(map(text, command)) if isinstance(command, list) else command)
    if kind in ("function_call_output", "custom_tool_call_output"):
        output = item.get("output")
        output = output.get("content") if isinstance(output, dict) else output
        return _ASSISTANT, _result(_blocks(output))
    return "", ""


def _branch(nodes: Mapping[str, Json], leaf: Json) -> list[tuple[str, dict[str, Json]]]:
    """Return the messages from the root to a leaf, the latest one if it is not told, each with its node's id."""
    if text(leaf) not in nodes:
        leaf = max(nodes, key=lambda node: _created(nodes[node]), default=None)
    path: list[tuple[str, dict[str, Json]]] = []
    seen: set[str] = set()
    while isinstance(leaf, str) and leaf not in seen and isinstance(node := nodes.get(leaf), dict):
        seen.add(leaf)
        if isinstance(message := node.get("message"), dict):
            path.append((leaf, message))
        leaf = node.get("parent")
    return path[::-1]


def _created(node: Json) -> float:
    message = node.get("message") if isinstance(node, dict) else None
    return float(moment(message.get("create_time")) or 0) if isinstance(message, dict) else 0.0


def _parts(content: Json) -> str:
    """Return what the content of a message says, with a word for each picture."""
    if not isinstance(content, dict):
        return ""
    kind, parts = content.get("content_type"), content.get("parts")
    if kind not in ("text", "multimodal_text", "code", "tether_quote"):
        return ""
    if not isinstance(parts, Sequence) or isinstance(parts, str):
        return text(content.get("text"))
    return "\n".join(_part(part) for part in parts).strip()


def _part(part: Json) -> str:
    if not isinstance(part, dict):
        return text(part)
    return text(part.get("text")) or ("[image]" if part.get("content_type") == "image_asset_pointer" else "")


def _stem(name: str) -> str:
    return base_name(name).rpartition(".")[0] or base_name(name)
