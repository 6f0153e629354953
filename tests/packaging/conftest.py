"""What is handed to users, built once: the wheels, and a fresh environment that they are installed into."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.single_file import pack
from scripts.wheelhouse import build, installer, pinned_wheels

# Read before the tests take every setting of Mimir out of the environment.
NAMESPACES_REQUIRED = bool(os.environ.get("MIMIR_REQUIRE_NAMESPACES"))

ALONE = ["unshare", "--map-root-user", "--net", "--mount", "--", "sh", "-ec"]
ISOLATION = 'ip link set lo up; mount --bind /dev/null /etc/resolv.conf; exec "$@"'


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with Mimir's wheel, every wheel that it needs, and the script that installs them."""
    folder = tmp_path_factory.mktemp("wheels")
    for wheel in pinned_wheels().glob("*.whl"):
        (folder / wheel.name).symlink_to(wheel)
    installer(build("wheel", folder))
    return folder


@pytest.fixture(scope="session")
def single_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the executable that has everything in it."""
    if sys.platform != "linux":
        pytest.skip("the single file is for Linux")
    return pack(tmp_path_factory.mktemp("single"), level=1)


@pytest.fixture(scope="session")
def alone() -> list[str]:
    """Return the words before a command that is to run without any route and without names, but for the loopback."""
    words = [*ALONE, ISOLATION, "alone"]
    missing = [name for name in ("unshare", "ip", "mount") if shutil.which(name) is None]
    try:
        if missing:
            reason = f"{' and '.join(missing)} not on PATH"
        else:
            reason = subprocess.run([*words, "true"], capture_output=True, encoding="utf-8", check=False).stderr.strip()
    except OSError as error:
        reason = str(error)
    if reason:
        message = f"No network namespace can be made here: {reason}"
        if NAMESPACES_REQUIRED:
            pytest.fail(message)
        pytest.skip(message)
    return words
