"""A system check of lists of tenant models: whether an index serves each order and filter that clients can request.

Only lists whose queryset is an attribute of the view are checked, because ``get_queryset()`` may narrow the rows by
another column.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from django.apps import AppConfig
from django.core.checks import CheckMessage, Warning  # noqa: A004  # Django's name
from django.db import models
from django.db.models.expressions import F, OrderBy

from dovetail_core.inspection import base_paths, classes_of, declared, path_of, routes
from dovetail_tenancy.isolation.fields import TenantModel, organization_column

# Lookups of django-filter and operators of a view's ``contract`` that search an index. The others compare each row.
_EQUALITY: Final = {"eq", "exact", "in"}
_SEARCHES: Final = {*_EQUALITY, "lt", "lte", "gt", "gte", "range", "isnull"}
_ORDERING_FILTER: Final = "rest_framework.filters.OrderingFilter"
_DJANGO_FILTER: Final = "django_filters.rest_framework.backends.DjangoFilterBackend"
# PostgreSQL refuses rows whose indexed values exceed 2 704 bytes, and MariaDB indexes whose columns may exceed 3 072.
_MAX_CHARACTERS: Final = 600


def check_lists(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> Iterator[CheckMessage]:
    for cls, view in {view.cls: view for view in _list_views()}.items():
        queryset = declared(view, "queryset")
        model = queryset.model
        is_narrowed, key = _is_narrowed(queryset), model._meta.pk.name
        indexes, hashes = list(_indexes(model, partial=is_narrowed)), _hashed_columns(model)
        labels: list[str] = []
        missing: dict[str, list[str]] = {}  # by the column that is sorted or searched, so that one index serves both
        for label, order in () if is_narrowed else _orders(view, model):
            if order and not any(_has_order(index, order) for index in indexes):
                completed = [] if key in _names(order) else ["-" * order[-1].startswith("-") + key]
                missing.setdefault(_names(order)[0], [*order, *completed])
                labels.append(label)
        for label, name, by_equality in _filters(view, model):
            if not (by_equality and name in hashes) and not any(_finds(index, name, is_narrowed) for index in indexes):
                missing.setdefault(name, [name, f"-{key}"])
                labels.append(label)
        if labels:
            lines = (f"models.Index(fields={['organization', *columns]})" for columns in missing.values())
            yield Warning(
                f"{path_of(cls)} lists {model._meta.label} without an index for "
                f"{', '.join(labels)}: such a page reads all rows of the organization.",
                hint=f"Add to Meta.indexes of {model._meta.label}: {', '.join(lines)}.",
                obj=cls,
                id="dovetail_tenancy.W006",
            )


def _list_views() -> Iterator[Any]:
    """Yield the views of the URLconf, as ``as_view()`` returns them, that list a tenant model page by page."""
    from rest_framework.generics import GenericAPIView
    from rest_framework.mixins import ListModelMixin

    for view in (route.callback for route in routes()):
        cls: Any = getattr(view, "cls", object)
        actions = getattr(view, "actions", None)
        if not issubclass(cls, GenericAPIView) or not issubclass(cls, ListModelMixin):
            continue
        if (actions and "list" not in actions.values()) or cls.get_queryset is not GenericAPIView.get_queryset:
            continue
        model: Any = getattr(declared(view, "queryset"), "model", object)
        if declared(view, "pagination_class") is None or not issubclass(model, TenantModel):
            continue
        if model._meta.managed and organization_column(model).model is model:
            yield view


def _is_narrowed(queryset: models.QuerySet[Any]) -> bool:
    """Return whether the queryset has conditions of its own, so that other indexes may serve its orders."""
    default = queryset.model._default_manager.all().query
    return len(queryset.all().query.where.children) > len(default.where.children)


def _orders(view: Any, model: type[models.Model]) -> Iterator[tuple[str, list[str]]]:
    """Yield the orders that a request can have, each with its columns. Those that descend begin with ``-``."""
    orders = {"the default order": _default_order(view)}
    orders |= {f"sort={name}": [path] for name, path in _mapping(_contract(view).get("sort")).items()}
    if _has_backend(view, _ORDERING_FILTER):
        orders |= {f"ordering={name}": [name] for name in _mapping(declared(view, "ordering_fields"))}
    for label, order in orders.items():
        yield label, _columns(model, order)


def _columns(model: type[models.Model], order: Sequence[Any]) -> list[str]:
    """Return the columns that an index needs for this order, or nothing if none can serve it."""
    columns: list[str] = []
    for entry in order:
        field = _column(model, entry.lstrip("-")) if isinstance(entry, str) else None
        if field is None or _may_be_too_large(field):
            return []
        if not (columns and field.primary_key):  # at the end, it only orders rows with equal values
            columns.append("-" * entry.startswith("-") + field.name)
        if field.unique:
            break
    return columns


def _default_order(view: Any) -> Sequence[Any]:
    from dovetail_core.rest.pagination import KeysetPagination

    paginator, queryset = declared(view, "pagination_class"), declared(view, "queryset").all()
    by_key = isinstance(paginator, type) and issubclass(paginator, KeysetPagination)
    if by_key and paginator.paginate_queryset is KeysetPagination.paginate_queryset:
        return ["-pk"]
    order = declared(view, "ordering") if _has_backend(view, _ORDERING_FILTER) else None
    order = order or declared(paginator, "ordering") or queryset.query.order_by
    order = order or (queryset.query.default_ordering and queryset.model._meta.ordering) or (["-pk"] if by_key else [])
    return [order] if isinstance(order, str) else list(order)


def _has_backend(view: Any, path: str) -> bool:
    return any(path in base_paths(backend) for backend in classes_of(view, "filter_backends"))


def _filters(view: Any, model: type[models.Model]) -> Iterator[tuple[str, str, bool]]:
    """Yield the columns that a request can search, and whether only for equal values.

    Booleans have too few values for an index to help.
    """
    filters = [(f"filter[{name}]", name, entry) for name, entry in _mapping(_contract(view).get("filter")).items()]
    # django-filter ignores the fields beside a class.
    if _has_backend(view, _DJANGO_FILTER) and declared(view, "filterset_class") is None:
        filters += [(name, name, entry) for name, entry in _mapping(declared(view, "filterset_fields")).items()]
    for label, name, entry in filters:
        # Operators of a contract, with or without a path; lookups of django-filter; or the name alone, for equality.
        options: Mapping[str, Any] = (
            entry if isinstance(entry, Mapping) else {"operators": ["eq"] if isinstance(entry, str) else entry}
        )
        field = _column(model, options.get("path", name))
        if field is None or field.primary_key or isinstance(field, models.BooleanField) or _may_be_too_large(field):
            continue
        operators = options.get("operators", ["eq"])
        searches = _SEARCHES.intersection(operators if isinstance(operators, Iterable) else ())
        if searches:
            yield label, field.name, searches <= _EQUALITY


def _contract(view: Any) -> Mapping[str, Any]:
    contract = declared(view, "contract")
    return contract if isinstance(contract, Mapping) else {}


def _mapping(declaration: object) -> dict[str, Any]:
    """Return the names in a declaration and their options. Other checks report invalid entries, which are skipped."""
    entries: dict[str, Any] = {}
    for entry in declaration if isinstance(declaration, list | tuple | set | frozenset) else [declaration]:
        entries |= entry if isinstance(entry, Mapping) else {entry: entry} if isinstance(entry, str) else {}
    return entries


def _column(model: type[models.Model], path: object) -> models.Field[Any, Any] | None:
    """Return the field of the model's own table, or None for any other path."""
    if path == "pk":
        return model._meta.pk
    return next((field for field in model._meta.local_concrete_fields if path in (field.name, field.attname)), None)


