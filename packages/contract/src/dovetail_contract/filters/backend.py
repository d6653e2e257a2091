"""The filter backend. A view declares its filters and sort keys by public names; anything else is 400::

contract = {
    "filter": {"status": ["eq", "in"], "customer": ["eq"], "city": {"path": "address__city", "operators": ["eq"]}},
    "sort": ["created_at", {"city": "address__city"}],
}
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db.models import QuerySet
from rest_framework.filters import BaseFilterBackend
from rest_framework.request import Request
from rest_framework.settings import api_settings
from rest_framework.views import APIView

from dovetail_contract.conf import conf
from dovetail_contract.filters.operators import OPERATORS, Condition, Refused, condition
from dovetail_contract.problems.invalid_query import InvalidQuery, mistake

_FILTER = re.compile(r"filter\[(\w+)\](?:\[(\w+)\])?", re.ASCII)
_MAX_SORT_KEYS = 5
#: Longer than any indexed value, and short enough to parse.
_MAX_BYTES = 1024


class FilterBackend(BaseFilterBackend):
    """``filter[field]=v``, ``filter[field][operator]=v`` and ``sort=a,-b``, from the view's allow-lists.

    The response reports every mistake of the query at once: an unknown or repeated parameter, field, operator or sort
    key, a value of the wrong type. A filter by a foreign key compares its value, and does not look the row up: a key of
    another organization finds nothing, like a key that does not exist.
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
                except Refused as error:
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
            return [], [mistake("sort", f"At most {_MAX_SORT_KEYS} keys.", code="too_many")]
        seen: set[str] = set()
        for name in names:
            public = name.removeprefix("-")
            if public not in allowed:
                mistakes.append(
                    mistake("sort", f"{name[:100]!r} is no sort key.", code="unknown", allowed=sorted(allowed))
                )
            elif public in seen:
                mistakes.append(mistake("sort", f"{public!r} is given more than once.", code="repeated"))
            else:
                order.append(("-" if name.startswith("-") else "") + allowed[public])
            seen.add(public)
        return order, mistakes

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        """One typed parameter for each filter, and the allowed keys of ``sort``."""
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
                    "description": "Sort by these, the first one first; with `-` the largest come first. NULLs last.",
                    "schema": schema,
                }
            )
        return parameters


def _described_model(view: Any) -> Any:
    """The model of the list. Preferably from the serializer: the view's queryset may need a user, and there is none."""
    serializer = getattr(view, "serializer_class", None)
    if getattr(view, "queryset", None) is None and (model := getattr(getattr(serializer, "Meta", None), "model", None)):
        return model
    from drf_spectacular.plumbing import get_view_model

    return get_view_model(view)  # type: ignore[no-untyped-call]


def conditions(view: Any, model: Any) -> dict[str, Condition]:
    """Every filter that the view declares, by its parameter: ``filter[x]`` for ``eq``, else ``filter[x][operator]``."""
    declared_conditions: dict[str, Condition] = {}
    for name, declared in _mapping(_contract(view).get("filter", {})).items():
        path, operators = name, declared
        if isinstance(declared, Mapping):
            path, operators = declared.get("path", name), declared.get("operators", ["eq"])
        if unknown := sorted(set(operators) - set(OPERATORS)):
            who, allowed = getattr(view, "__name__", type(view).__name__), ", ".join(OPERATORS)
            raise ImproperlyConfigured(f"{who} filters {name} by {', '.join(unknown)}; the operators are: {allowed}.")
        for operator in operators:
            parameter = f"filter[{name}]" if operator == "eq" else f"filter[{name}][{operator}]"
            declared_conditions[parameter] = condition(model, parameter, path, operator)
    return declared_conditions


def sort_keys(view: Any) -> dict[str, str]:
    """The sort keys that the view declares, with their paths in the ORM."""
    return _mapping(_contract(view).get("sort", ()))


def _contract(view: Any) -> Mapping[str, Any]:
    return getattr(view, "contract", None) or {}


def _mapping(declared: Any) -> dict[str, Any]:
    if isinstance(declared, Mapping):
        return dict(declared)
    paths: dict[str, Any] = {}
    for entry in declared:
        paths.update(entry if isinstance(entry, Mapping) else {entry: entry})
    return paths


def _is_detail(view: Any) -> bool:
    detail = getattr(view, "detail", None)
    if detail is not None:
        return bool(detail)
    return (getattr(view, "lookup_url_kwarg", None) or getattr(view, "lookup_field", "pk")) in getattr(
        view, "kwargs", {}
    )


def _other_parameters(view: Any) -> set[str]:
    """The parameters of other filter backends, versioning and content negotiation."""
    return {"sort", *_contract(view).get("query", ()), *_project_parameters(view)}


def _project_parameters(view: Any) -> Iterator[str]:
    for backend in getattr(view, "filter_backends", ()):
        if not issubclass(backend, FilterBackend):
            yield from _described(view, backend())
    yield from filter(None, (api_settings.URL_FORMAT_OVERRIDE, api_settings.VERSION_PARAM))


def _described(view: Any, source: Any) -> Iterator[str]:
    describe = getattr(source, "get_schema_operation_parameters", None)
    if describe is not None:
        yield from (parameter["name"] for parameter in describe(view) if parameter.get("in", "query") == "query")


def _malformed(name: str, values: Sequence[str]) -> dict[str, Any] | None:
    if len(values) > 1:
        return mistake(name, "Given more than once.", code="repeated")
    if "\0" in values[0] or "\0" in name:
        return mistake(name, "NUL is no text.", code="invalid")
    if len(values[0].encode(errors="replace")) > _MAX_BYTES:
        return mistake(name, f"Longer than {_MAX_BYTES} bytes.", code="too_long")
    return None


def _unknown(name: str, declared: Mapping[str, Condition]) -> dict[str, Any]:
    if not name.startswith("filter"):
        return mistake(name, "Unknown parameter.", code="unknown")
    parsed = _FILTER.fullmatch(name)
    if parsed is None:
        return mistake(
            name, "Filters read filter[field] or filter[field][operator].", code="malformed", allowed=sorted(declared)
        )
    same = sorted(each for each in declared if each.startswith(f"filter[{parsed[1]}]"))
    what = "Unknown operator." if same else "Unknown field."
    return mistake(name, what, code="unknown", allowed=same or sorted(declared))
