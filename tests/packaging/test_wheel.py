"""The wheel and the source archive: what is in them, always the same bytes, and started without being installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from mimir import __version__
from scripts.wheelhouse import build

ROOT = Path(__file__).resolve().parents[2]
DIST_INFO = f"mimir_local-{__version__}.dist-info/"
BESIDE = {"mimir_autogen.py", "mimir_crewai.py", "mimir_langgraph.py"}


@pytest.fixture(scope="module")
def wheel(wheels: Path) -> Path:
    (path,) = wheels.glob("mimir_local-*.whl")
    return path


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return what the source archive holds, unpacked."""
    folder = tmp_path_factory.mktemp("sdist")
    with tarfile.open(build("sdist", folder)) as archive:
        archive.extractall(folder, filter="data")
    return folder / f"mimir_local-{__version__}"


def tracked(*paths: str) -> set[str]:
    listed = subprocess.run(["git", "ls-files", "-z", *paths], cwd=ROOT, stdout=subprocess.PIPE, check=True)
    return set(listed.stdout.decode().rstrip("\0").split("\0"))


@pytest.mark.slow
def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.startswith(DIST_INFO)}
    assert names == tracked("mimir") | BESIDE
    assert {"mimir/embedding/model/weights.bin", "mimir/web/static/index.html", "mimir/py.typed"} <= names


@pytest.mark.slow
def test_the_wheel_carries_the_licences_of_all_that_is_in_it(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for name in ("LICENSE", "mimir/embedding/model/LICENSE", "mimir/embedding/model/NOTICE"):
            assert archive.read(f"{DIST_INFO}licenses/{name}") == (ROOT / name).read_bytes()


@pytest.mark.slow
def test_the_wheel_is_built_with_the_same_bytes_wherever_the_sources_lie(
    wheel: Path, sources: Path, tmp_path: Path
) -> None:
    # From the source archive, in another folder, with other times and permissions.
    for path in sources.rglob("*"):
        os.utime(path, (1_700_000_000, 1_700_000_000))
        path.chmod(0o700 if path.is_dir() else 0o600)
    assert build("wheel", tmp_path, sources).read_bytes() == wheel.read_bytes()


@pytest.mark.slow
def test_the_source_archive_holds_what_testing_needs(sources: Path) -> None:
    held = {path.relative_to(sources).as_posix() for path in sources.rglob("*") if path.is_file()}
    assert tracked() - {".gitattributes"} <= held


@pytest.mark.slow
def test_uvx_runs_the_demo_from_a_checkout(wheels: Path, tmp_path: Path) -> None:
    uvx = [sys.executable, "-m", "uv", "tool", "run", "--python", sys.executable, "--from", str(ROOT)]
    environment = {
        "HOME": str(tmp_path),
        "PATH": os.environ["PATH"],
        "UV_FIND_LINKS": str(wheels),
        "UV_NO_INDEX": "1",
        "UV_OFFLINE": "1",
    }
    command = [*uvx, "mimir", "demo", "--db", str(tmp_path / "demo.db")]
    ran = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", timeout=300, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "answers are among the first 3" in ran.stdout
    shutil.rmtree(tmp_path / ".cache")