def _may_be_too_large(field: models.Field[Any, Any]) -> bool:
    """Return whether a long value or an array might not fit in an index."""
    if isinstance(field, models.CharField):
        return field.max_length is None or field.max_length > _MAX_CHARACTERS
    return isinstance(field, models.TextField | models.JSONField | models.BinaryField) or hasattr(field, "base_field")


def _indexes(model: type[models.Model], *, partial: bool) -> Iterator[list[str]]:
    """Yield the columns of each index that has an order, by the names of their fields."""
    fields: Any = model._meta.local_fields
    yield from ([field.name] for field in fields if field.db_index or field.unique)
    for index in [*model._meta.constraints, *model._meta.indexes]:
        # Others, such as GIN, have no order.
        ordered = isinstance(index, models.UniqueConstraint) or getattr(index, "suffix", "") in ("idx", "btree")
        if ordered and (partial or index.condition is None):
            yield columns_of(model, index)
    yield from (list(group) for group in model._meta.unique_together)


def _hashed_columns(model: type[models.Model]) -> set[str]:
    hashes = [index for index in model._meta.indexes if index.suffix == "hash" and index.condition is None]
    return {columns[0] for index in hashes if len(columns := columns_of(model, index)) == 1}


def columns_of(model: type[models.Model], index: models.Index | models.BaseConstraint) -> list[str]:
    """Return the columns by which the index begins, by the names of their fields. Those that descend begin with ``-``.

    Without an expression that is not a column, and what follows it.
    """
    entries = getattr(index, "fields", ()) or _leading_columns(getattr(index, "expressions", ()))
    columns = []
    for entry in entries:
        field = _column(model, name := entry.removeprefix("-"))
        columns.append("-" * entry.startswith("-") + (field.name if field else name))
    return columns


def _leading_columns(expressions: Iterable[Any]) -> Iterator[str]:
    for expression in expressions:
        descending = isinstance(expression, OrderBy) and expression.descending
        column = expression.expression if isinstance(expression, OrderBy) else expression
        if not isinstance(column, F):
            return
        yield "-" * descending + column.name  # type: ignore[attr-defined]  # missing in django-stubs


def _finds(index: Sequence[str], name: str, is_narrowed: bool) -> bool:
    """Return whether the index finds rows by the column, which may follow the columns of the queryset's conditions."""
    names = _names(index)
    return names[:1] == [name] or (name in names if is_narrowed else names[:2] == ["organization", name])


def _has_order(index: Sequence[str], order: Sequence[str]) -> bool:
    if _names(index[:1]) != ["organization"]:
        return False
    columns = list(index[1 : len(order) + 1])
    # Databases read an index in both directions.
    return columns in (list(order), [name[1:] if name.startswith("-") else f"-{name}" for name in order])


def _names(columns: Iterable[str]) -> list[str]:
    return [column.removeprefix("-") for column in columns]
