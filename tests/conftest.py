"""Fixtures: memories on real files, with time and meaning under control."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from mimir import Memory
from scripts.examples import Story, told_story
from tests.doubles import FixedClock, WordEmbedder

OpenMemory = Callable[..., Memory]

# Each example opens no store of its own but shares the fixture's, so examples differ in speed; two cores, no deadline.
settings.register_profile(
    "house",
    deadline=None,
    max_examples=50,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("house")


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the developer's own settings and store out of every test."""
    for name in list(os.environ):
        if name.startswith("MIMIR_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
def embedder() -> WordEmbedder:
    return WordEmbedder()


@pytest.fixture
def db(tmp_path: Path) -> str:
    return str(tmp_path / "memory.db")


@pytest.fixture
def open_memory(db: str, clock: FixedClock, embedder: WordEmbedder) -> Iterator[OpenMemory]:
    """Open memories on the same file with the same clock; what the test leaves open is closed."""
    opened: list[Memory] = []

    def open_one(path: str = db, **options: object) -> Memory:
        options.setdefault("clock", clock)
        if options.get("embedding") != "off":
            options.setdefault("embedder", embedder)
        memory = Memory.open(path, **options)  # type: ignore[arg-type]  # settings and stand-ins share one mapping
        opened.append(memory)
        return memory

    yield open_one
    for memory in opened:
        memory.close()


@pytest.fixture
def memory(open_memory: OpenMemory) -> Memory:
    """Return a memory with words and meaning."""
    return open_memory()


@pytest.fixture
def keyword_memory(open_memory: OpenMemory) -> Memory:
    """Return a memory without an embedder."""
    return open_memory(embedding="off")


@pytest.fixture(scope="session")
def story() -> Iterator[Story]:
    """Return the store, the files and the settings on which the example of every tool works."""
    with told_story() as told:
        yield told
