from __future__ import annotations

from typing import Any

from dovetail_tenancy.contrib.tasks import tenant_task
from tests.tenancy.worker.seen import what_is_seen


@tenant_task
def see() -> str:
    return what_is_seen()


@tenant_task(takes_context=True)
def see_with_context(context: Any, given: str) -> list[Any]:
    return [context.attempt, given, what_is_seen()]


@tenant_task
async def see_async(*, given: str) -> list[str]:
    return [given, what_is_seen()]
