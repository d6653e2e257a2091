from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from asgiref.sync import sync_to_async
from django.db import connections

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """``asyncio.run`` that leaves no database connection behind in the thread where Django's synchronous code ran."""

    async def main() -> T:
        try:
            return await work
        finally:
            await sync_to_async(connections.close_all)()

    return asyncio.run(main())
