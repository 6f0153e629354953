"""The bundled embedder: all-MiniLM-L6-v2 in 8 bit on onnxruntime, offline, on the CPU."""

from __future__ import annotations

import functools
import os
import threading
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from mimir.config import forbid_telemetry
from mimir.embedding import MODEL_FOLDER, RESTORE, why_unavailable
from mimir.errors import StorageFailure, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from onnxruntime import InferenceSession, SessionOptions
    from tokenizers import Tokenizer

__all__ = ["BundledEmbedder", "verify_model"]

MODEL_FILE = "model.onnx"
TOKENIZER_FILE = "tokenizer.json"
REINSTALL = f"Install again: {RESTORE}"

BATCH_TEXTS = 8
BATCH_WORD_PIECES = 256
"""Larger batches are no faster; padded word pieces bound the memory that one needs."""

READ_CHARACTERS = 20_000
"""The tokenizer reads a text to its end before it is cut, so the rest of a huge one is left out."""

CACHED_QUERIES = 256


class ModelDescription(msgspec.Struct, frozen=True, kw_only=True):
    """What the model folder says about itself."""

    model_id: str
    dimensions: int
    max_word_pieces: int
    sha256: dict[str, str]


class LoadedModel(NamedTuple):
    """Tokenizer and network, ready to run; both may be used by several threads at once."""

    tokenizer: Tokenizer
    session: InferenceSession


class BundledEmbedder:
    """Embeds with the model that comes with this package.

    The model is read at the first text and shared by all instances with the same number of
    threads. The vector of a text does not depend on the texts embedded with it.
    """

    def __init__(self, *, threads: int | None = None) -> None:
        reason = why_unavailable()
        if reason is not None:
            raise Unavailable(f"The bundled embedder cannot work: {reason}", hint="Search by keyword works without it.")
        self._description = read_description()
        self._threads = threads or default_threads()
        self._embed_query = functools.lru_cache(maxsize=CACHED_QUERIES)(self._embed_one)

    @property
    def model_id(self) -> str:
        """Return the name that is stored with each vector."""
        return self._description.model_id

    @property
    def dimensions(self) -> int:
        """Return the length of a vector."""
        return self._description.dimensions

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one vector of length 1 per text, in shape (len(texts), dimensions).

        A text is read up to 256 word pieces. A single text is taken for a query: its vector is
        remembered.

        Raises:
            Unavailable: the model cannot be loaded.
        """
        read = [text[:READ_CHARACTERS] for text in texts]
        return self._embed_query(*read).copy() if len(read) == 1 else self._embed_many(read)

    def word_pieces(self, text: str) -> int:
        """Return how many word pieces text has, start and end marks included, before any cut.

        Raises:
            Unavailable: the model cannot be loaded.
        """
        return len(encode(self._model().tokenizer, text))

    def _embed_one(self, text: str) -> NDArray[np.float32]:
        return self._embed_many([text])

    def _embed_many(self, texts: Sequence[str]) -> NDArray[np.float32]:
        import numpy as np

        tokenizer, session = self._model()
        limit = self._description.max_word_pieces
        pieces = [cut(encode(tokenizer, text), limit) for text in texts]
        vectors = np.empty((len(texts), self.dimensions), np.float32)
        for batch in batches([len(ids) for ids in pieces]):
            length = max(len(pieces[index]) for index in batch)
            input_ids = np.zeros((len(batch), length), np.int64)
            attention_mask = np.zeros_like(input_ids)
            for row, index in enumerate(batch):
                input_ids[row, : len(pieces[index])] = pieces[index]
                attention_mask[row, : len(pieces[index])] = 1
            feed = {"input_ids": input_ids, "attention_mask": attention_mask}
            (vectors[batch],) = session.run(None, feed)
        return vectors

    def _model(self) -> LoadedModel:
        with _loading:
            return load_model(self._threads)


_loading = threading.Lock()


@functools.cache
def load_model(threads: int) -> LoadedModel:
    """Read tokenizer and network; call with the loading lock held, so that it happens once.

    Raises:
        Unavailable: a file is missing or the runtime refuses the model.
    """
    # The runtime queues usage data in the home folder from its import on, unless told not to.
    forbid_telemetry()
    try:
        import onnxruntime
        import tokenizers
    except ImportError as error:
        raise Unavailable(
            f"The model runtime is installed but cannot be loaded: {error}",
            hint="Install again: pip install --force-reinstall onnxruntime tokenizers",
        ) from error

    onnxruntime.disable_telemetry_events()
    try:
        tokenizer = tokenizers.Tokenizer.from_file(os.path.join(MODEL_FOLDER, TOKENIZER_FILE))
        session = onnxruntime.InferenceSession(
            os.path.join(MODEL_FOLDER, MODEL_FILE),
            session_options(threads),
            providers=["CPUExecutionProvider"],
        )
    except Exception as error:
        raise Unavailable(f"The bundled model in {MODEL_FOLDER} cannot be loaded: {error}", hint=REINSTALL) from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return LoadedModel(tokenizer, session)


def session_options(threads: int) -> SessionOptions:
    """Return how the model is run: fp32 arithmetic, little memory, quiet, idle when it waits."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    # Unfolds the 8 bit weights once, at load. Left alone, newer runtimes multiply in int8: the
    # vectors then depend on the processor, and without VNNI a text takes twice as long.
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    # An arena would keep the peak of the largest batch for good.
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    # Waiting threads would burn the cores that other processes on the same store need.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def encode(tokenizer: Tokenizer, text: str) -> list[int]:
    """Return the word pieces of text, start and end marks included; a lone surrogate counts as ?.

    Texts are encoded one by one: encode_batch starts a thread pool that survives no fork.
    """
    return tokenizer.encode(text.encode("utf-8", "replace").decode("utf-8")).ids


def cut(word_pieces: list[int], limit: int) -> list[int]:
    """Shorten a text to limit word pieces, keeping its end mark."""
    return word_pieces if len(word_pieces) <= limit else [*word_pieces[: limit - 1], word_pieces[-1]]


def read_description() -> ModelDescription:
    """Read model.json.

    Raises:
        Unavailable: it is missing or malformed.
    """
    path = os.path.join(MODEL_FOLDER, "model.json")
    try:
        with open(path, "rb") as file:
            return msgspec.json.decode(file.read(), type=ModelDescription)
    except (OSError, msgspec.DecodeError) as error:
        raise Unavailable(f"The bundled model cannot be read: {error}", hint=REINSTALL) from error


def verify_model() -> None:
    """Check that each file of the bundled model has the hash it was built with.

    Raises:
        StorageFailure: a file differs.
        Unavailable: a file is missing.
    """
    import hashlib

    for name, expected in read_description().sha256.items():
        path = os.path.join(MODEL_FOLDER, name)
        try:
            with open(path, "rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise Unavailable(f"The bundled model cannot be read: {error}", hint=REINSTALL) from error
        if found != expected:
            raise StorageFailure(f"{path} is damaged: its sha256 is {found}, expected {expected}", hint=REINSTALL)


def default_threads() -> int:
    """Return how many cores to use for one batch: at most two, other processes need theirs."""
    return min(2, os.cpu_count() or 1)


def batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Group indexes of similar length, at most 8 texts and 256 padded word pieces a batch."""
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and (len(batch) == BATCH_TEXTS or (len(batch) + 1) * lengths[index] > BATCH_WORD_PIECES):
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch
