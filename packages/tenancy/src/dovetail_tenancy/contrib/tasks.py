"""Tasks of Django 6.0 and later that run for the organization they were enqueued for, on any backend."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import fields
from typing import Any, overload

try:
    from django.tasks import Task, task
except ModuleNotFoundError as error:
    raise ImportError(
        "Tasks require Django 6.0. Upgrade Django, or use Celery with dovetail_tenancy.contrib.celery.TenantTask."
    ) from error

from dovetail_tenancy.isolation.scope import dump_current_organization, organization_scope, run_within

ARGUMENT = "dovetail_organization"
"""The keyword argument that carries the key, because every backend stores arguments. The function does not get it."""


class _Enqueued:
    __slots__ = ()

    def enqueue(self, *args: Any, **kwargs: Any) -> Any:
        kwargs[ARGUMENT] = dump_current_organization()
        return super().enqueue(*args, **kwargs)  # type: ignore[misc]  # Task's

    async def aenqueue(self, *args: Any, **kwargs: Any) -> Any:
        kwargs[ARGUMENT] = dump_current_organization()
        return await super().aenqueue(*args, **kwargs)  # type: ignore[misc]  # Task's


class TenantTask(_Enqueued, Task):  # type: ignore[type-arg]  # not generic at run time
    """The task that ``tenant_task`` creates. Enqueued without an organization, it runs without one in any worker."""

    __slots__ = ()


@overload
def tenant_task(function: Callable[..., Any]) -> TenantTask: ...
@overload
def tenant_task(function: None = None, **options: Any) -> Callable[[Callable[..., Any]], TenantTask]: ...
def tenant_task(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Decorate a function that reads or writes an organization's rows, like ``django.tasks.task`` with its options.

    A task never inherits ``unscoped``. A task that needs the rows of all organizations uses it itself. Called directly
    (``task.call()``), the task is a plain function in the caller's scope.
    """
    if function is None:
        return lambda decorated: _make(decorated, options)
    return _make(function, options)


def _make(function: Callable[..., Any], options: dict[str, Any]) -> Any:
    plain = task(**options)(run_within(_pop_scope, function))
    values = {field.name: getattr(plain, field.name) for field in fields(plain)}
    kind: Any = type(plain)
    return _class_for(kind)(**values)


@functools.cache
def _class_for(task_class: type) -> Any:
    # A backend may have its own task class.
    return TenantTask if task_class is Task else type("TenantTask", (_Enqueued, task_class), {"__slots__": ()})


def _pop_scope(kwargs: dict[str, Any]) -> AbstractContextManager[object]:
    """Remove the organization from the arguments and return its scope. A direct call has none."""
    return organization_scope(kwargs.pop(ARGUMENT)) if ARGUMENT in kwargs else nullcontext()
