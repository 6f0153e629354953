"""Nothing on the default path needs a network, and with --offline nothing at all reaches for one."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mimir import Memory, MimirError, Unavailable
from mimir.adapters.session import HttpSession
from tests.language_model import ModelServer, serving

ROOT = Path(__file__).resolve().parents[2]
JOURNEY = Path(__file__).with_name("journey.py")


@pytest.fixture(scope="module")
def journey(alone: list[str], wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what was seen on the way from the wheels to the notes, in a network namespace of its own."""
    folder = tmp_path_factory.mktemp("journey")
    command = [*alone, sys.executable, str(JOURNEY), str(wheels), str(folder)]
    environment = {"HOME": str(folder / "home"), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    ran = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", timeout=600, check=False)
    assert ran.returncode == 0, ran.stderr
    seen: dict[str, Any] = json.loads(ran.stdout)
    return seen


@pytest.mark.slow
def test_the_air_gap_has_no_route_no_interface_but_the_loopback_and_no_names(journey: dict[str, Any]) -> None:
    assert (journey["routes"], journey["interfaces"], journey["name"]) == ("", ["lo"], "unknown")


@pytest.mark.slow
def test_the_default_path_works_behind_an_air_gap(journey: dict[str, Any]) -> None:
    assert journey["server"] == "mimir"
    assert journey["items"][0]["key"] == "storage"
    assert journey["arms"] == {"keyword": 1, "dense": 3}
    assert "<title>" in journey["dashboard"]["page"]
    assert journey["dashboard"]["stats"]["embedded"] == 3
    assert journey["exported"]["exported"] == journey["notes"] == 3
    assert journey["doctor"]["ok"]
    assert "answers are among the first 3" in journey["demo"]


@pytest.mark.slow
def test_behind_an_air_gap_nothing_even_tries_to_leave(journey: dict[str, Any]) -> None:
    assert (journey["attempts"], journey["control"]) == (0, 1)


def connectors(address: str, folder: Path) -> dict[str, Any]:
    config = folder / "connectors.yaml"
    github = {"enabled": True, "token": "t", "repos": ["a/b"], "base_url": address}
    config.write_text(json.dumps({"connectors": {"github": github}}), encoding="utf-8")
    return {"connectors_config": str(config), "embedding": "off"}


Configure = Callable[[str, Path], dict[str, Any]]
Act = Callable[[Memory], object]
CONNECTING: dict[str, tuple[Configure, Act]] = {
    "ask": (lambda address, _: {"llm_endpoint": address}, lambda memory: memory.ask("SQLite?")),
    "synthesize": (lambda address, _: {"llm_endpoint": address}, lambda memory: memory.synthesize("We learned.")),
    "embedding": (lambda address, _: {"embedding_endpoint": address}, lambda memory: memory.recall("SQLite").degraded),
    "github": (connectors, lambda memory: memory.ingest().errors),
}
"""Each feature that reaches for another program over the network: its settings, and a use of it."""


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with serving() as one:
        yield one


@pytest.mark.parametrize("feature", CONNECTING)
def test_offline_refuses_each_feature_that_would_connect(feature: str, server: ModelServer, tmp_path: Path) -> None:
    configure, act = CONNECTING[feature]

    def said(*, offline: bool) -> str:
        settings = configure(server.address, tmp_path)
        with Memory.open(str(tmp_path / f"{offline}.db"), offline=offline, **settings) as memory:
            memory.remember("decision", "database", {"content": "We chose SQLite."})
            try:
                return str(act(memory))
            except MimirError as error:
                return f"{error.message} {error.hint}"

    assert "--offline" in said(offline=True)
    assert server.requests == []
    # It is a feature that connects, or the lines above would show nothing.
    assert "--offline" not in said(offline=False)
    assert server.requests


def test_offline_keeps_adapters_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    HttpSession("http://memory.example:8767")  # without the variable no word is said
    monkeypatch.setenv("MIMIR_OFFLINE", "1")
    with pytest.raises(Unavailable, match="MIMIR_OFFLINE"):
        HttpSession("http://memory.example:8767")
    HttpSession("http://127.0.0.1:8767")


def test_no_other_module_can_connect() -> None:
    def imported(path: Path) -> set[str]:
        names = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names |= {str(node.module)} | {f"{node.module}.{alias.name}" for alias in node.names}
        return names

    connecting = {"socket", "http.client", "urllib.request", "mimir.remote.exchange"}
    modules = {
        path.relative_to(ROOT).as_posix() for path in (ROOT / "mimir").rglob("*.py") if imported(path) & connecting
    }
    # remote.py sends what the next three ask for, each of which heeds --offline; front.py only listens.
    assert modules == {
        "mimir/remote.py",
        "mimir/endpoint.py",
        "mimir/connectors/github.py",
        "mimir/adapters/session.py",
        "mimir/server/front.py",
    }
