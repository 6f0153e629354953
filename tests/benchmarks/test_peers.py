"""The comparison with other memories: same documents and questions for all, and a failure is a row."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from benchmarks.datasets import OWN, Collection, load
from benchmarks.peers import PEERS, Outcome, Peer, compared, documents, embedding_server, interpreter, measured, run
from mimir.embedding import load_embedder

FEW = 12


@pytest.fixture(scope="module")
def small() -> Collection:
    """Return the first memories of our own set with the questions that they answer."""
    (dataset,) = load(OWN)
    memories = dataset.collections[0].memories[:FEW]
    names = {name for name, *_ in documents(Collection(memories=memories, questions=()))}
    questions = [one for one in dataset.collections[0].questions if one.gold and one.gold <= names]
    return Collection(memories=memories, questions=tuple(questions))


def outcome_of(store: str, collection: Collection) -> Outcome:
    (peer,) = [peer for peer in PEERS if peer.store == store]
    questions = [question.text for question in collection.questions]
    return run(peer, {"embeddings": "", "documents": documents(collection), "questions": questions}, Path("unused"))


@pytest.mark.slow
@pytest.mark.parametrize("store", ["mimir", "mimir-server", "fts5"])
def test_what_needs_no_installation_answers_every_question(store: str, small: Collection) -> None:
    outcome = outcome_of(store, small)
    assert len(outcome.write_ms) == len(documents(small))
    assert len(outcome.found) == len(outcome.query_ms) == len(small.questions)
    row = measured(Peer(store=store, name=store, door="stdio", vectors="own"), outcome, small.questions)
    assert isinstance(row["MRR"], float)
    assert row["MRR"] > 0.2


def test_of_a_revised_memory_the_last_text_is_stored_once() -> None:
    memories = (
        {"category": "fact", "key": "the-lift", "body_json": {"content": "broken"}, "tags": ["house"]},
        {"category": "fact", "key": "the-lift", "body_json": {"content": "mended"}, "tags": ["house"]},
    )
    collection = Collection(memories=memories, questions=())
    assert documents(collection) == [("fact/the-lift", "fact the lift", "mended", ["house"])]


def test_peers_are_given_the_vectors_of_the_bundled_model() -> None:
    with embedding_server() as address:
        body = json.dumps({"input": ["a cat", "a dog"], "model": "any"}).encode()
        request = urllib.request.Request(f"{address}/embeddings", body, {"Content-Type": "application/json"})  # noqa: S310 - a loopback address
        with urllib.request.urlopen(request, timeout=30) as reply:  # noqa: S310 - as above
            data = json.load(reply)["data"]
    assert [item["index"] for item in data] == [0, 1]
    expected = load_embedder().embed(["a cat", "a dog"])
    assert np.allclose([item["embedding"] for item in data], expected, atol=1e-6)


def test_a_memory_that_fails_tells_why(small: Collection) -> None:
    absent = Peer(store="chroma", name="Chroma", door="in process", vectors="served")
    with pytest.raises(RuntimeError, match="chromadb"):
        run(absent, {"embeddings": "", "documents": documents(small), "questions": ["?"]}, Path("unused"))


def test_a_memory_that_no_python_here_can_run_is_not_installed(tmp_path: Path) -> None:
    peer = Peer(store="x", name="x", requirement="x==1", needs="raise SystemExit(1)", door="stdio", vectors="own")
    with pytest.raises(RuntimeError, match="no Python here"):
        interpreter(peer, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_ratios_are_to_mimir_through_the_same_door() -> None:
    rows = compared(
        [
            {"peer": "Mimir", "door": "stdio", "ready per s": 100.0, "query p50 ms": 20.0},
            {"peer": "other", "door": "stdio", "ready per s": 50.0, "query p50 ms": 10.0},
            {"peer": "third", "door": "in process", "ready per s": 50.0, "query p50 ms": 10.0},
            {"peer": "broken", "door": "stdio", "failed": "why"},
        ]
    )
    assert [(row.get("writes x"), row.get("queries x")) for row in rows] == [
        (1.0, 1.0),
        (0.5, 2.0),
        (None, None),
        (None, None),
    ]


def test_the_program_of_the_peers_needs_nothing_but_the_standard_library() -> None:
    program = Path(__file__).resolve().parents[2] / "benchmarks" / "peer_program.py"
    code = f"import runpy, sys; runpy.run_path({str(program)!r}); print('mimir' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"
