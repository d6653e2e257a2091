"""``REST_FRAMEWORK = {"DEFAULT_FILTER_BACKENDS": ["dovetail_contract.filters.FilterBackend"]}``

A view declares its filters and sort keys by public names; anything else is 400::

contract = {
    "filter": {"status": ["eq", "in"], "customer": ["eq"], "city": {"path": "address__city", "operators": ["eq"]}},
    "sort": ["created_at", {"city": "address__city"}],
}
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured
from django.db.models import Model, QuerySet
from django.utils.translation import gettext as _
from rest_framework.filters import BaseFilterBackend
from rest_framework.request import Request
from rest_framework.settings import api_settings

from dovetail_contract.conf import conf, contract_of
from dovetail_contract.filters.operators import OPERATORS, Condition, InvalidValue, condition
from dovetail_contract.problems.builder import InvalidQuery, mistake

if TYPE_CHECKING:
    # Not at run time: rest_framework.views imports the default classes, and so this module.
    from rest_framework.views import APIView

_FILTER = re.compile(r"filter\[(\w+)\](?:\[(\w+)\])?", re.ASCII)
_MAX_SORT_KEYS = 5
# Longer than any indexed value, and short enough to parse.
_MAX_BYTES = 1024


class FilterBackend(BaseFilterBackend):
    """``filter[field]=v``, ``filter[field][operator]=v`` and ``sort=a,-b``, from the view's allow-lists.

    One response reports all mistakes of the query: unknown or repeated parameters, fields, operators and sort keys, and
    values of the wrong type. A filter on a foreign key compares its value without looking up the row, so a key of
    another organization matches nothing, like a key that does not exist.
    """

    def filter_queryset(self, request: Request, queryset: QuerySet[Any], view: APIView) -> QuerySet[Any]:
        if _is_detail(view):
            return queryset
        declared = conditions(view, queryset.model)
        order, mistakes = self._sort(request, view)
        page_parameters = set(_described(view, getattr(view, "paginator", None)))
        for name, values in request.query_params.lists():
            if name in page_parameters:
                continue  # validated by the paginator
            if malformed := _malformed(name, values):
                mistakes.append(malformed)
            elif name in declared:
                try:
                    queryset = declared[name].apply(queryset, values[0])
                except InvalidValue as error:
                    mistakes.append(mistake(name, str(error), code=error.code, allowed=error.allowed))
            elif name.startswith("filter") or (
                name not in _other_parameters(view) and conf.UNKNOWN_PARAMETERS == "reject"
            ):
                mistakes.append(_unknown(name, declared))
        if mistakes:
            raise InvalidQuery(mistakes)
        return queryset.order_by(*order) if order else queryset

    def _sort(self, request: Request, view: APIView) -> tuple[list[str], list[dict[str, Any]]]:
        text = request.query_params.get("sort")
        if text is None:
            return [], []
        allowed, order, mistakes = sort_keys(view), [], []
        names = text.split(",")
        if len(names) > _MAX_SORT_KEYS:
            detail = _("Must have at most %(maximum)d values.") % {"maximum": _MAX_SORT_KEYS}
            return [], [mistake("sort", detail, code="too_many")]
        seen: set[str] = set()
        for name in names:
            public = name.removeprefix("-")
            if public not in allowed:
                detail = _("'%(name)s' is not a sort key.") % {"name": name[:100]}
                mistakes.append(mistake("sort", detail, code="unknown", allowed=sorted(allowed)))
            elif public in seen:
                detail = _("'%(name)s' is repeated.") % {"name": public}
                mistakes.append(mistake("sort", detail, code="repeated"))
            else:
                order.append(("-" if name.startswith("-") else "") + allowed[public])
            seen.add(public)
        return order, mistakes

    def get_schema_operation_parameters(self, view: APIView) -> list[dict[str, Any]]:
        if _is_detail(view):
            return []
        model = _described_model(view)
        parameters = [] if model is None else [entry.parameter() for entry in conditions(view, model).values()]
        if keys := sort_keys(view):
            items = {"type": "string", "enum": [f"{sign}{key}" for key in keys for sign in ("", "-")]}
            schema = {"type": "array", "items": items, "maxItems": min(_MAX_SORT_KEYS, len(keys)), "uniqueItems": True}
            parameters.append(
                {
                    "name": "sort",
                    "in": "query",
                    "required": False,
                    "style": "form",
                    "explode": False,
                    "description": "Sort keys, most significant first. `-` sorts in descending order. NULLs come last.",
                    "schema": schema,
                }
            )
        return parameters


def _described_model(view: APIView) -> type[Model] | None:
    # Preferably from the serializer: get_queryset() may need a user, which the generator does not have.
    serializer = getattr(view, "serializer_class", None)
    model: type[Model] | None = getattr(getattr(serializer, "Meta", None), "model", None)
    if getattr(view, "queryset", None) is None and model:
        return model
    from drf_spectacular.plumbing import get_view_model

    return get_view_model(view)  # type: ignore[no-untyped-call,no-any-return]


def conditions(view: object, model: type[Model]) -> dict[str, Condition]:
    """Return the view's filters by parameter: ``filter[x]`` for ``eq``, else ``filter[x][operator]``."""
    declared_conditions: dict[str, Condition] = {}
    for name, declared in _mapping(contract_of(view).get("filter", {})).items():
        path, operators = name, declared
        if isinstance(declared, Mapping):
            path, operators = declared.get("path", name), declared.get("operators", ["eq"])
        if unknown := sorted(set(operators) - set(OPERATORS)):
            label, allowed = getattr(view, "__name__", type(view).__name__), ", ".join(OPERATORS)
            raise ImproperlyConfigured(
                f"The filter {name!r} of {label} has unknown operators: {', '.join(unknown)}. Use one of: {allowed}."
            )
        for operator in operators:
            parameter = f"filter[{name}]" if operator == "eq" else f"filter[{name}][{operator}]"
            declared_conditions[parameter] = condition(model, parameter, path, operator)
    return declared_conditions


