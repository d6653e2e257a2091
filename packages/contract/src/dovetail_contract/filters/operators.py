"""The filter operators: the values they accept, their lookups, and their schemas. Types come from django-filter."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import Any

from django import forms
from django.core.exceptions import FieldDoesNotExist, ImproperlyConfigured, ValidationError
from django.db import models
from django.db.models import QuerySet
from django.db.models.constants import LOOKUP_SEP
from django.utils.timezone import is_aware
from django_filters.fields import IsoDateTimeField  # type: ignore[import-untyped]
from django_filters.filterset import BaseFilterSet  # type: ignore[import-untyped]


@dataclass(frozen=True, slots=True)
class Operator:
    lookup: str
    meaning: str
    exclude: bool = False
    #: ``value``, a comma-separated ``list`` of values, a piece of ``text``, or a ``flag``.
    takes: str = "value"


OPERATORS = {
    "eq": Operator("exact", "equal to"),
    "ne": Operator("exact", "not equal to", exclude=True),
    "lt": Operator("lt", "less than"),
    "lte": Operator("lte", "at most"),
    "gt": Operator("gt", "greater than"),
    "gte": Operator("gte", "at least"),
    "in": Operator("in", "one of", takes="list"),
    "nin": Operator("in", "none of", exclude=True, takes="list"),
    "contains": Operator("icontains", "containing, in either case", takes="text"),
    "istartswith": Operator("istartswith", "beginning with, in either case", takes="text"),
    "isnull": Operator("isnull", "without a value (`true`) or with one (`false`)", takes="flag"),
}
_MAX_ITEMS = 100
_MIN_TEXT = 2
_MAX_TEXT = 200
# The longest value for columns without a maximum; a whole parameter has at most 1024 bytes.
_MAX_VALUE = 1000
_LARGEST = 10**18
_FLAGS = {"true": True, "false": False}


class Refused(ValueError):
    """A value that the parameter does not accept, with the text for the client."""

    def __init__(self, detail: str, *, code: str = "invalid", allowed: Sequence[str] = ()) -> None:
        self.code = code
        self.allowed = allowed
        super().__init__(detail)


@dataclass(frozen=True, slots=True)
class Condition:
    """One parameter of a view: parses its value, and filters a queryset by it."""

    name: str
    path: str
    operator: Operator
    column: models.Field[Any, Any]
    form: forms.Field

    def apply(self, queryset: QuerySet[Any], text: str) -> QuerySet[Any]:
        """The filtered queryset. Raises ``Refused``."""
        value = self._parsed(text)
        method = queryset.exclude if self.operator.exclude else queryset.filter
        narrowed: QuerySet[Any] = method(**{f"{self.path}{LOOKUP_SEP}{self.operator.lookup}": value})
        return narrowed

    def _parsed(self, text: str) -> Any:
        if self.operator.takes == "flag":
            return self._flag(text)
        if self.operator.takes == "text":
            if len(text) < _MIN_TEXT:
                raise Refused(f"At least {_MIN_TEXT} characters.", code="too_short")
            return _no_longer(text, _MAX_TEXT)
        if self.operator.takes == "list":
            # A backslash before a comma makes it part of a value.
            items = [item.replace("\\,", ",") for item in re.split(r"(?<!\\),", text)]
            if len(items) > _MAX_ITEMS:
                raise Refused(f"At most {_MAX_ITEMS} values.", code="too_many")
            return [self._value(item) for item in items]
        return self._value(text)

    def _flag(self, text: str) -> bool:
        if text not in _FLAGS:
            raise Refused("Must be true or false.", allowed=[*_FLAGS])
        return _FLAGS[text]

    def _value(self, text: str) -> Any:
        if isinstance(self.column, models.BooleanField):
            return self._flag(text)
        if choices := _choices(self.column):
            if text not in choices:
                raise Refused(f"{text[:100]!r} is not one of the values.", code="invalid_choice", allowed=choices)
            return text
        if not text.strip():
            raise Refused("Must not be empty.", code="blank")
        if longest := _schema(self.column).get("maxLength"):
            _no_longer(text, longest)
        try:
            value = self.form.clean(text)
        except ValidationError as error:
            raise Refused(" ".join(error.messages)) from error
        except (ValueError, OverflowError, ArithmeticError) as error:
            raise Refused("Out of range.", code="out_of_range") from error
        return _in_range(self.column, value)

    def parameter(self) -> dict[str, Any]:
        """The parameter in the schema."""
        schema = dict(_SCHEMAS[self.operator.takes]) if self.operator.takes in _SCHEMAS else _schema(self.column)
        style: dict[str, Any] = {}
        if self.operator.takes == "list":
            schema = {"type": "array", "items": _schema(self.column), "minItems": 1, "maxItems": _MAX_ITEMS}
            style = {"style": "form", "explode": False}
        public = re.split(r"[\[\]]", self.name)[1]
        return {
            "name": self.name,
            "in": "query",
            "required": False,
            "description": f"Only items with `{public}` {self.operator.meaning} this.",
            **style,
            "schema": schema,
        }


_SCHEMAS: dict[str, dict[str, Any]] = {
    "text": {"type": "string", "minLength": _MIN_TEXT, "maxLength": _MAX_TEXT},
    "flag": {"type": "boolean"},
}


@cache
def condition(model: Any, name: str, path: str, operator: str) -> Condition:
    """The condition of one parameter. Raises ``ImproperlyConfigured`` for a path that leads to no column."""
    column = _column(model, path)
    chosen = OPERATORS[operator]
    # The form field of one value, also for a list, which is split before.
    return Condition(name=name, path=path, operator=chosen, column=column, form=_form(column, path))


def _form(column: models.Field[Any, Any], path: str) -> forms.Field:
    # django-filter's fields accept 1e50 for an integer, and only time zones without a colon.
    if isinstance(column, models.DateTimeField):
        return IsoDateTimeField()  # type: ignore[no-any-return]  # a form's field
    if isinstance(column, models.IntegerField):
        return forms.IntegerField(min_value=-_LARGEST, max_value=_LARGEST)
    if isinstance(column, models.DecimalField | models.FloatField):
        return forms.DecimalField(min_value=-_LARGEST, max_value=_LARGEST)
    return BaseFilterSet.filter_for_field(column, path, "exact").field  # type: ignore[no-any-return]  # a form's field


def _column(model: Any, path: str) -> models.Field[Any, Any]:
    label = model._meta.label
    *relations, last = path.split(LOOKUP_SEP)
    try:
        for relation in relations:
            model = model._meta.get_field(relation).related_model
        column: Any = model._meta.pk if last == "pk" else model._meta.get_field(last)
    except (FieldDoesNotExist, AttributeError) as error:
        raise ImproperlyConfigured(f"{label} has no column {path!r} to filter by.") from error
    # django-filter would look the row of a foreign key up in the default manager, and reveal whether it exists.
    return getattr(column, "target_field", column)  # type: ignore[no-any-return]  # a field, whichever


def _choices(column: models.Field[Any, Any]) -> list[str]:
    return [str(value) for value, _ in column.flatchoices] if column.choices else []


def _in_range(column: models.Field[Any, Any], value: Any) -> Any:
    if isinstance(value, datetime) and is_aware(value):
        try:
            # The first and last hours of datetime's range do not exist in other time zones.
            value = value.astimezone(UTC)
        except OverflowError:
            raise Refused("Out of range.", code="out_of_range") from None
        if not 2 <= value.year <= 9998:
            raise Refused("Out of range.", code="out_of_range")
    if isinstance(column, models.FloatField) and isinstance(value, Decimal):
        return float(value)
    return value


def _no_longer(text: str, longest: int) -> str:
    if len(text) > longest:
        raise Refused(f"At most {longest} characters.", code="too_long")
    return text


def _schema(column: models.Field[Any, Any]) -> dict[str, Any]:
    if choices := _choices(column):
        return {"type": "string", "enum": choices}
    for kind, schema in _TYPES:
        if isinstance(column, kind):
            return dict(schema)
    return {"type": "string", "minLength": 1, "maxLength": min(column.max_length or _MAX_VALUE, _MAX_VALUE)}


_TYPES: Sequence[tuple[type[models.Field[Any, Any]], dict[str, Any]]] = [
    (models.BooleanField, {"type": "boolean"}),
    (models.IntegerField, {"type": "integer", "minimum": -_LARGEST, "maximum": _LARGEST}),
    (models.DecimalField, {"type": "number", "minimum": -_LARGEST, "maximum": _LARGEST}),
    (models.FloatField, {"type": "number", "minimum": -_LARGEST, "maximum": _LARGEST}),
    (models.DateTimeField, {"type": "string", "format": "date-time"}),
    (models.DateField, {"type": "string", "format": "date"}),
    (models.TimeField, {"type": "string", "format": "time"}),
    (models.UUIDField, {"type": "string", "format": "uuid"}),
]
