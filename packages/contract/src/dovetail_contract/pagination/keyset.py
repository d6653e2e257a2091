"""Keyset pagination: a page starts at the values of the last row, and costs the same at any depth.

A list is ordered by keys that end in a unique one. "After this row" is then a sequence of index ranges. Each range is a
query of its own, executed only while the page is not full. They are not joined by OR, for which no database uses the
index (measured on 600 000 rows: 30 203 buffers for a page in the middle, against 55 for a row comparison).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from django.core.exceptions import FieldDoesNotExist, ImproperlyConfigured
from django.db.models import BooleanField, Expression, F, Field, Model, OrderBy, Q, QuerySet, Value
from django.db.models.constants import LOOKUP_SEP
from django.db.models.lookups import Exact, GreaterThan, GreaterThanOrEqual, LessThan, LessThanOrEqual


@dataclass(frozen=True, slots=True)
class Key:
    """One column of the order. ``path`` is the path of the ORM, ``name`` the attribute of a row with the value."""

    path: str
    name: str
    descending: bool
    nullable: bool
    field: Field[Any, Any] | None = None
    unique: bool = False

    def order(self, *, backward: bool) -> OrderBy:
        # NULLs are last in every forward order, so first in every backward one. A column without NULLs gets no such
        # clause: it would keep PostgreSQL from using an index.
        options: dict[str, Any] = {"nulls_first" if backward else "nulls_last": True} if self.nullable else {}
        return OrderBy(F(self.path), descending=self.descending != backward, **options)

    def value(self, row: Any) -> Any:
        return row[self.name] if isinstance(row, dict) else getattr(row, self.name)


class RowComparison(Expression):
    """``(a, b) > (x, y)``, which every supported database supports."""

    output_field = BooleanField()
    conditional = True

    def __init__(self, keys: Sequence[Key], operator: str, values: Sequence[Any]) -> None:
        super().__init__()
        self.operator = operator
        self.columns: list[Any] = [F(key.path) for key in keys]
        self.values: list[Any] = [Value(value, output_field=key.field) for key, value in zip(keys, values, strict=True)]

    def get_source_expressions(self) -> list[Any]:
        return [*self.columns, *self.values]

    def set_source_expressions(self, exprs: Sequence[Any]) -> None:
        half = len(exprs) // 2
        self.columns, self.values = list(exprs[:half]), list(exprs[half:])

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        sides, params = [], []
        for side in (self.columns, self.values):
            compiled = [compiler.compile(expression) for expression in side]
            sides.append(", ".join(sql for sql, _ in compiled))
            params += [param for _, values in compiled for param in values]
        return f"({sides[0]}) {self.operator} ({sides[1]})", tuple(params)


@dataclass(frozen=True, slots=True)
class Position:
    """The position of a page: after the row with these values of the keys; with that row if ``inclusive``."""

    values: tuple[Any, ...]
    backward: bool = False
    inclusive: bool = False


def keys(queryset: QuerySet[Any]) -> tuple[QuerySet[Any], list[Key]]:
    """The queryset with every key on its rows, and its order, made total by the primary key.

    Raises ``ImproperlyConfigured`` for an order without column values: random, or an expression.
    """
    query, model = queryset.query, queryset.model
    ordering = query.order_by or ((model._meta.ordering or ()) if query.default_ordering else ())
    backward = not query.standard_ordering  # reverse() changes this flag and not the entries
    queryset = queryset.reverse() if backward else queryset
    order: list[Key] = []
    for entry in ordering:
        key = _key(queryset, entry, backward=backward)
        if LOOKUP_SEP in key.path:
            name = f"_key_{len(order)}"
            queryset = queryset.annotate(**{name: F(key.path)})
            key = replace(key, path=name, name=name)
        if all(key.path != other.path for other in order):
            order.append(key)
        if key.unique and not key.nullable:
            return queryset, order
    # In the direction of the last key, so that one index serves the whole order. Without other keys, the newest first.
    descending = order[-1].descending if order else True
    primary = model._meta.pk
    order.append(Key(primary.attname, primary.attname, descending, nullable=False, field=primary))
    return queryset, order


def page(
    queryset: QuerySet[Any], order: Sequence[Key], position: Position | None, limit: int, *, skipped: int = 0
) -> list[Any]:
    """Up to ``limit`` rows from ``position``, in its direction; or the rows after the first ``skipped``, in one query
    that reads those too.
    """
    backward = position is not None and position.backward
    rows: list[Any] = []
    if skipped:
        ordered = queryset.order_by(*(key.order(backward=False) for key in order))
        return list(ordered[skipped : skipped + limit])
    for condition in _ranges(order, position):
        ordered = queryset.filter(*condition).order_by(*(key.order(backward=backward) for key in order))
        rows += ordered[: limit - len(rows)]
        if len(rows) >= limit:
            break
    return rows


Condition = list[Any]


def _ranges(order: Sequence[Key], position: Position | None) -> Iterator[Condition]:
    """Conditions whose rows, in sequence, are all rows from ``position`` on."""
    if position is None:
        yield from _halves(order[0])
        return
    yield from _after(_runs(order), list(position.values), position, [])


def _halves(first: Key) -> Iterator[Condition]:
    """Rows with a value in the first key, and rows without: each part is in the order of a plain index."""
    if not first.nullable:
        yield []
        return
    yield [Q(**{f"{first.path}__isnull": False})]
    yield [Q(**{f"{first.path}__isnull": True})]


def _runs(order: Sequence[Key]) -> list[list[Key]]:
    """Groups of keys for one row comparison: in one direction, with NULLs in the first key at most."""
    runs: list[list[Key]] = []
    for key in order:
        if runs and not key.nullable and runs[-1][0].descending == key.descending:
            runs[-1].append(key)
        else:
            runs.append([key])
    return runs


def _after(runs: list[list[Key]], values: list[Any], position: Position, prefix: Condition) -> Iterator[Condition]:
    run, rest = runs[0], runs[1:]
    first = run[0]
    if values[0] is None:
        # NULLs are last: forward, only NULLs follow; backward, all rows with a value.
        remaining = [run[1:], *rest] if run[1:] else rest
        yield from _after(remaining, values[1:], position, [*prefix, Q(**{f"{first.path}__isnull": True})])
        if position.backward:
            yield [*prefix, Q(**{f"{first.path}__isnull": False})]
        return
    current, remaining_values = values[: len(run)], values[len(run) :]
    if rest:
        same = [_lookup(key, "=", value) for key, value in zip(run, current, strict=True)]
        yield from _after(rest, remaining_values, position, [*prefix, *same])
    descending = first.descending != position.backward
    operator = ("<" if descending else ">") + ("=" if position.inclusive and not rest else "")
    yield [*prefix, *_compared(run, operator, current)]
    if first.nullable and not position.backward:
        yield [*prefix, Q(**{f"{first.path}__isnull": True})]


def _compared(run: Sequence[Key], operator: str, values: Sequence[Any]) -> Condition:
    """The row comparison, with the condition that it implies for its first column. With the comparison alone, MariaDB
    reads an index from its beginning (measured: 15 052 rows for a page in the middle, against 52)."""
    first = _lookup(run[0], operator if len(run) == 1 else f"{operator[0]}=", values[0])
    return [first] if len(run) == 1 else [first, RowComparison(run, operator, values)]


def _lookup(key: Key, operator: str, value: Any) -> Any:
    lookups = {"=": Exact, "<": LessThan, "<=": LessThanOrEqual, ">": GreaterThan, ">=": GreaterThanOrEqual}
    return lookups[operator](F(key.path), Value(value, output_field=key.field))


def _key(queryset: QuerySet[Any], entry: Any, *, backward: bool) -> Key:
    path, descending = _parsed(entry)
    descending = descending != backward
    if path in queryset.query.annotations:
        return Key(path, path, descending, nullable=True, field=_output_field(queryset.query.annotations[path]))
    model: type[Model] = queryset.model
    nullable = False
    *relations, last = path.split(LOOKUP_SEP)
    try:
        for name in relations:
            relation = cast("Any", model._meta.get_field(name))
            nullable = nullable or relation.null or not relation.concrete
            model = relation.related_model
        field = cast("Any", model._meta.pk if last == "pk" else model._meta.get_field(last))
    except (FieldDoesNotExist, AttributeError) as error:
        raise ImproperlyConfigured(
            f"Cannot page by {path!r}: {queryset.model._meta.label} has no such column."
        ) from error
    # A foreign key sorts by its own value, and not by the ordering of the other model as in order_by().
    path = LOOKUP_SEP.join([*relations, field.attname])
    return Key(
        path=path,
        name=path,
        descending=descending,
        nullable=nullable or field.null,
        field=getattr(field, "target_field", field),
        unique=field.unique and not relations,
    )


def _parsed(entry: Any) -> tuple[str, bool]:
    expression: Any = entry
    descending = False
    if isinstance(expression, OrderBy):
        descending, expression = expression.descending, expression.expression
    if isinstance(expression, F):
        expression = expression.name  # type: ignore[attr-defined]  # missing in django-stubs
    if not isinstance(expression, str) or expression == "?":
        raise ImproperlyConfigured(
            f"Cannot page by {entry!r}: pages need an order by columns. Annotate the expression, and order by its name."
        )
    return expression.lstrip("-+"), descending != expression.startswith("-")


def _output_field(annotation: Any) -> Field[Any, Any] | None:
    return getattr(annotation, "output_field", None)
