"""Tasks of Django 6.0 and later that run for the organization they were enqueued for, on any backend."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import fields
from typing import Any, overload

try:
    from django.tasks import Task, task
except ModuleNotFoundError as error:
    raise ImportError(
        "Django's tasks came with Django 6.0, and this is an earlier one. Upgrade Django, or run background work by "
        "Celery with dovetail_tenancy.contrib.celery.TenantTask."
    ) from error

from dovetail_tenancy.isolation.background import dump_current_organization, organization_scope

ARGUMENT = "dovetail_organization"
"""The keyword argument that carries the key: every backend stores arguments. The function does not receive it."""


class _Enqueued:
    __slots__ = ()

    def enqueue(self, *args: Any, **kwargs: Any) -> Any:
        return super().enqueue(*args, **{**kwargs, ARGUMENT: dump_current_organization()})  # type: ignore[misc]  # Task's

    async def aenqueue(self, *args: Any, **kwargs: Any) -> Any:
        return await super().aenqueue(  # type: ignore[misc]  # Task's
            *args, **{**kwargs, ARGUMENT: dump_current_organization()}
        )


class TenantTask(_Enqueued, Task):  # type: ignore[type-arg]  # not generic at run time
    """The task that ``tenant_task`` creates. Enqueued without an organization, it runs without one in any worker."""

    __slots__ = ()


@overload
def tenant_task(function: Callable[..., Any]) -> TenantTask: ...
@overload
def tenant_task(function: None = None, **options: Any) -> Callable[[Callable[..., Any]], TenantTask]: ...
def tenant_task(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """``django.tasks.task`` for a function that reads or writes an organization's rows; takes the same options.

    ``unscoped`` is never inherited: a task that needs every organization's rows uses it itself. Called directly
    (``task.call()``) the task is a plain function in the caller's scope.
    """
    if function is None:
        return lambda decorated: _make(decorated, options)
    return _make(function, options)


def _make(function: Callable[..., Any], options: dict[str, Any]) -> Any:
    plain = task(**options)(_in_enqueued_organization(function))
    values = {field.name: getattr(plain, field.name) for field in fields(plain)}
    kind: Any = type(plain)
    return _class_for(kind)(**values)


@functools.cache
def _class_for(task_class: Any) -> Any:
    # A backend may have its own task class.
    return TenantTask if task_class is Task else type("TenantTask", (_Enqueued, task_class), {"__slots__": ()})


def _in_enqueued_organization(function: Callable[..., Any]) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def run_async(*args: Any, **kwargs: Any) -> Any:
            if ARGUMENT not in kwargs:
                return await function(*args, **kwargs)
            with organization_scope(kwargs.pop(ARGUMENT)):
                return await function(*args, **kwargs)

        return run_async

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        if ARGUMENT not in kwargs:
            return function(*args, **kwargs)
        with organization_scope(kwargs.pop(ARGUMENT)):
            return function(*args, **kwargs)

    return run