def sort_keys(view: APIView) -> dict[str, str]:
    return _mapping(contract_of(view).get("sort", ()))


def _mapping(declared: Mapping[str, Any] | Iterable[str | Mapping[str, str]]) -> dict[str, Any]:
    if isinstance(declared, Mapping):
        return dict(declared)
    paths: dict[str, Any] = {}
    for entry in declared:
        paths.update(entry if isinstance(entry, Mapping) else {entry: entry})
    return paths


def _is_detail(view: APIView) -> bool:
    detail = getattr(view, "detail", None)
    if detail is not None:
        return bool(detail)
    return (getattr(view, "lookup_url_kwarg", None) or getattr(view, "lookup_field", "pk")) in getattr(
        view, "kwargs", {}
    )


def _other_parameters(view: APIView) -> set[str]:
    names = {"sort", *contract_of(view).get("query", ()), api_settings.URL_FORMAT_OVERRIDE, api_settings.VERSION_PARAM}
    for backend in getattr(view, "filter_backends", ()):
        if not issubclass(backend, FilterBackend):
            names.update(_described(view, backend()))
    return names


def _described(view: APIView, source: object) -> Iterator[str]:
    describe = getattr(source, "get_schema_operation_parameters", None)
    if describe is not None:
        yield from (parameter["name"] for parameter in describe(view) if parameter.get("in", "query") == "query")


def _malformed(name: str, values: Sequence[str]) -> dict[str, Any] | None:
    if len(values) > 1:
        return mistake(name, _("This parameter is repeated."), code="repeated")
    if "\0" in values[0] or "\0" in name:
        return mistake(name, _("Must not contain NUL characters."), code="invalid")
    if len(values[0].encode(errors="replace")) > _MAX_BYTES:
        return mistake(name, _("Must have at most %(maximum)d bytes.") % {"maximum": _MAX_BYTES}, code="too_long")
    return None


def _unknown(name: str, declared: Mapping[str, Condition]) -> dict[str, Any]:
    if not name.startswith("filter"):
        return mistake(name, _("Unknown parameter."), code="unknown")
    parsed = _FILTER.fullmatch(name)
    if parsed is None:
        detail = _("Filters have the form filter[field] or filter[field][operator].")
        return mistake(name, detail, code="malformed", allowed=sorted(declared))
    same_field = sorted(parameter for parameter in declared if parameter.startswith(f"filter[{parsed[1]}]"))
    detail = _("Unknown operator.") if same_field else _("Unknown field.")
    return mistake(name, detail, code="unknown", allowed=same_field or sorted(declared))
