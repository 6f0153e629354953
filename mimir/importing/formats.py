"""The table of formats that can be imported, in the order in which they are looked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from mimir.importing import Format, conversations, knowledge


def _is_lines(name: str) -> bool:
    return name.endswith(".jsonl")


def _is_conversations(name: str) -> bool:
    return name.rpartition("/")[2].startswith("conversations") and name.endswith(".json")


FORMATS: Final[Mapping[str, Format]] = {
    "claude-code": Format(
        "Sessions of Claude Code: ~/.claude/projects, a folder of it, or one .jsonl file.",
        _is_lines,
        conversations.is_claude_code,
        conversations.claude_code,
    ),
    "codex": Format(
        "Sessions of Codex: ~/.codex/sessions, a folder of it, or one rollout file.",
        _is_lines,
        conversations.is_codex,
        conversations.codex,
    ),
    "chatgpt": Format(
        "The export of ChatGPT: its zip file, or conversations.json out of it.",
        _is_conversations,
        conversations.is_chatgpt,
        conversations.chatgpt,
    ),
    "claude": Format(
        "The export of Claude: its zip file, or conversations.json out of it.",
        _is_conversations,
        conversations.is_claude,
        conversations.claude,
    ),
    "memory-server": Format(
        "The file of the official MCP memory server: memory.jsonl, or memory.json of older versions.",
        lambda name: _is_lines(name) or name.endswith("memory.json"),
        knowledge.is_memory_server,
        knowledge.memory_server,
    ),
    "mem0": Format(
        "Memories of mem0 as JSON: what get_all answers, or a list of memories.",
        lambda name: name.endswith(".json"),
        knowledge.is_mem0,
        knowledge.mem0,
    ),
    "basic-memory": Format(
        "A folder of Basic Memory: Markdown notes with observations and relations.",
        lambda name: name.endswith(".md"),
        knowledge.is_basic_memory,
        knowledge.basic_memory,
    ),
}
