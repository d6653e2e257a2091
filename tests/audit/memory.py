"""The memory of Python objects that a call needs."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable


def peak(call: Callable[[], object]) -> int:
    """Return the most bytes that were allocated at the same time during the call and not before it."""
    gc.collect()
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
