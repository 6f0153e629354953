"""The bundled embedder: all-MiniLM-L6-v2 in 8 bit on onnxruntime, offline, on the CPU."""

from __future__ import annotations

import functools
import os
import threading
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from mimir.config import expand, forbid_telemetry
from mimir.embedding import MODEL_FOLDER, RESTORE, why_unavailable
from mimir.errors import InvalidInput, StorageFailure, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from onnxruntime import InferenceSession, SessionOptions
    from tokenizers import Tokenizer

__all__ = ["BundledEmbedder", "LocalEmbedder", "verify_model"]

MODEL_FILE = "model.onnx"
TOKENIZER_FILE = "tokenizer.json"
REINSTALL = f"Install again: {RESTORE}"

BATCH_TEXTS = 8
BATCH_WORD_PIECES = 256
"""Larger batches are no faster; padded word pieces bound the memory that one needs."""

READ_CHARACTERS = 20_000
"""The tokenizer reads a text to its end before it is cut, so the rest of a huge one is left out."""

CACHED_QUERIES = 256

LOCAL_WORD_PIECES = 256
"""How much of a text a model on this machine reads when its tokenizer does not say."""


class ModelDescription(msgspec.Struct, frozen=True, kw_only=True):
    """What the model folder says about itself."""

    model_id: str
    dimensions: int
    max_word_pieces: int
    sha256: dict[str, str]


class LoadedModel(NamedTuple):
    """Tokenizer and network, ready to run by several threads at once; how much the tokenizer's file lets them read."""

    tokenizer: Tokenizer
    session: InferenceSession
    word_pieces: int


class BundledEmbedder:
    """Embeds with the model that comes with this package.

    The model is read at the first text and shared by all instances with the same number of
    threads. The vector of a text does not depend on the texts embedded with it.
    """

    def __init__(self, *, threads: int | None = None) -> None:
        reason = why_unavailable()
        if reason is not None:
            raise Unavailable(f"The bundled embedder cannot work: {reason}", hint="Search by keyword works without it.")
        self._path = os.path.join(MODEL_FOLDER, MODEL_FILE)
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

        tokenizer, session, _ = self._model()
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
            vectors[batch] = self._run(session, input_ids, attention_mask)
        return vectors

    def _run(
        self, session: InferenceSession, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        (vectors,) = session.run(None, {"input_ids": input_ids, "attention_mask": attention_mask})
        return vectors  # type: ignore[no-any-return]  # the runtime ships no types

    def _model(self) -> LoadedModel:
        with _loading:
            return load_model(self._path, self._threads)


class LocalEmbedder(BundledEmbedder):
    """Embeds with another model of the same kind that lies on this machine: an ONNX file, tokenizer.json beside it.

    Its vectors are pooled by their mean when the network does not pool them itself. The model's id holds its sha256,
    so that another file under the same name is another model.
    """

    def __init__(self, path: str, *, threads: int | None = None) -> None:
        path = os.path.abspath(expand(path))
        file = path if path.endswith(".onnx") else os.path.join(path, MODEL_FILE)
        for needed in (file, os.path.join(os.path.dirname(file), TOKENIZER_FILE)):
            if not os.path.isfile(needed):
                raise InvalidInput(
                    f"--embedding-model: there is no file {needed}.",
                    hint="Name a folder with model.onnx and tokenizer.json, or the ONNX file in it; nothing is"
                    " downloaded. For a model at a service set --embedding-endpoint too.",
                )
        self._path = file
        self._threads = threads or default_threads()
        self._embed_query = functools.lru_cache(maxsize=CACHED_QUERIES)(self._embed_one)

    @functools.cached_property
    def _description(self) -> ModelDescription:  # type: ignore[override]  # read when it is first needed
        import hashlib

        _, session, limit = self._model()
        with open(self._path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        dimensions = session.get_outputs()[0].shape[-1]
        if not isinstance(dimensions, int):
            raise Unavailable(
                f"{self._path} does not say how long its vectors are.",
                hint="Export the model with a fixed hidden size.",
            )
        name = os.path.basename(os.path.dirname(self._path))
        return ModelDescription(
            model_id=f"{name}/{dimensions}/{digest[:12]}", dimensions=dimensions, max_word_pieces=limit, sha256={}
        )

    def _run(
        self, session: InferenceSession, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        import numpy as np

        feed = {"input_ids": input_ids, "attention_mask": attention_mask, "token_type_ids": np.zeros_like(input_ids)}
        taken = {one.name for one in session.get_inputs()}
        output = session.run(None, {name: value for name, value in feed.items() if name in taken})[0]
        if output.ndim == 3:  # noqa: PLR2004 - a vector for each word piece
            output = (output * attention_mask[:, :, None]).sum(axis=1)
        normalised: NDArray[np.float32] = output / np.linalg.norm(output, axis=1, keepdims=True)
        return normalised


_loading = threading.Lock()


@functools.cache
def load_model(path: str, threads: int) -> LoadedModel:
    """Read a network and the tokenizer beside it; call with the loading lock held, so that it happens once.

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
        tokenizer = tokenizers.Tokenizer.from_file(os.path.join(os.path.dirname(path), TOKENIZER_FILE))
        session = onnxruntime.InferenceSession(path, session_options(threads), providers=["CPUExecutionProvider"])
    except Exception as error:
        bundled = path.startswith(MODEL_FOLDER)
        raise Unavailable(
            f"The {'bundled ' * bundled}model in {os.path.dirname(path)} cannot be loaded: {error}",
            hint=REINSTALL if bundled else "Name another with --embedding-model.",
        ) from error
    limit = (tokenizer.truncation or {}).get("max_length", LOCAL_WORD_PIECES)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return LoadedModel(tokenizer, session, limit)


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
