"""Text to vectors: what an embedder is, and how to get one.

Importing this module loads neither numpy nor the model runtime.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol

from mimir.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from mimir.config import Settings

__all__ = ["Embedder", "load_embedder", "open_embedder", "why_unavailable"]

RUNTIME = ("numpy", "onnxruntime", "tokenizers")
MODEL_FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "model")
MODEL_FILES = ("model.json", "model.onnx", "weights.bin", "tokenizer.json")
RESTORE = "pip install --force-reinstall mimir-local"


class Embedder(Protocol):
    """Turns texts into vectors whose dot product is their similarity in meaning.

    ``model_id`` names the vector space: vectors of different models are never compared. Each of the three raises
    Unavailable when the model cannot be loaded or reached.
    """

    @property
    def model_id(self) -> str:
        """Return the name that is stored with each vector."""

    @property
    def dimensions(self) -> int:
        """Return the length of a vector."""

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one vector of length 1 per text, in shape (len(texts), dimensions)."""


def why_unavailable() -> str | None:
    """Return why the bundled embedder cannot work, in one sentence, or None when it can."""
    missing = [name for name in RUNTIME if not _installed(name)]
    if missing:
        names = " ".join(missing)
        return f"search by meaning needs {' and '.join(missing)}; install with: pip install {names}"
    for name in MODEL_FILES:
        path = os.path.join(MODEL_FOLDER, name)
        if not os.path.isfile(path):
            return f"a file of the bundled model is missing, {path}; bring it back with: {RESTORE}"
    return None


def load_embedder(*, threads: int | None = None) -> Embedder:
    """Return the bundled embedder; its model is read at the first text.

    Threads is how many cores one batch may use; None chooses.

    Raises:
        Unavailable: the model or its runtime is not installed.
    """
    from mimir.embedding.bundled import BundledEmbedder

    return BundledEmbedder(threads=threads)


def open_embedder(settings: Settings) -> tuple[Embedder | None, str]:
    """Return the embedder that the settings name, or None and why there is none, in words.

    An endpoint wins over a model on this machine, and that over the bundled one. Nothing is loaded or asked yet.

    Raises:
        InvalidInput: the endpoint is no HTTP address, the key can be none, or there is no model where one is named.
    """
    if settings.embedding == "off":
        return None, "embedding is switched off"
    if settings.embedding_endpoint:
        from mimir.embedding.remote import open_remote

        try:
            return open_remote(settings), ""
        except Unavailable as error:
            return None, error.message.rstrip(".")
    reason = why_unavailable()
    if reason is not None:
        return None, reason
    if settings.embedding_model:
        from mimir.embedding.bundled import LocalEmbedder

        return LocalEmbedder(settings.embedding_model), ""
    return load_embedder(), ""


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False
