"""The filters and the search of a list: ``filter[is_active]=true`` and ``search=ada``."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError as InvalidValue
from django.db.models import BooleanField, Field, Model, Q
from django.utils.translation import gettext as _
from rest_framework.exceptions import ValidationError
from rest_framework.filters import BaseFilterBackend
from rest_framework.request import Request

#: Characters of a search. Fewer would match too many rows.
SHORTEST = 2


class ResourceFilter(BaseFilterBackend):
    """Unknown and repeated filters are 400, so that a mistyped one does not return all rows."""

    def filter_queryset(self, request: Request, queryset: Any, view: Any) -> Any:
        resource = view.resource
        for parameter, values in request.query_params.lists():
            if parameter == "search" or parameter.startswith("filter"):
                if len(values) > 1:
                    raise _invalid(parameter, _("This parameter must not be repeated."))
                if parameter == "search":
                    queryset = queryset.filter(_search(resource.search, values[0]))
                else:
                    name = _name(parameter, resource.filters)
                    queryset = queryset.filter(**{name: _value(queryset.model, name, parameter, values[0])})
        return queryset

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        if getattr(view, "action", None) != "list" or view.related is not None:
            return []
        names = [f"filter[{name}]" for name in view.resource.filters]
        if view.resource.search:
            names.append("search")
        schema = {"type": "string"}
        return [{"name": name, "in": "query", "required": False, "description": "", "schema": schema} for name in names]


def _name(parameter: str, allowed: tuple[str, ...]) -> str:
    name = parameter.removeprefix("filter[").removesuffix("]")
    if parameter != f"filter[{name}]" or name not in allowed:
        names = ", ".join(f"filter[{item}]" for item in allowed) or "–"
        raise _invalid(parameter, _("Unknown filter. The filters are: %s.") % names)
    return name


def _search(fields: tuple[str, ...], text: str) -> Q:
    if not fields:
        raise _invalid("search", _("This list has no search."))
    if not SHORTEST <= len(text) <= 200 or "\0" in text:
        raise _invalid("search", _("Search for 2 to 200 characters, without null characters."))
    condition = Q()
    for field in fields:
        # The beginning, for which an index on the upper case of the column is enough.
        condition |= Q(**{f"{field}__istartswith": text})
    return condition


def _value(model: type[Model], name: str, parameter: str, text: str) -> Any:
    field: Any = model._meta.pk if name == "pk" else model._meta.get_field(name)
    if isinstance(field, BooleanField):
        if text not in ("true", "false"):
            raise _invalid(parameter, _("The value must be true or false."))
        return text == "true"
    return _converted(field, parameter, text)


def _converted(field: Field[Any, Any], parameter: str, text: str) -> Any:
    target: Any = field.target_field if field.is_relation else field  # type: ignore[attr-defined]  # of foreign keys
    try:
        if "\0" in text:
            raise ValueError
        value = target.to_python(text)
        # Integers that no column can hold.
        target.run_validators(value)
    except (InvalidValue, ValueError, TypeError, OverflowError):
        raise _invalid(parameter, _("The value is not valid for this field.")) from None
    return value


def _invalid(parameter: str, message: str) -> ValidationError:
    return ValidationError({parameter: [message]}, "invalid_query")
