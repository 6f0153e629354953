"""What directories of servers read: generated, within their rules, and started as their hosts start it."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from mimir import __version__
from mimir.config import OPTIONS
from scripts.bundle import pack
from scripts.listings import CARD_SCHEMA, NAME, SERVER_SCHEMA
from scripts.node_tools import Unavailable, cache_folder, command, node
from tests.clients.conftest import REQUIRED as NODE_REQUIRED

ROOT = Path(__file__).resolve().parents[2]
VARIABLES = {option.environment for option in OPTIONS}
INITIALIZE = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "host", "version": "1"}}


def read(name: str) -> dict[str, Any]:
    listing: dict[str, Any] = json.loads((ROOT / name).read_text(encoding="utf-8"))
    return listing


def needing_node(get: Callable[[], list[str]]) -> list[str]:
    try:
        return get()
    except Unavailable as error:
        if NODE_REQUIRED:
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.mark.parametrize("name", ["server.json", "manifest.json", ".well-known/mcp/server-card.json"])
def test_every_listing_names_this_version_and_is_short(name: str) -> None:
    listing = read(name)
    assert listing["version"] == __version__
    assert 0 < len(listing["description"]) <= 100


def test_the_registry_entry_follows_the_rules_of_the_registry() -> None:
    entry = read("server.json")
    assert set(entry) == {"$schema", "name", "title", "description", "version", "packages"}
    assert entry["$schema"] == SERVER_SCHEMA
    assert re.fullmatch(r"[a-zA-Z0-9.-]+/[a-zA-Z0-9._-]+", entry["name"])
    (package,) = entry["packages"]
    assert (package["registryType"], package["version"], package["transport"]) == (
        "pypi",
        __version__,
        {"type": "stdio"},
    )
    assert {one["name"] for one in package["environmentVariables"]} <= VARIABLES
    # The registry looks for this in the README of the package.
    assert f"<!-- mcp-name: {NAME} -->" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_server_card_tells_where_a_server_on_this_machine_is_and_what_it_speaks() -> None:
    card = read(".well-known/mcp/server-card.json")
    assert set(card) == {"$schema", "name", "title", "description", "version", "remotes"}
    assert (card["$schema"], card["name"]) == (CARD_SCHEMA, NAME)
    (remote,) = card["remotes"]
    assert remote["url"].format(port=remote["variables"]["port"]["default"]) == "http://127.0.0.1:8767/mcp"
    assert {"2025-11-25", "2026-07-28"} <= set(remote["supportedProtocolVersions"])


@pytest.mark.slow
def test_smithery_starts_the_server_with_the_settings_of_a_user() -> None:
    start = yaml.safe_load((ROOT / "smithery.yaml").read_text(encoding="utf-8"))["startCommand"]
    assert start["exampleConfig"] == {
        name: schema["default"] for name, schema in start["configSchema"]["properties"].items()
    }
    (program,) = needing_node(lambda: [str(node(cache_folder()))])
    script = f"console.log(JSON.stringify(({start['commandFunction']})({{dbPath: '/m.db', readOnly: true}})))"
    started = json.loads(subprocess.run([program, "-e", script], stdout=subprocess.PIPE, check=True).stdout)
    assert [started["command"], *started["args"]] == ["mimir", "serve"]
    assert set(started["env"]) <= VARIABLES
    given = {name: value for name, value in started["env"].items() if value}
    assert given == {"MIMIR_DB_PATH": "/m.db", "MIMIR_READ_ONLY": "true"}


@pytest.mark.slow
def test_the_manifest_is_valid_for_the_makers_of_the_format() -> None:
    words = needing_node(lambda: command("mcpb"))
    ran = subprocess.run([*words, "validate", str(ROOT / "manifest.json")], capture_output=True, check=False)
    assert ran.returncode == 0, ran.stdout


@pytest.mark.slow
def test_the_bundle_serves_as_its_host_starts_it(wheels: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(pack(tmp_path)) as bundle:
        bundle.extractall(tmp_path / "bundle")
    # Without an index uv can only resolve for this machine, whose wheels are at hand.
    project = tmp_path / "bundle" / "pyproject.toml"
    markers = {
        "sys_platform": sys.platform,
        "platform_machine": platform.machine(),
        "platform_python_implementation": platform.python_implementation(),
        "python_version": f"3.{sys.version_info.minor}",
    }
    here = " and ".join(f"{name} == '{value}'" for name, value in markers.items())
    text = project.read_text(encoding="utf-8")
    project.write_text(text.replace("package = false", f'package = false\nenvironments = ["{here}"]'), encoding="utf-8")
    manifest = json.loads((tmp_path / "bundle" / "manifest.json").read_text(encoding="utf-8"))
    tools = {tool["name"] for tool in manifest["tools"]}
    assert (tmp_path / "bundle" / manifest["server"]["entry_point"]).is_file()
    start = manifest["server"]["mcp_config"]
    answers = {field: question["default"] for field, question in manifest["user_config"].items()}
    answers["db"] = str(tmp_path / "memory.db")

    def filled(text: str) -> str:
        text = text.replace("${__dirname}", str(tmp_path / "bundle"))
        return re.sub(r"\$\{user_config\.(\w+)\}", lambda match: str(answers[match[1]]).lower(), text)

    environment = {name: filled(value) for name, value in start["env"].items()}
    offline = {"UV_FIND_LINKS": str(wheels), "UV_NO_INDEX": "1", "UV_OFFLINE": "1", "UV_PYTHON": sys.executable}
    messages = [
        {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": INITIALIZE},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/list", "params": {}},
    ]
    ran = subprocess.run(
        [sys.executable, "-m", start["command"], *map(filled, start["args"])],
        input="\n".join(map(json.dumps, messages)) + "\n",
        env={**os.environ, **environment, **offline, "VIRTUAL_ENV": ""},
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    opened, listed = (json.loads(line)["result"] for line in ran.stdout.splitlines())
    assert opened["serverInfo"]["version"] == __version__
    assert {tool["name"] for tool in listed["tools"]} == tools
