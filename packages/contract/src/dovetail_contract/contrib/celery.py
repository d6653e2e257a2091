"""Passes the context of a request to the tasks that it starts, for the logs of the workers.

In the module of your Celery application, which every process imports::

    from dovetail_contract.contrib import celery

    celery.install()
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from celery import signals

from dovetail_contract.correlation.callers import bound, caller
from dovetail_core import context
from dovetail_core.models import uuid7

HEADER = "dovetail_context"
_STACK = "_dovetail_context"


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
    # As text: primary keys may be UUIDs, which not every serializer of Celery supports.
    sender = caller()
    headers[HEADER] = {
        "request_id": context.request_id(),
        "organization_id": sender.organization_id,
        "principal": sender.principal_id,
        "api_key": sender.api_key,
    }


def _enter(task: Any = None, **_: Any) -> None:
    if task.request.is_eager:
        return  # runs inside its request, with the context of the request
    # With Celery's message protocol 2, a custom header is an attribute of the request.
    headers = getattr(task.request, HEADER, None) or {}
    stack = ExitStack()
    stack.enter_context(
        context.bind(
            request_id=headers.get("request_id") or uuid7().hex,
            organization_id=headers.get("organization_id"),
            principal=headers.get("principal"),
        )
    )
    stack.enter_context(bound(api_key=headers.get("api_key")))
    setattr(task.request, _STACK, stack)


def _leave(task: Any = None, **_: Any) -> None:
    stack = getattr(task.request, _STACK, None)
    if stack is not None:
        stack.close()
