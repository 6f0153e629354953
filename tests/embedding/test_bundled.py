"""The bundled model itself: what its vectors mean, and on what they do not depend."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimir import InvalidInput, Memory
from mimir.config import load_settings
from mimir.embedding import MODEL_FOLDER, load_embedder, open_embedder, why_unavailable
from mimir.embedding.bundled import (
    BATCH_TEXTS,
    BATCH_WORD_PIECES,
    BundledEmbedder,
    LocalEmbedder,
    batches,
    verify_model,
)

TEXTS = (
    "ok",
    "The production database listens on port 5432.",
    "She moved from Oslo to Bergen in March and started a new job at the harbour.",
    "Der Zug nach München fährt heute später ab.",
    "会議は来週の火曜日に延期されました。",
    "def add(a: int, b: int) -> int: return a + b",
    "deploy " * 120,
    "a rollback takes ten minutes; " * 60,
    "",
)
SAME = 1e-6


@pytest.fixture(scope="module")
def embedder() -> BundledEmbedder:
    return BundledEmbedder()


def cosine(embedder: BundledEmbedder, left: str, right: str) -> float:
    vectors = embedder.embed([left, right])
    return float(vectors[0] @ vectors[1])


def test_the_bundled_model_is_complete_and_undamaged() -> None:
    assert why_unavailable() is None
    verify_model()


def test_the_model_folder_stays_small() -> None:
    assert sum(file.stat().st_size for file in Path(MODEL_FOLDER).iterdir()) < 26_000_000


def test_load_embedder_gives_the_bundled_model() -> None:
    embedder = load_embedder()
    assert (embedder.model_id, embedder.dimensions) == ("all-MiniLM-L6-v2-q8", 384)
    assert embedder.embed(["x"]).shape == (1, embedder.dimensions)


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        # The fp32 model gives these, computed in plain numpy from the published weights.
        ("A man is eating food.", "A man is eating a piece of bread.", 0.7553),
        ("The production database listens on port 5432.", "Which port does Postgres use in prod?", 0.5072),
        ("She moved from Oslo to Bergen.", "The build fails on Windows since Monday.", -0.0298),
        ("Wir treffen uns am Dienstag.", "Die Sitzung ist am Dienstag.", 0.5422),
    ],
)
def test_similarities_are_those_of_the_unrounded_model(
    embedder: BundledEmbedder, left: str, right: str, expected: float
) -> None:
    assert cosine(embedder, left, right) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(
    ("text", "paraphrase", "unrelated"),
    [
        ("He prefers to work at night.", "The user likes late hours.", "The lighthouse was painted red."),
        ("Our login uses OAuth tokens.", "How do users authenticate?", "How do users export a report?"),
        ("The release slipped by a week.", "Shipping was delayed.", "Shipping is free above 50 euros."),
    ],
)
def test_a_paraphrase_is_closer_than_another_topic(
    embedder: BundledEmbedder, text: str, paraphrase: str, unrelated: str
) -> None:
    assert cosine(embedder, text, paraphrase) > cosine(embedder, text, unrelated)


def test_vectors_are_float32_of_length_one(embedder: BundledEmbedder) -> None:
    vectors = embedder.embed(TEXTS)
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(TEXTS), 384)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)


def test_no_texts_give_no_vectors(embedder: BundledEmbedder) -> None:
    assert embedder.embed([]).shape == (0, 384)


def test_a_text_has_the_same_vector_in_any_company_and_order(embedder: BundledEmbedder) -> None:
    together = embedder.embed(TEXTS)
    reversed_order = embedder.embed(TEXTS[::-1])[::-1]
    repeated = embedder.embed(TEXTS * 3)[len(TEXTS) : 2 * len(TEXTS)]
    alone = np.concatenate([embedder.embed([text]) for text in TEXTS])
    for other in (reversed_order, repeated, alone):
        assert np.sum(together * other, axis=1) == pytest.approx(1, abs=SAME)


def test_the_number_of_threads_does_not_change_a_vector(embedder: BundledEmbedder) -> None:
    one = BundledEmbedder(threads=1).embed(TEXTS)
    assert np.sum(one * embedder.embed(TEXTS), axis=1) == pytest.approx(1, abs=SAME)


def test_a_changed_result_does_not_change_the_remembered_query(embedder: BundledEmbedder) -> None:
    first = embedder.embed(["which port?"])
    before = first.copy()
    first[:] = 0
    assert np.array_equal(embedder.embed(["which port?"]), before)


def test_words_beyond_the_limit_are_not_read(embedder: BundledEmbedder) -> None:
    long = "alpha " * 254
    assert embedder.word_pieces(long) == 256
    assert cosine(embedder, long, long + "zebra " * 50) == pytest.approx(1, abs=SAME)
    assert cosine(embedder, long, "alpha " * 200 + "zebra " * 54) < 0.99


def test_a_text_of_megabytes_is_embedded_by_its_start(embedder: BundledEmbedder) -> None:
    assert cosine(embedder, "word " * 254, "word " * 2_000_000) == pytest.approx(1, abs=SAME)


def test_word_pieces_counts_the_whole_text_with_its_marks(embedder: BundledEmbedder) -> None:
    assert embedder.word_pieces("") == 2
    assert embedder.word_pieces("hello world") == 4
    assert embedder.word_pieces("hello " * 1000) == 1002


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \t\r\n",
        "\x00\x01\x7f",
        "lone surrogate \ud800 in the middle",
        "\u202e\u200b\u200d\ufeff",
        "e" + "\u0301" * 500,
        "👩\u200d👩\u200d👧\u200d👦 🏳️\u200d🌈 🚀",
        "שלום عليكم नमस्ते สวัสดี",
        "x" * 100_000,
        "\U0010ffff\ufffe",
    ],
)
def test_any_text_has_a_finite_vector_of_length_one(embedder: BundledEmbedder, text: str) -> None:
    vectors = embedder.embed([text, "plain company"])
    assert np.isfinite(vectors).all()
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)


def test_threads_embedding_at_once_get_the_vectors_of_one(embedder: BundledEmbedder) -> None:
    texts = TEXTS[:6]
    expected = embedder.embed(texts)
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: embedder.embed(texts), range(16)))
    for vectors in results:
        assert np.sum(vectors * expected, axis=1) == pytest.approx(1, abs=SAME)


@given(st.lists(st.integers(2, 256), max_size=80))
def test_batches_hold_each_text_once_and_stay_within_their_bounds(lengths: list[int]) -> None:
    made = list(batches(lengths))
    assert sorted(index for batch in made for index in batch) == list(range(len(lengths)))
    for batch in made:
        assert 1 <= len(batch) <= BATCH_TEXTS
        assert len(batch) * max(lengths[index] for index in batch) <= BATCH_WORD_PIECES


# --- another model on this machine


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of a model of one's own: a copy of the bundled one under another name."""
    copied = tmp_path_factory.mktemp("models") / "mine"
    shutil.copytree(MODEL_FOLDER, copied)
    (copied / "model.json").unlink()
    return copied


