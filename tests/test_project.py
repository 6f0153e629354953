"""Promises of the project's own files: pins, layers that linters cannot see, one version."""

import ast
import importlib.metadata
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import mimir

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PIN_FILES = ["core", "server", "dev", "frameworks", "crewai"]
FRAMEWORKS = {
    "agents": "openai-agents",
    "anthropic": "anthropic",
    "autogen_core": "autogen-core",
    "crewai": "crewai",
    "langchain_core": "langchain-core",
    "langgraph": "langgraph",
    "pydantic_ai": "pydantic-ai-slim",
}
"""Where the modules of frameworks come from, which have environments of their own."""

FRAMEWORK_EXTRAS = ["anthropic", "autogen", "crewai", "langchain", "langgraph", "openai-agents", "pydantic-ai"]

PIN = re.compile(r"([a-z0-9][a-z0-9-]*)==(\S+)(?: ; [^\\]+)? \\")
HASH = re.compile(r" {4}--hash=sha256:[0-9a-f]{64}(?: \\)?")


def lines_of(name: str) -> list[str]:
    return (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8").splitlines()


def pins_of(name: str) -> set[str]:
    """Return the pins of a requirement file with their markers."""
    return {line.removesuffix(" \\") for line in lines_of(name) if not line.startswith(" ")}


def distributions_of(name: str) -> set[str]:
    return {pin.partition("==")[0] for pin in pins_of(name)}


def normalised(requirement: str) -> str:
    """Return the distribution name of a requirement as pins spell it."""
    name = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert name is not None
    return re.sub(r"[-_.]+", "-", name[0]).lower()


@pytest.mark.parametrize("name", PIN_FILES)
def test_requirement_files_hold_pins_with_hashes_and_nothing_else(name: str) -> None:
    lines = lines_of(name)
    assert lines
    strange = [line for line in lines if not (PIN.fullmatch(line) or HASH.fullmatch(line))]
    assert strange == []


@pytest.mark.parametrize("name", PIN_FILES)
def test_every_pin_has_a_hash(name: str) -> None:
    lines = lines_of(name)
    bare = [
        line
        for line, following in zip(lines, [*lines[1:], ""], strict=True)
        if PIN.fullmatch(line) and not HASH.fullmatch(following)
    ]
    assert bare == []


@pytest.mark.parametrize("name", PIN_FILES)
def test_plain_apsw_is_never_installed_beside_the_encrypting_one(name: str) -> None:
    assert "apsw-sqlite3mc" in distributions_of(name)
    assert "apsw" not in distributions_of(name)


def test_every_library_that_mimir_imports_is_one_that_it_declares() -> None:
    project = PYPROJECT["project"]
    declared = {normalised(requirement) for requirement in project["dependencies"]}
    for extra in ("server", "documents", "watch", *FRAMEWORK_EXTRAS):
        declared |= {normalised(requirement) for requirement in project["optional-dependencies"][extra]}
    sources = {**importlib.metadata.packages_distributions(), **{name: [one] for name, one in FRAMEWORKS.items()}}
    imported = {
        name.partition(".")[0]
        for path in (ROOT / "mimir").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for name in imported_names(node)
    }
    # pydantic comes with each framework whose adapter uses it.
    foreign = imported - sys.stdlib_module_names - {"mimir", "pydantic"}
    undeclared = {name for name in foreign if not declared & {normalised(source) for source in sources[name]}}
    assert undeclared == set()


def imported_names(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        return [node.module]
    return []


def test_the_core_pins_are_among_the_dev_pins() -> None:
    assert distributions_of("core") < distributions_of("dev")
    versions = {pin.partition(" ; ")[0] for pin in pins_of("dev")}
    assert {pin.partition(" ; ")[0] for pin in pins_of("core")} <= versions


def test_every_declared_dependency_is_pinned() -> None:
    project = PYPROJECT["project"]
    core = {normalised(requirement) for requirement in project["dependencies"] + PYPROJECT["build-system"]["requires"]}
    extras = {
        normalised(requirement)
        for extra in ("server", "documents", "dev")
        for requirement in project["optional-dependencies"][extra]
    }
    assert core <= distributions_of("core")
    assert extras - {project["name"]} <= distributions_of("dev")


def test_the_installed_version_is_the_one_in_the_package() -> None:
    assert importlib.metadata.version("mimir-local") == mimir.__version__


def test_the_changelog_has_a_section_for_the_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"\n## [{mimir.__version__}]" in changelog


def test_only_the_configuration_reads_the_environment() -> None:
    readers = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "mimir").rglob("*.py")
        if reads_environment(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert readers == {"mimir/config.py"}


def reads_environment(tree: ast.AST) -> bool:
    """Tell whether a module names an environment accessor of `os`."""
    accessors = {"environ", "environb", "getenv", "getenvb"}
    return any(
        (isinstance(node, ast.Attribute) and node.attr in accessors)
        or (
            isinstance(node, ast.ImportFrom)
            and node.module == "os"
            and any(alias.name in accessors for alias in node.names)
        )
        for node in ast.walk(tree)
    )


@pytest.mark.parametrize(
    "source",
    ["import os\nos.environ['A']", "from os import getenv", "import os as o\no.getenv('A')"],
)
def test_the_environment_scan_sees_every_spelling(source: str) -> None:
    assert reads_environment(ast.parse(source))


@pytest.mark.slow
def test_one_run_writes_every_page_that_a_changed_description_reaches(tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(ROOT, project, ignore=shutil.ignore_patterns(".git", ".venv", ".*_cache", "__pycache__"))
    declarations = project / "mimir" / "operations" / "entities.py"
    former, changed = "Return one memory in full by its id", "Return all of one memory by its id"
    declarations.write_text(declarations.read_text(encoding="utf-8").replace(former, changed), encoding="utf-8")
    subprocess.run([sys.executable, project / "scripts" / "generate.py"], check=True, cwd=project)
    for page in ("README.md", "docs/tools.md", "docs/cli.md", "mimir/catalogue.json"):
        text = (project / page).read_text(encoding="utf-8")
        assert changed in text, page
        assert former not in text, page
