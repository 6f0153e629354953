"""Exports of the shape that each program documents, filled with the texts that Python ships about its language."""

from __future__ import annotations

import base64
import json
import re
import zipfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any, Final, NamedTuple

START: Final = datetime(2025, 3, 1, 9, 0, tzinfo=UTC)
NOISE: Final = base64.b64encode(bytes(range(256)) * 40).decode()


class Said(NamedTuple):
    """One turn: who spoke, what, and when."""

    speaker: str
    text: str
    at: datetime


def paragraphs(count: int) -> list[str]:
    """Return different paragraphs of the language reference, in their order."""
    found = (re.sub(r"\s+", " ", part).strip() for text in topics.values() for part in text.split("\n\n"))
    return list(dict.fromkeys(part for part in found if 80 < len(part) < 900))[:count]


def conversations(count: int = 4, turns: int = 130) -> dict[str, list[Said]]:
    """Return conversations by title, with two speakers who take turns."""
    texts = iter(paragraphs(count * turns))
    minutes = iter(range(count * turns))
    return {
        f"Talk {number}": [
            Said(("user", "assistant")[turn % 2], next(texts), START + timedelta(minutes=next(minutes)))
            for turn in range(turns)
        ]
        for number in range(count)
    }


def lines(path: Path, records: Sequence[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")


def iso(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def claude_code(folder: Path, talks: dict[str, list[Said]]) -> Path:
    """Write a folder of sessions, with what tools were given and gave back, reminders, and side conversations."""
    for number, (title, said) in enumerate(talks.items()):
        session = f"5e5510{number:02}-0000-4000-8000-000000000000"
        records: list[dict[str, Any]] = [{"type": "summary", "summary": title, "leafUuid": "leaf"}]

        def add(
            kind: str,
            content: object,
            at: datetime,
            *,
            session: str = session,
            records: list[dict[str, Any]] = records,
            **more: object,
        ) -> None:
            message = {"role": kind, "content": content}
            common = {"type": kind, "message": message, "sessionId": session, "timestamp": iso(at), "cwd": "/home/ann"}
            records.append({**common, "uuid": f"{session}-{len(records)}", "isSidechain": False, **more})

        for turn in said:
            if turn.speaker == "user":
                add("user", f"{turn.text}<system-reminder>Never say this.</system-reminder>", turn.at)
                add("user", "Caveat: made by the program.", turn.at, isMeta=True)
                add("user", "Look into it.", turn.at, isSidechain=True)
                continue
            use = {"type": "tool_use", "id": "t", "name": "Bash", "input": {"command": "ls", "timeout": 5}}
            result = {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": NOISE}]}
            add("assistant", [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": turn.text}], turn.at)
            add("assistant", [use], turn.at)
            add("user", [result], turn.at)
        records.append({"type": "file-history-snapshot", "snapshot": {}})
        lines(folder / "projects" / "-home-ann-app" / f"{session}.jsonl", records)
    return folder / "projects"


def codex(folder: Path, talks: dict[str, list[Said]]) -> Path:
    """Write a folder of rollout files; the last is of the older shape without payloads."""
    for number, said in enumerate(talks.values()):
        is_old = number == len(talks) - 1
        session = f"0199{number:04}-0000-7000-8000-000000000000"
        meta = {"id": session, "timestamp": iso(START), "cwd": "/home/ann", "instructions": None}
        records: list[dict[str, Any]] = [
            meta if is_old else {"timestamp": iso(START), "type": "session_meta", "payload": meta}
        ]
        for turn in said:
            kind = "input_text" if turn.speaker == "user" else "output_text"
            items: list[dict[str, Any]] = [
                {"type": "message", "role": turn.speaker, "content": [{"type": kind, "text": turn.text}]}
            ]
            if turn.speaker == "user":
                context = {"type": "input_text", "text": "<environment_context>cwd</environment_context>"}
                items.insert(0, {"type": "message", "role": "user", "content": [context]})
            else:
                items += [
                    {"type": "reasoning", "summary": [], "encrypted_content": NOISE},
                    {"type": "function_call", "name": "shell", "arguments": '{"command":["ls"]}', "call_id": "c"},
                    {"type": "function_call_output", "call_id": "c", "output": NOISE},
                ]
            for item in items:
                at = {"timestamp": iso(turn.at)}
                records.append({**item, **at} if is_old else {**at, "type": "response_item", "payload": item})
            if not is_old:
                records.append({"timestamp": iso(turn.at), "type": "event_msg", "payload": {"type": "token_count"}})
        lines(folder / "sessions" / "2025" / "03" / "01" / f"rollout-2025-03-01T09-00-00-{session}.jsonl", records)
    return folder / "sessions"


def chatgpt(folder: Path, talks: dict[str, list[Said]]) -> Path:
    """Write the zip file of an export: trees of messages with a hidden root and an answer that was thrown away."""
    told = []
    for number, (title, said) in enumerate(talks.items()):
        nodes: dict[str, Any] = {"root": {"id": "root", "message": None, "parent": None, "children": []}}
        parent = "root"

        def add(
            role: str, text: object, at: datetime, parent: str, *, nodes: dict[str, Any] = nodes, **more: object
        ) -> str:
            name = f"node-{len(nodes)}"
            message = {
                "id": name,
                "author": {"role": role, "name": None, "metadata": {}},
                "create_time": at.timestamp(),
                "content": {"content_type": "text", "parts": [text]},
                "recipient": "all",
                "metadata": {},
                **more,
            }
            nodes[name] = {"id": name, "message": message, "parent": parent, "children": []}
            nodes[parent]["children"].append(name)
            return name

        parent = add("system", "", START, parent, metadata={"is_visually_hidden_from_conversation": True})
        for turn in said:
            add(turn.speaker, "Thrown away.", turn.at, parent)
            if turn.speaker == "assistant":
                parent = add("assistant", "print(1)", turn.at, parent, recipient="python")
                parent = add("tool", NOISE, turn.at, parent)
            parent = add(turn.speaker, turn.text, turn.at, parent)
        told.append(
            {
                "title": title,
                "create_time": START.timestamp(),
                "mapping": nodes,
                "current_node": parent,
                "conversation_id": f"c0ffee{number:02}",
            }
        )
    return zipped(folder / "chatgpt.zip", {"user.json": {}, "conversations.json": told, "chat.html": "<html>"})


def claude(folder: Path, talks: dict[str, list[Said]]) -> Path:
    """Write the zip file of an export, with attachments."""
    told = [
        {
            "uuid": f"beef{number:02}",
            "name": title,
            "created_at": iso(START),
            "account": {"uuid": "ann"},
            "chat_messages": [
                {
                    "uuid": f"beef{number:02}-{position}",
                    "sender": "human" if turn.speaker == "user" else "assistant",
                    "text": turn.text,
                    "content": [{"type": "text", "text": turn.text}],
                    "created_at": iso(turn.at),
                    "attachments": [{"file_name": "data.csv", "extracted_content": NOISE}]
                    if position % 10 == 0
                    else [],
                    "files": [],
                }
                for position, turn in enumerate(said)
            ],
        }
        for number, (title, said) in enumerate(talks.items())
    ]
    return zipped(folder / "claude.zip", {"users.json": [], "conversations.json": told, "projects.json": []})


def memory_server(folder: Path, talks: dict[str, list[Said]]) -> Path:
    """Write entities whose observations are what was said, each known to the next."""
    said = [turn for talk in talks.values() for turn in talk]
    records: list[dict[str, Any]] = [
        {
            "type": "entity",
            "name": f"Thing_{number}",
            "entityType": "concept",
            "observations": [turn.text, "Seen once."],
        }
        for number, turn in enumerate(said)
    ]
    records += [
        {"type": "relation", "from": f"Thing_{number}", "to": f"Thing_{number + 1}", "relationType": "precedes"}
        for number in range(len(said) - 1)
    ]
    lines(folder / "memory.jsonl", records)
    return folder / "memory.jsonl"


def mem0(folder: Path, talks: dict[str, list[Said]]) -> Path:
    """Write what get_all answers."""
    said = [turn for talk in talks.values() for turn in talk]
    results = [
        {
            "id": f"ea925981-{number:04}",
            "memory": turn.text,
            "hash": "h",
            "user_id": "ann",
            "metadata": {"food": "vegan"},
            "categories": ["technology"],
            "created_at": iso(turn.at),
            "updated_at": None,
        }
        for number, turn in enumerate(said)
    ]
    relations = [{"source": "ann", "relationship": "works_with", "target": "python"}]
    (folder / "mem0.json").write_text(json.dumps({"results": results, "relations": relations}), encoding="utf-8")
    return folder / "mem0.json"


def basic_memory(folder: Path, talks: dict[str, list[Said]]) -> Path:
    """Write a folder of notes, each of which knows the one before it."""
    said = [turn for talk in talks.values() for turn in talk]
    for number, turn in enumerate(said):
        place = folder / "notes" / f"part-{number % 5}" / f"Note {number}.md"
        place.parent.mkdir(parents=True, exist_ok=True)
        before = f"- follows [[Note {number - 1}]]\n" if number else ""
        place.write_text(
            f"---\ntitle: Note {number}\ntype: note\npermalink: notes/note-{number}\ntags: [python, reference]\n"
            f"created: {turn.at:%Y-%m-%dT%H:%M:%S}\n---\n\n# Note {number}\n\n## Observations\n"
            f"- [fact] {turn.text} #language\n- [ ] not one\n\n## Relations\n{before}",
            encoding="utf-8",
        )
    return folder / "notes"


def zipped(path: Path, members: dict[str, object]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, value in members.items():
            archive.writestr(name, value if isinstance(value, str) else json.dumps(value))
    return path


CONVERSATIONS: Final[dict[str, Callable[[Path, dict[str, list[Said]]], Path]]] = {
    "claude-code": claude_code,
    "codex": codex,
    "chatgpt": chatgpt,
    "claude": claude,
}
KNOWLEDGE: Final[dict[str, Callable[[Path, dict[str, list[Said]]], Path]]] = {
    "memory-server": memory_server,
    "mem0": mem0,
    "basic-memory": basic_memory,
}
