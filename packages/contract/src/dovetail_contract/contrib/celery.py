"""Passes the context of a request to the tasks that it starts, for the logs of workers.

Add to the module of your Celery application, which every process imports::

    from dovetail_contract.contrib import celery

    celery.install()
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from celery import Task, signals

from dovetail_contract.correlation import bind_caller, caller
from dovetail_core import context
from dovetail_core.models import uuid7

HEADER = "dovetail_context"
_STACK = "_dovetail_context"


def install() -> None:
    """Connect the signals. Calling it again has no effect."""
    for signal, receiver in (
        (signals.before_task_publish, _publish),
        (signals.task_prerun, _enter),
        (signals.task_postrun, _leave),
    ):
        signal.connect(receiver, dispatch_uid=f"dovetail_contract.{receiver.__name__}", weak=False)


def _publish(headers: dict[str, Any] | None = None, **_: Any) -> None:
    if headers is None:
        return
    # The ids are strings, because not every serializer of Celery supports UUIDs.
    sender = caller()
    headers[HEADER] = {
        "request_id": context.request_id(),
        "organization_id": sender.organization_id,
        "principal": sender.principal_id,
        "api_key": sender.api_key,
    }


def _enter(task: Task[Any, Any], **_: Any) -> None:
    if task.request.is_eager:
        return  # an eager task runs in the context of its request
    # In Celery's message protocol 2, custom headers are attributes of the task's request.
    headers = getattr(task.request, HEADER, None) or {}
    stack = ExitStack()
    stack.enter_context(
        context.bind(
            request_id=headers.get("request_id") or uuid7().hex,
            organization_id=headers.get("organization_id"),
            principal=headers.get("principal"),
        )
    )
    stack.enter_context(bind_caller(api_key=headers.get("api_key")))
    setattr(task.request, _STACK, stack)


def _leave(task: Task[Any, Any], **_: Any) -> None:
    stack = getattr(task.request, _STACK, None)
    if stack is not None:
        stack.close()
