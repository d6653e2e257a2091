"""Rates as text: ``600/min``, as REST framework writes them."""

from __future__ import annotations

import re
from typing import Final

RATE_EXAMPLE: Final = "`600/min`"
_RATE: Final = re.compile(r"([1-9][0-9]{0,8})/(s|sec|second|m|min|minute|h|hour|d|day)")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_rate(rate: str) -> tuple[int, int] | None:
    """The number of requests and of seconds: ``(600, 60)`` for ``600/min``. None for text that is not a rate."""
    match = _RATE.fullmatch(rate)
    return (int(match[1]), _SECONDS[match[2][0]]) if match else None