@pytest.mark.parametrize("name", ["", "model.onnx"])
def test_a_model_in_a_folder_embeds_like_the_bundled_one_does(
    folder: Path, name: str, embedder: BundledEmbedder
) -> None:
    mine, reason = open_embedder(load_settings(embedding_model=str(folder / name)))
    assert mine is not None, reason
    assert mine.dimensions == 384
    assert mine.model_id.startswith("mine/384/")
    # The longer ones are cut at 128 word pieces, as this tokenizer's file says.
    assert np.allclose(mine.embed(TEXTS[:6]), embedder.embed(TEXTS[:6]), atol=1e-5)


def test_vectors_of_a_network_that_does_not_pool_are_the_mean_over_its_word_pieces(folder: Path) -> None:
    class Network:
        """Answers with the number of each word piece, as encoders do that return their last hidden state."""

        fed: dict[str, Any]

        def get_inputs(self) -> list[SimpleNamespace]:
            return [SimpleNamespace(name=name) for name in ("input_ids", "attention_mask", "token_type_ids")]

        def run(self, _: None, feed: dict[str, Any]) -> list[Any]:
            self.fed = feed
            ones = np.ones_like(feed["input_ids"])
            return [np.stack([feed["input_ids"], ones], axis=2).astype(np.float32)]

    network = Network()
    vectors = LocalEmbedder(str(folder))._run(  # noqa: SLF001 - no such model is at hand offline
        network,
        np.array([[3, 5, 0]]),
        np.array([[1, 1, 0]]),
    )
    assert np.allclose(vectors, [[0.9701425, 0.2425356]])
    assert not network.fed["token_type_ids"].any()


@pytest.mark.parametrize("missing", ["model.onnx", "tokenizer.json"])
def test_a_folder_without_a_model_is_refused_with_what_it_lacks(tmp_path: Path, missing: str) -> None:
    for name in {"model.onnx", "tokenizer.json"} - {missing}:
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(InvalidInput, match=f"--embedding-model: there is no file .*{missing}") as raised:
        open_embedder(load_settings(embedding_model=str(tmp_path)))
    assert "nothing is downloaded" in raised.value.hint


def test_a_damaged_model_in_a_folder_leaves_recall_by_words(tmp_path: Path) -> None:
    for name in ("model.onnx", "tokenizer.json"):
        (tmp_path / name).write_bytes(b"no model")
    with Memory.open(str(tmp_path / "m.db"), embedding_model=str(tmp_path)) as memory:
        memory.remember("c", "k", {"content": "green tea"})
        answer = memory.recall("green tea")
    assert [hit.key for hit in answer.items] == ["k"]
    assert "cannot be loaded" in str(answer.degraded)
