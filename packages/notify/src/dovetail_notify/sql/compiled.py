"""The queries of the inbox and of preferences, which the ORM compiles once (see ``dovetail_core.sql``).

Compiling the same SQL again takes a quarter of the time of an inbox page, and nine tenths of that of a notification.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from itertools import count
from typing import Any, Final

from django.db import router
from django.db.models import Manager, Model, QuerySet

from dovetail_core.sql import CompiledQuery, Placeholder, compiled

_SINGLE: Final = "single"


def fetch(
    model: type[Model],
    build: Callable[..., QuerySet[Any]],
    constants: tuple[Hashable, ...],
    values: Sequence[tuple[str, Any]],
    *,
    read: Callable[[CompiledQuery, Sequence[Any]], list[Any]] = CompiledQuery.rows,
    using: str | None = None,
) -> list[Any]:
    """Return the rows of ``build(*constants, *values)``, which must return a ``values_list()``. Runs one query.

    Each of ``values`` is a pair of a field name and a value of that field. The value may be a single value, a tuple of
    any length, or None, which selects another condition. Pass ``CompiledQuery.instances`` as ``read`` for instances.
    """
    arguments = [value for _, value in values]
    # A project's own default manager may select different rows for each request.
    if type(model._default_manager) is not Manager:
        return list(build(*constants, *arguments).using(using))
    shape: list[tuple[str, int | str | None]] = []
    parameters: list[Any] = []
    for name, value in values:
        if value is None:
            shape.append((name, None))
        elif isinstance(value, tuple):
            shape.append((name, len(value)))
            parameters += value
        else:
            shape.append((name, _SINGLE))
            parameters.append(value)
    alias = using or router.db_for_read(model)
    query = compiled(_with_placeholders, model, build, constants, tuple(shape), using=alias)
    return read(query, parameters)


def _with_placeholders(
    model: type[Model],
    build: Callable[..., QuerySet[Any]],
    constants: tuple[Hashable, ...],
    shape: tuple[tuple[str, int | str | None], ...],
) -> QuerySet[Any]:
    """Build the queryset with placeholders in place of the values. Their names are positions in ``parameters``."""
    arguments: list[Placeholder | tuple[Placeholder, ...] | None] = []
    positions = count()
    for name, length in shape:
        field: Any = model._meta.pk if name == "pk" else model._meta.get_field(name)
        if isinstance(length, int):
            arguments.append(tuple(Placeholder(next(positions), field) for _ in range(length)))
        else:
            arguments.append(None if length is None else Placeholder(next(positions), field))
    return build(*constants, *arguments)
