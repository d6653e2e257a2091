"""Helpers for tests of sockets. Synchronous code runs in the thread that has the test's database connection."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from asgiref.sync import async_to_sync, sync_to_async

from dovetail_notify.realtime.socket_authentication import issue_ticket
from dovetail_notify.testing import NotificationSocket
from tests import asynchronous  # noqa: F401  # closes connections that requests open in their threads


def run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async_to_sync(work)()


async def call(function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
    return await sync_to_async(function)(*arguments, **keywords)


async def open_socket(user: Any, **ticket: Any) -> NotificationSocket:
    return NotificationSocket(await call(issue_ticket, user=user, **ticket))
