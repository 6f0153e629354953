"""Where times and identifiers come from, so that tests can fix both."""

from __future__ import annotations

import os
import time
from typing import Protocol


class Clock(Protocol):
    """A source of the current time and of fresh identifiers."""

    def now_ms(self) -> int:
        """Return the current time in milliseconds since 1970 UTC."""

    def new_id(self, prefix: str, digits: int = 12) -> str:
        """Return ``prefix`` followed by ``digits`` random lowercase hex digits."""

    def new_ids(self, prefix: str, count: int) -> list[str]:
        """Return ``count`` fresh identifiers of 12 digits at once."""


class SystemClock:
    """The machine's wall clock and its random source."""

    def now_ms(self) -> int:
        """Return the current time in milliseconds since 1970 UTC."""
        return time.time_ns() // 1_000_000

    def new_id(self, prefix: str, digits: int = 12) -> str:
        """Return ``prefix`` followed by ``digits`` random lowercase hex digits."""
        return prefix + os.urandom((digits + 1) // 2).hex()[:digits]

    def new_ids(self, prefix: str, count: int) -> list[str]:
        """Return ``count`` fresh identifiers of 12 digits at once."""
        digits = os.urandom(6 * count).hex()
        return [prefix + digits[at : at + 12] for at in range(0, 12 * count, 12)]
