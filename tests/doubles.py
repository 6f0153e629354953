"""Stand-ins for what is not ours: the machine's clock and the language model."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

START_MS = 1_750_000_000_000
DAY_MS = 86_400_000

_WORD = re.compile(r"\w+")


class FixedClock:
    """A clock that stands still until it is told to go on, and counts its identifiers."""

    def __init__(self, now_ms: int = START_MS) -> None:
        self._lock = threading.Lock()
        self._now_ms = now_ms
        self.next_id = 1

    def now_ms(self) -> int:
        with self._lock:
            return self._now_ms

    def new_id(self, prefix: str, digits: int = 12) -> str:
        with self._lock:
            number = self.next_id
            self.next_id += 1
        return f"{prefix}{number:0{digits}x}"

    def new_ids(self, prefix: str, count: int, digits: int = 12) -> list[str]:
        return [self.new_id(prefix, digits) for _ in range(count)]

    def advance(self, milliseconds: int = 1) -> int:
        """Let time pass and return the new present."""
        with self._lock:
            self._now_ms += milliseconds
            return self._now_ms


class WordEmbedder:
    """Vectors that are sums of one random direction per word: texts that share words are near, on every machine."""

    def __init__(self, model_id: str = "words-64", dimensions: int = 64) -> None:
        self._model_id = model_id
        self._dimensions = dimensions
        self._lock = threading.Lock()
        self.embedded: list[str] = []

    @property
    def model_id(self) -> str:
        return self._model_id

    @property
    def dimensions(self) -> int:
        return self._dimensions

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        with self._lock:
            self.embedded.extend(texts)
        vectors = np.zeros((len(texts), self._dimensions), np.float32)
        for place, text in enumerate(texts):
            for word in _WORD.findall(text.lower()) or [""]:
                vectors[place] += self._direction(word)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors

    def _direction(self, word: str) -> NDArray[np.float32]:
        digest = hashlib.sha256(f"{self._model_id}:{word}".encode("utf-8", "surrogatepass")).digest()
        bits = np.unpackbits(np.frombuffer(digest, np.uint8))[: self._dimensions]
        return bits.astype(np.float32) * 2.0 - 1.0
