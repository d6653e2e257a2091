"""State of this process: the hubs that listen to messages, its identity for the channel layer, and counters."""

from __future__ import annotations

import os
from asyncio import AbstractEventLoop
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

Message = dict[str, Any]


@dataclass(slots=True)
class Statistics:
    """Messages from this process to others since it started, for its metrics."""

    relayed: int = 0
    failures: int = 0
    dropped: int = 0


statistics = Statistics()

#: The hubs of this process, one per event loop.
listeners: dict[AbstractEventLoop, Callable[[Message], None]] = {}

_id: tuple[int, str] = (0, "")


def process_id() -> str:
    """Return an id by which this process recognizes its own messages. It changes after a fork."""
    global _id
    if _id[0] != os.getpid():
        _id = (os.getpid(), uuid4().hex)
    return _id[1]
