"""``REST_FRAMEWORK = {"DEFAULT_FILTER_BACKENDS": ["dovetail_contract.filters.FilterBackend"]}``

A view says what may be asked, in public names; all else is 400::

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
from dovetail_contract.operators import OPERATORS, Condition, Refused, condition
from dovetail_contract.queries import InvalidQuery, mistake

_FILTER = re.compile(r"filter\[(\w+)\](?:\[(\w+)\])?", re.ASCII)
_MAX_SORT_KEYS = 5
#: Longer than any value that an index holds, and short enough to be looked at.
_MAX_BYTES = 1024


class FilterBackend(BaseFilterBackend):
    """``filter[field]=v``, ``filter[field][operator]=v`` and ``sort=a,-b``, from the view's allow-lists.

    Every mistake of the query is reported at once: an unknown or repeated parameter, field, operator or sort key, a
    value of the wrong type. Filters by a foreign key take its value as it is and never ask whether the row exists:
    another organization's key finds nothing, as one that was made up does.
    """

    def filter_queryset(self, request: Request, queryset: QuerySet[Any], view: APIView) -> QuerySet[Any]:
        if _is_detail(view):
            return queryset
        declared = conditions(view, queryset)
        order, mistakes = self._sort(request, view)
        of_pages = set(_described(view, getattr(view, "paginator", None)))
        for name, values in request.query_params.lists():
            if name in of_pages:
                continue  # the paginator's own to judge
            if found := _malformed(name, values):
                mistakes.append(found)
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
        given = request.query_params.get("sort")
        if given is None:
            return [], []
        allowed, order, mistakes = sort_keys(view), [], []
        names = given.split(",")
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
        queryset = getattr(view, "queryset", None)
        queryset = view.get_queryset() if queryset is None else queryset
        found = [each.parameter() for each in conditions(view, queryset).values()]
        if keys := sort_keys(view):
            items = {"type": "string", "enum": [f"{sign}{key}" for key in keys for sign in ("", "-")]}
            schema = {"type": "array", "items": items, "maxItems": min(_MAX_SORT_KEYS, len(keys)), "uniqueItems": True}
            found.append(
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
        return found


def conditions(view: Any, queryset: QuerySet[Any]) -> dict[str, Condition]:
    """Every parameter that the view declares, by its name in the query: ``filter[x]`` and ``filter[x][eq]`` alike."""
    found: dict[str, Condition] = {}
    model: Any = queryset.model
    for name, declared in _mapping(_contract(view).get("filter", {})).items():
        path, operators = name, declared
        if isinstance(declared, Mapping):
            path, operators = declared.get("path", name), declared.get("operators", ["eq"])
        if unknown := sorted(set(operators) - set(OPERATORS)):
            who, allowed = getattr(view, "__name__", type(view).__name__), ", ".join(OPERATORS)
            raise ImproperlyConfigured(f"{who} filters {name} by {', '.join(unknown)}; the operators are: {allowed}.")
        for operator in operators:
            parameter = f"filter[{name}]" if operator == "eq" else f"filter[{name}][{operator}]"
            found[parameter] = condition(model, parameter, path, operator)
    return found


def sort_keys(view: Any) -> dict[str, str]:
    """The allowed sort keys, each with the ORM's path."""
    return _mapping(_contract(view).get("sort", ()))


def _contract(view: Any) -> Mapping[str, Any]:
    return getattr(view, "contract", None) or {}


def _mapping(declared: Any) -> dict[str, Any]:
    if isinstance(declared, Mapping):
        return dict(declared)
    found: dict[str, Any] = {}
    for entry in declared:
        found.update(entry if isinstance(entry, Mapping) else {entry: entry})
    return found


def _is_detail(view: Any) -> bool:
    detail = getattr(view, "detail", None)
    if detail is not None:
        return bool(detail)
    return (getattr(view, "lookup_url_kwarg", None) or getattr(view, "lookup_field", "pk")) in getattr(
        view, "kwargs", {}
    )


def _other_parameters(view: Any) -> set[str]:
    """What other filter backends, versioning and content negotiation take."""
    return {"sort", *_contract(view).get("query", ()), *_of_the_project(view)}


def _of_the_project(view: Any) -> Iterator[str]:
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
