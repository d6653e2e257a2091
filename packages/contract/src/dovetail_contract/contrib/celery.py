"""The context of a request goes along with the tasks that it starts, from the web process to the worker's logs.

In the module of your Celery application, which every process imports::

    from dovetail_contract.contrib import celery

    celery.install()
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from celery import signals

from dovetail_contract.correlation import bound, caller
from dovetail_core import context
from dovetail_core.fields import uuid7

HEADER = "dovetail_context"
_KEEP = "_dovetail_context"


def install() -> None:
    """Connect the signals. Safe to call again."""
    for signal, receiver in (
        (signals.before_task_publish, _publish),
        (signals.task_prerun, _enter),
        (signals.task_postrun, _leave),
    ):
        signal.connect(receiver, dispatch_uid=f"dovetail_contract.{receiver.__name__}", weak=False)


def _publish(headers: dict[str, Any] | None = None, **_: Any) -> None:
    if headers is None:
        return
    # As text, for keys may be UUIDs, which not every serializer of a broker knows.
    by = caller()
    headers[HEADER] = {
        "request_id": context.request_id(),
        "organization_id": by.organization_id,
        "principal": by.principal_id,
        "api_key": by.api_key,
    }


def _enter(task: Any = None, **_: Any) -> None:
    if task.request.is_eager:
        return  # inside the request that started it, whose context it has
    # Under Celery's message protocol 2 a header of ours is an attribute of the request.
    given = getattr(task.request, HEADER, None) or {}
    stack = ExitStack()
    stack.enter_context(
        context.bind(
            request_id=given.get("request_id") or uuid7().hex,
            organization_id=given.get("organization_id"),
            principal=given.get("principal"),
        )
    )
    stack.enter_context(bound(api_key=given.get("api_key")))
    setattr(task.request, _KEEP, stack)


def _leave(task: Any = None, **_: Any) -> None:
    stack = getattr(task.request, _KEEP, None)
    if stack is not None:
        stack.close()
