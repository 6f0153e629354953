"""How the embedder loads, and what it says when it cannot. Each test starts a fresh interpreter."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import mimir

PACKAGE = Path(mimir.__file__).parent

BLOCK = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "onnxruntime":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Blocker())
"""


def run(code: str, *, python_path: Path | None = None) -> str:
    """Run code in a fresh interpreter; return its output after checking that stderr is empty."""
    environment = dict(os.environ)
    if python_path is not None:
        environment["PYTHONPATH"] = str(python_path)
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, encoding="utf-8", env=environment, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


@pytest.fixture
def copied_package(tmp_path: Path) -> Path:
    """Copy the package so that a test may damage it; the value goes on the module path."""
    shutil.copytree(PACKAGE, tmp_path / "mimir", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_importing_and_choosing_an_embedder_loads_no_heavy_module() -> None:
    loaded = run("""
import sys
import mimir.embedding
mimir.embedding.why_unavailable()
embedder = mimir.embedding.load_embedder()
assert embedder.dimensions == 384
print({"numpy", "onnxruntime", "tokenizers"} & set(sys.modules))
""")
    assert loaded == "set()"


def test_embedding_opens_no_connection_and_writes_nothing_to_stderr() -> None:
    shape = run("""
import sys
def forbid(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        raise RuntimeError(event)
sys.addaudithook(forbid)
from mimir.embedding import load_embedder
print(load_embedder().embed(["one", "two"]).shape)
""")
    assert shape == "(2, 384)"


def test_two_processes_compute_the_same_vector() -> None:
    code = """
from mimir.embedding import load_embedder
print(load_embedder().embed(["the same text", "in two processes"]).round(5).tolist())
"""
    assert run(code) == run(code)


def test_threads_that_start_together_load_the_model_once() -> None:
    loads = run("""
from threading import Barrier, Thread
from mimir.embedding.bundled import BundledEmbedder, load_model
barrier = Barrier(6)
def work():
    barrier.wait()
    BundledEmbedder(threads=1).embed(["x"])
threads = [Thread(target=work) for _ in range(6)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(load_model.cache_info().misses)
""")
    assert loads == "1"


def test_a_missing_runtime_is_named_with_its_install_command() -> None:
    told = run(
        BLOCK
        + """
from mimir.embedding import load_embedder, why_unavailable
from mimir.errors import Unavailable
print(why_unavailable())
try:
    load_embedder()
except Unavailable as error:
    print(error.message)
"""
    )
    reason, message = told.splitlines()
    assert reason == "search by meaning needs onnxruntime; install with: pip install onnxruntime"
    assert reason in message


def test_a_runtime_that_fails_to_import_is_reported_at_the_first_text(tmp_path: Path) -> None:
    broken = tmp_path / "onnxruntime"
    broken.mkdir()
    (broken / "__init__.py").write_text("raise ImportError('DLL load failed')", encoding="utf-8")
    told = run(
        """
from mimir.embedding import load_embedder
from mimir.errors import Unavailable
embedder = load_embedder()
try:
    embedder.embed(["x"])
except Unavailable as error:
    print(error.message, "|", error.hint)
""",
        python_path=tmp_path,
    )
    assert "DLL load failed" in told
    assert "pip install --force-reinstall onnxruntime" in told


def test_a_missing_model_file_is_named_without_raising(copied_package: Path) -> None:
    weights = copied_package / "mimir" / "embedding" / "model" / "weights.bin"
    weights.unlink()
    told = run("from mimir.embedding import why_unavailable; print(why_unavailable())", python_path=copied_package)
    assert str(weights) in told
    assert "pip install" in told


def test_a_damaged_model_file_fails_verification(copied_package: Path) -> None:
    weights = copied_package / "mimir" / "embedding" / "model" / "weights.bin"
    with weights.open("r+b") as file:
        file.seek(1_000_000)
        byte = file.read(1)[0]
        file.seek(1_000_000)
        file.write(bytes([byte ^ 1]))
    told = run(
        """
from mimir.embedding.bundled import verify_model
from mimir.errors import StorageFailure
try:
    verify_model()
except StorageFailure as error:
    print(error.message)
""",
        python_path=copied_package,
    )
    assert str(weights) in told
    assert "damaged" in told


def test_a_model_that_the_runtime_refuses_is_unavailable(copied_package: Path) -> None:
    (copied_package / "mimir" / "embedding" / "model" / "model.onnx").write_bytes(b"not a model")
    told = run(
        """
from mimir.embedding import load_embedder
from mimir.errors import Unavailable
try:
    load_embedder().embed(["x"])
except Unavailable as error:
    print(error.hint)
""",
        python_path=copied_package,
    )
    assert "pip install --force-reinstall" in told
