"""What directories of MCP servers ask for: server.json, manifest.json, smithery.yaml and the server card.

Who publishes owns the namespace in `NAME`: a registry asks for proof, and looks for the name in the package's README.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

import yaml

from mimir import __version__
from mimir.config import Option, option
from mimir.server.message import LEGACY_VERSIONS, MODERN_VERSIONS
from scripts.components import PROJECT, ROOT

NAME: Final = "io.github.mimir-local/mimir"
TITLE: Final = "Mimir"

SERVER_SCHEMA: Final = "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json"
CARD_SCHEMA: Final = "https://static.modelcontextprotocol.io/schemas/v1/server-card.schema.json"

OFFERED: Final = ("db", "encryption_key", "workspace", "tools", "read_only", "offline")
"""The settings that a directory asks a user for, all optional; the rest is set in the environment."""

_FILES: Final = frozenset({"db", "encryption_key"})
_DEFAULT_STORE: Final = "~/.mimir/data/mimir.db"


def listings(catalogue: dict[str, Any]) -> dict[Path, str]:
    """Return the text of each listing by its path."""
    return {
        ROOT / "server.json": _json(registry_entry()),
        ROOT / "manifest.json": _json(bundle_manifest(catalogue)),
        ROOT / ".well-known" / "mcp" / "server-card.json": _json(server_card()),
        ROOT / "smithery.yaml": "# Written by scripts/generate.py; change the declarations instead.\n"
        + yaml.safe_dump(smithery(), sort_keys=False, width=110),
    }


def registry_entry() -> dict[str, Any]:
    """Return the entry of the MCP registry: a package that uvx runs over stdio."""
    variables = [
        {"name": one.environment, "description": one.help, "isRequired": False, "format": _format(one)}
        for one in map(option, OFFERED)
    ]
    package = {
        "registryType": "pypi",
        "identifier": PROJECT["name"],
        "version": __version__,
        "runtimeHint": "uvx",
        "transport": {"type": "stdio"},
        "packageArguments": [{"type": "positional", "value": "serve"}],
        "environmentVariables": variables,
    }
    return {"$schema": SERVER_SCHEMA, **_identity(), "packages": [package]}


def server_card() -> dict[str, Any]:
    """Return the card of a server over HTTP, which a client reads before it connects."""
    remote = {
        "type": "streamable-http",
        "url": "http://127.0.0.1:{port}/mcp",
        "variables": {"port": {"description": option("port").help, "format": "number", "default": "8767"}},
        "headers": [
            {"name": "Authorization", "description": option("mcp_token").help, "isRequired": False, "isSecret": True}
        ],
        "supportedProtocolVersions": sorted({*LEGACY_VERSIONS, *MODERN_VERSIONS}),
    }
    return {"$schema": CARD_SCHEMA, **_identity(), "remotes": [remote]}


def bundle_manifest(catalogue: dict[str, Any]) -> dict[str, Any]:
    """Return the manifest of the bundle for Claude Desktop, which `scripts/bundle.py` packs."""
    configuration = {one.field: _question(one) for one in map(option, OFFERED)}
    return {
        "manifest_version": "0.4",
        "name": PROJECT["name"],
        "display_name": TITLE,
        "version": __version__,
        "description": PROJECT["description"],
        "author": PROJECT["authors"][0],
        "license": PROJECT["license"],
        "keywords": PROJECT["keywords"],
        "server": {
            "type": "uv",
            "entry_point": "server.py",
            "mcp_config": {
                "command": "uv",
                "args": ["run", "--quiet", "--directory", "${__dirname}", "server.py"],
                "env": {one.environment: f"${{user_config.{one.field}}}" for one in map(option, OFFERED)},
            },
        },
        "tools": [
            {"name": entry["tool"]["name"], "description": first_sentence(entry)} for entry in catalogue.values()
        ],
        "prompts_generated": True,
        "user_config": configuration,
        "compatibility": {
            "platforms": ["darwin", "linux", "win32"],
            "runtimes": {"python": PROJECT["requires-python"]},
        },
    }


def smithery() -> dict[str, Any]:
    """Return how Smithery starts the server; its settings have the names of the original's listing where it had any."""
    properties = {
        _camel(one.field): {
            "type": "boolean" if one.kind is bool else "string",
            "description": one.help,
            "default": _default(one),
        }
        for one in map(option, OFFERED)
    }
    pairs = ", ".join(f"{option(field).environment}: `${{config.{_camel(field)} ?? ''}}`" for field in OFFERED)
    return {
        "startCommand": {
            "type": "stdio",
            "configSchema": {"type": "object", "properties": properties},
            "commandFunction": f"(config) => ({{ command: 'mimir', args: ['serve'], env: {{ {pairs} }} }})",
            "exampleConfig": {_camel(field): _default(option(field)) for field in OFFERED},
        }
    }


def first_sentence(entry: dict[str, Any]) -> str:
    """Return what a tool does, as one sentence without its full stop."""
    description: str = entry["tool"]["description"]
    return re.split(r"(?<=[.;])\s", description)[0].rstrip(".;")


def _identity() -> dict[str, str]:
    return {"name": NAME, "title": TITLE, "description": PROJECT["description"], "version": __version__}


def _question(one: Option) -> dict[str, Any]:
    """Return how a setting is asked for; a client puts in nothing for one that has neither answer nor default."""
    title = one.field.replace("_", " ").capitalize()
    kind = "boolean" if one.kind is bool else "string"
    return {"type": kind, "title": title, "description": one.help, "required": False, "default": _default(one)}


def _default(one: Option) -> str | bool:
    if one.field == "db":
        return _DEFAULT_STORE
    default: str | bool = one.default
    return default


def _format(one: Option) -> str:
    return "boolean" if one.kind is bool else "filepath" if one.field in _FILES else "string"


def _camel(field: str) -> str:
    if field == "db":
        return "dbPath"
    first, *rest = field.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2) + "\n"
