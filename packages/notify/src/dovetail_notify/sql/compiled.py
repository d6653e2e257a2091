"""The queries of the inbox and of preferences, which the ORM compiles once (see ``dovetail_core.sql``).

Building and compiling the query of an inbox page takes a quarter of the page's time, and that of a notification nine
tenths, with the same SQL text every time.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
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
    """Return the rows of ``build(*constants, *values)``, which must be a ``values_list()``. One query.

    For instances of the model, ``read`` is ``CompiledQuery.instances``. Each of ``values`` is a pair: the name of the
    field that it is compared with, and the value. The value may be None, which selects another condition, a single
    value, or a tuple of any length.
    """
    arguments = [value for _, value in values]
    # A project's own default manager may select other rows for each request, so its queries are not compiled once.
    if type(model._default_manager) is not Manager:
        return list(build(*constants, *arguments).using(using))
    shape = tuple((name, _length(value)) for name, value in values)
    query = compiled(_with_placeholders, model, build, constants, shape, using=using or router.db_for_read(model))
    return read(query, _flat(arguments))


def _length(value: Any) -> int | str | None:
    if value is None:
        return None
    return len(value) if isinstance(value, tuple) else _SINGLE


def _flat(values: Sequence[Any]) -> list[Any]:
    groups = (value if isinstance(value, tuple) else (value,) for value in values if value is not None)
    return [value for group in groups for value in group]


def _with_placeholders(
    model: type[Model],
    build: Callable[..., QuerySet[Any]],
    constants: tuple[Hashable, ...],
    shape: tuple[tuple[str, int | str | None], ...],
) -> QuerySet[Any]:
    """Build the queryset with placeholders in place of the values; their names are positions in ``_flat(values)``."""
    arguments: list[Any] = []
    position = 0
    for name, length in shape:
        if length is None:
            arguments.append(None)
            continue
        field: Any = model._meta.pk if name == "pk" else model._meta.get_field(name)
        number = length if isinstance(length, int) else 1
        placeholders = tuple(Placeholder(index, field) for index in range(position, position + number))
        arguments.append(placeholders if isinstance(length, int) else placeholders[0])
        position += number
    return build(*constants, *arguments)
