"""Text to vectors: what an embedder is, and how to get one.

Importing this module loads neither numpy nor the model runtime.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Embedder", "load_embedder", "why_unavailable"]

RUNTIME = ("numpy", "onnxruntime", "tokenizers")
MODEL_FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "model")
MODEL_FILES = ("model.json", "model.onnx", "weights.bin", "tokenizer.json")
RESTORE = "pip install --force-reinstall mimir-local"


class Embedder(Protocol):
    """Turns texts into vectors whose dot product is their similarity in meaning.

    ``model_id`` names the vector space: vectors of different models are never compared.
    """

    @property
    def model_id(self) -> str:
        """Return the name that is stored with each vector."""

    @property
    def dimensions(self) -> int:
        """Return the length of a vector."""

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one vector of length 1 per text, in shape (len(texts), dimensions).

        Raises:
            Unavailable: the model cannot be loaded.
        """


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


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False
