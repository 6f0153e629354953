"""An embedding model over HTTP: Ollama's /api/embed or an OpenAI-compatible /v1/embeddings."""

from __future__ import annotations

import functools
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from mimir.endpoint import ATTEMPTS, Endpoint, open_endpoint
from mimir.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from mimir.config import Settings

DEFAULT_MODEL: Final = "nomic-embed-text"
OPENAI_PATH: Final = "/embeddings"
OLLAMA_PATH: Final = "/api/embed"

BATCH_TEXTS: Final = 32
LONGEST_TEXT_CHARACTERS: Final = 8_000
"""A longer text is cut: services refuse what exceeds their context, often 8,192 tokens."""

CACHED_QUERIES: Final = 256
QUERY_TIMEOUT_S: Final = 10.0
"""Longest time that a single text, which is a question that someone waits for, may take."""

FIRST_REST_S: Final = 15.0
LONGEST_REST_S: Final = 300.0
"""How long a service that failed is left alone, doubled with each further failure: meanwhile recall goes by words at
once in place of waiting each time."""


class RemoteEmbedder:
    """Embeds with the model at an endpoint.

    The number of dimensions is what the service answers with; it is part of the model's id, so that two models of one
    name are told apart.
    """

    def __init__(self, endpoint: Endpoint, *, rest_s: float = FIRST_REST_S) -> None:
        self._endpoint = endpoint
        self._dimensions = 0
        self._lock = threading.Lock()
        self._failure: Unavailable | None = None
        self._rests_until = 0.0
        self._first_rest_s = self._rest_s = rest_s
        self._embed_query = functools.lru_cache(maxsize=CACHED_QUERIES)(self._embed_one)

    @property
    def model_id(self) -> str:
        """Return the name that is stored with each vector.

        Raises:
            Unavailable: the service has not answered yet and does not now.
        """
        return f"{self._endpoint.model}/{self.dimensions}"

    @property
    def dimensions(self) -> int:
        """Return the length of a vector.

        Raises:
            Unavailable: the service has not answered yet and does not now.
        """
        if not self._dimensions:
            self._embed_query("dimensions")
        return self._dimensions

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one vector of length 1 per text, in shape (len(texts), dimensions).

        A single text is taken for a query: it gets less time, no second attempt, and its vector is remembered.

        Raises:
            Unavailable: the service cannot be reached, takes too long, answers something else, or failed a moment ago.
        """
        import numpy as np

        # An empty text is refused by some services, and a lone surrogate is no text to any.
        sent = [text[:LONGEST_TEXT_CHARACTERS].encode("utf-8", "replace").decode() or " " for text in texts]
        if len(sent) == 1:
            return self._embed_query(sent[0]).copy()
        batches = [sent[start : start + BATCH_TEXTS] for start in range(0, len(sent), BATCH_TEXTS)]
        rows = [self._ask(batch, self._endpoint.timeout_s, ATTEMPTS) for batch in batches]
        return np.concatenate(rows) if rows else np.empty((0, self.dimensions), np.float32)

    def _embed_one(self, text: str) -> NDArray[np.float32]:
        return self._ask([text], min(QUERY_TIMEOUT_S, self._endpoint.timeout_s), 1)

    def _ask(self, texts: Sequence[str], timeout_s: float, attempts: int) -> NDArray[np.float32]:
        self._check_rest()
        try:
            body = {"model": self._endpoint.model, "input": list(texts)}
            vectors = self._read(self._endpoint.post(body, timeout_s=timeout_s, attempts=attempts), len(texts))
        except Unavailable as error:
            with self._lock:
                self._failure = error
                self._rests_until = time.monotonic() + self._rest_s
                self._rest_s = min(2 * self._rest_s, LONGEST_REST_S)
            raise
        with self._lock:
            self._failure, self._rest_s = None, self._first_rest_s
        return vectors

    def _check_rest(self) -> None:
        with self._lock:
            left = self._rests_until - time.monotonic()
            if self._failure is not None and left > 0:
                raise Unavailable(
                    f"{self._failure.message} It is asked again in {left:.0f} s.", hint=self._failure.hint
                )

    def _read(self, reply: dict[str, Any], count: int) -> NDArray[np.float32]:
        """Return the vectors of a reply.

        Raises:
            Unavailable: they are not one per text, no numbers, without a direction, or of another length than before.
        """
        import numpy as np

        listed = _listed(reply)
        try:
            vectors = np.array(listed, np.float32)
        except (TypeError, ValueError, OverflowError):
            vectors = np.empty(0, np.float32)
        if vectors.ndim != 2 or len(vectors) != count or vectors.shape[1] == 0:  # noqa: PLR2004 - a table
            raise self._endpoint.failure(f"the reply does not hold one vector for each of {count} texts")
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        if not np.isfinite(lengths).all() or not lengths.all():
            raise self._endpoint.failure("the reply holds a vector without a direction")
        with self._lock:
            self._dimensions = self._dimensions or vectors.shape[1]
        if vectors.shape[1] != self._dimensions:
            raise self._endpoint.failure(
                f"the vectors have {vectors.shape[1]} numbers and had {self._dimensions} before: it is another model",
                f"Start again, so that vectors of the other model are made anew. Name one with"
                f" --embedding-model in place of {self._endpoint.model}, if that is not wanted.",
            )
        normalised: NDArray[np.float32] = vectors / lengths
        return normalised


def open_remote(settings: Settings) -> RemoteEmbedder:
    """Return the embedder at the endpoint of the settings; nothing is sent yet.

    Raises:
        Unavailable: the settings say offline.
        InvalidInput: the endpoint is no HTTP address, or the key can be none.
    """
    endpoint = open_endpoint(settings, "embedding", OPENAI_PATH, OLLAMA_PATH, (OPENAI_PATH, OLLAMA_PATH))
    return RemoteEmbedder(endpoint._replace(model=endpoint.model or DEFAULT_MODEL))


def _listed(reply: dict[str, Any]) -> object:
    """Return what should be the list of vectors in a reply of either protocol, in the order of the texts."""
    if "embeddings" in reply:
        return reply["embeddings"]
    try:
        rows = sorted(reply["data"], key=lambda row: int(row.get("index", 0)))
        return [row["embedding"] for row in rows]
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
