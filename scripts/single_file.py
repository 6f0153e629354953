#!/usr/bin/env python3
"""Pack Mimir, Python and all it needs into one executable file for Linux.

    .venv/bin/python scripts/single_file.py FOLDER

The file is a shell script with an archive behind it. At its first start it unpacks into a folder of the user's cache
that is named after the archive's sha256, whole or not at all, readable by the user alone; from then on it hands over.
It runs on systems with the same processor whose C library is no older than that of the machine it was packed on.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from mimir import __version__  # noqa: E402 - found through the line above
from scripts.components import runtime_pins  # noqa: E402 - the same
from scripts.wheelhouse import build, pinned_wheels  # noqa: E402 - the same

PYTHON: Final = f"python{sys.version_info.major}.{sys.version_info.minor}"
LEFT_OUT: Final = ("test", "tests", "idlelib", "tkinter", "turtledemo", "lib2to3", "ensurepip", "site-packages")
"""Parts of the standard library that Mimir has no use for."""

MODULES_LEFT_OUT: Final = ("_tkinter", "_curses", "readline", "_dbm", "_gdbm", "_sqlite3", "nis", "_test", "_xxtest")
SYSTEM_LIBRARIES: Final = re.compile(r"(ld-linux|linux-vdso|lib(c|m|dl|rt|pthread|util|resolv)\.so)")
"""Libraries that belong to the C library and must be those of the system it runs on."""

LAUNCHER: Final = """\
#!/bin/sh
# Mimir {version} for {machine}: this script, and behind it an archive that it unpacks once.
set -eu
digest={digest}
place=${{XDG_CACHE_HOME:-${{HOME:?is not set, and there is no XDG_CACHE_HOME}}/.cache}}/mimir/$digest
if [ ! -d "$place" ]; then
    umask 077
    fail() {{
        echo "mimir: $*" >&2
        exit 7
    }}
    cache=${{place%/*}}
    mkdir -p "$cache" || fail "$cache cannot be made: set XDG_CACHE_HOME to a folder that can be written to."
    draft=$(mktemp -d "$cache/unpacking.XXXXXX") || fail "$cache cannot be written to: set XDG_CACHE_HOME to another."
    trap 'rm -rf "$draft"' EXIT
    trap 'exit 7' HUP INT TERM
    tail -c +{offset} "$0" >"$draft/archive" || fail "$draft cannot be written to, or the disk is full."
    found=$(sha256sum "$draft/archive")
    [ "${{found%% *}}" = "$digest" ] || fail "this file is damaged: get it again."
    mkdir "$draft/mimir"
    tar -xzf "$draft/archive" -C "$draft/mimir" || fail "it cannot be unpacked: is the disk full?"
    # Whoever is first wins; another process that unpacks at the same time finds the same files there.
    "$draft/mimir/run" rename "$draft/mimir" "$place"
    rm -rf "$draft"
    trap - EXIT
fi
case $0 in */*) program=$0 ;; *) program=$(command -v -- "$0") ;; esac
exec "$place/run" "$program" "$@"
"""
RUN: Final = """\
#!/bin/sh
here=${{0%/*}}
export LD_LIBRARY_PATH="$here/lib${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}"
exec "$here/bin/{python}" -I "$here/start.py" "$@"
"""
START: Final = """\
import os
import sys

if sys.argv[1] == "rename":
    try:
        os.rename(sys.argv[2], sys.argv[3])
    except OSError:
        if not os.path.isdir(sys.argv[3]):
            raise
else:
    os.environ["MIMIR_EXECUTABLE"] = os.path.abspath(sys.argv[1])
    sys.argv[:2] = ["mimir"]
    from mimir.__main__ import main

    sys.exit(main())
"""


def main() -> None:
    """Pack the file into the folder that the command names."""
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit(f"usage: {sys.argv[0]} FOLDER")
    if sys.platform != "linux":
        sys.exit("single_file: only on Linux; elsewhere scripts/install.sh or pipx installs Mimir.")
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    print(pack(folder))


def pack(folder: Path, level: int = 6) -> Path:
    """Write the executable into a folder, compressed at a level of gzip, and return its path."""
    target = folder / f"mimir-{__version__}-linux-{platform.machine()}"
    with tempfile.TemporaryDirectory() as draft:
        tree = Path(draft, "tree")
        put_python(tree)
        put_packages(tree / "lib" / PYTHON / "site-packages", Path(draft))
        (tree / "run").write_text(RUN.format(python=PYTHON), encoding="utf-8")
        (tree / "run").chmod(0o755)
        (tree / "start.py").write_text(START, encoding="utf-8")
        put_libraries(tree)
        compile_all(tree)
        archive = Path(draft, "archive")
        with tarfile.open(archive, "w:gz", compresslevel=level) as file:
            for path in sorted(tree.iterdir()):
                file.add(path, path.name, filter=anonymous)
        data = archive.read_bytes()
    with target.open("wb") as file:
        file.write(launcher(data))
        file.write(data)
    target.chmod(0o755)
    return target


def launcher(data: bytes) -> bytes:
    """Return the script that goes before an archive, which begins at the byte after it."""
    digest = hashlib.sha256(data).hexdigest()

    def text(offset: int) -> bytes:
        return LAUNCHER.format(
            version=__version__, machine=platform.machine(), digest=digest, offset=f"{offset:05d}"
        ).encode()

    return text(len(text(0)) + 1)


def put_python(tree: Path) -> None:
    """Copy the interpreter and its standard library."""
    library = Path(sysconfig.get_path("stdlib"))

    def unwanted(folder: str, names: list[str]) -> set[str]:
        return {
            name
            for name in names
            if name == "__pycache__"
            or (Path(folder) == library and (name in LEFT_OUT or name.startswith("config-")))
            or (folder.endswith("lib-dynload") and name.startswith(MODULES_LEFT_OUT))
        }

    shutil.copytree(library, tree / "lib" / PYTHON, ignore=unwanted)
    (tree / "bin").mkdir()
    shutil.copy2(Path(sys.base_prefix, "bin", PYTHON).resolve(), tree / "bin" / PYTHON)


def put_packages(target: Path, draft: Path) -> None:
    """Install Mimir's wheel and what it needs, from local files with checked hashes."""
    pins = draft / "pins.txt"
    pins.write_text("".join(pin.lines() for pin in runtime_pins()), encoding="utf-8")
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-compile",
        "--no-deps",
    ]
    here = ["--no-index", f"--target={target}", "--root-user-action=ignore"]
    found = [f"--find-links={pinned_wheels()}", "--require-hashes", f"--requirement={pins}"]
    for arguments in (found, [str(build("wheel", draft))]):
        subprocess.run([*pip, *here, *arguments], stdout=sys.stderr, check=True)
        # The commands of packages start an interpreter of this machine.
        shutil.rmtree(target / "bin", ignore_errors=True)


def put_libraries(tree: Path) -> None:
    """Copy the shared libraries that the interpreter and its modules load, without those of the C library."""
    modules = [tree / "bin" / PYTHON, *(tree / "lib" / PYTHON / "lib-dynload").glob("*.so")]
    for module in modules:
        listed = subprocess.run(["ldd", str(module)], stdout=subprocess.PIPE, encoding="utf-8", check=True).stdout
        for name, path in re.findall(r"(\S+) => (/\S+)", listed):
            if not SYSTEM_LIBRARIES.match(name):
                shutil.copy2(path, tree / "lib" / name)


def compile_all(tree: Path) -> None:
    """Compile every module; its source is never looked at again, so that no clock or copy makes it stale."""
    options = ["-m", "compileall", "-q", "-j0", "--invalidation-mode=unchecked-hash", "-s", str(tree)]
    subprocess.run([sys.executable, *options, str(tree / "lib" / PYTHON)], check=True)


def anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Take the names of whoever packs out of an entry of the archive."""
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


if __name__ == "__main__":
    os.umask(0o022)
    main()
