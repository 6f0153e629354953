"""How many examples an attack tries: few by default, many when `python -m tests.attack.fuzz` asks for them."""

from __future__ import annotations

import os
from typing import Final

from hypothesis import settings

FACTOR_VARIABLE: Final = "ATTACK_FACTOR"


def effort(examples: int) -> settings:
    """Return settings for that many examples, always the same; or for many times as many that are drawn anew."""
    factor = int(os.environ.get(FACTOR_VARIABLE, "1"))
    return settings(max_examples=examples * factor, derandomize=factor == 1)
