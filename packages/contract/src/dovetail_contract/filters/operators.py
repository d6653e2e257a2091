"""The filter operators: the values they accept, their lookups and their schemas. django-filter parses the values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import Any, cast

from django import forms
from django.core.exceptions import FieldDoesNotExist, ImproperlyConfigured, ValidationError
from django.db import models
from django.db.models import QuerySet
from django.db.models.constants import LOOKUP_SEP
from django.utils.timezone import is_aware
from django.utils.translation import gettext as _
from django_filters.fields import IsoDateTimeField  # type: ignore[import-untyped]
from django_filters.filterset import BaseFilterSet  # type: ignore[import-untyped]


@dataclass(frozen=True, slots=True)
class Operator:
    lookup: str
    meaning: str
    exclude: bool = False
    #: ``value``, ``list`` (comma-separated values), ``text`` or ``flag``.
    takes: str = "value"


OPERATORS = {
    "eq": Operator("exact", "equals this value"),
    "ne": Operator("exact", "does not equal this value", exclude=True),
    "lt": Operator("lt", "is less than this value"),
    "lte": Operator("lte", "is at most this value"),
    "gt": Operator("gt", "is greater than this value"),
    "gte": Operator("gte", "is at least this value"),
    "in": Operator("in", "is one of these values", takes="list"),
    "nin": Operator("in", "is none of these values", exclude=True, takes="list"),
    "contains": Operator("icontains", "contains this text, ignoring case", takes="text"),
    "istartswith": Operator("istartswith", "starts with this text, ignoring case", takes="text"),
    "isnull": Operator("isnull", "is null (`true`) or not null (`false`)", takes="flag"),
}
_MAX_ITEMS = 100
_MIN_TEXT = 2
_MAX_TEXT = 200
# The maximum length of values of columns without one; a whole parameter has at most 1024 bytes.
_MAX_VALUE = 1000
_LARGEST = 10**18
_FLAGS = {"true": True, "false": False}


class InvalidValue(ValueError):
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
        """Return the filtered queryset. Raise ``InvalidValue``."""
        value = self._parsed(text)
        method = queryset.exclude if self.operator.exclude else queryset.filter
        return method(**{f"{self.path}{LOOKUP_SEP}{self.operator.lookup}": value})

    def _parsed(self, text: str) -> Any:
        if self.operator.takes == "flag":
            return self._flag(text)
        if self.operator.takes == "text":
            if len(text) < _MIN_TEXT:
                detail = _("Must have at least %(minimum)d characters.") % {"minimum": _MIN_TEXT}
                raise InvalidValue(detail, code="too_short")
            return _limited(text, _MAX_TEXT)
        if self.operator.takes == "list":
            # A backslash before a comma makes it part of a value.
            items = [item.replace("\\,", ",") for item in re.split(r"(?<!\\),", text)]
            if len(items) > _MAX_ITEMS:
                detail = _("Must have at most %(maximum)d values.") % {"maximum": _MAX_ITEMS}
                raise InvalidValue(detail, code="too_many")
            return [self._value(item) for item in items]
        return self._value(text)

    def _flag(self, text: str) -> bool:
        if text not in _FLAGS:
            raise InvalidValue(_("Must be true or false."), allowed=[*_FLAGS])
        return _FLAGS[text]

    def _value(self, text: str) -> Any:
        if isinstance(self.column, models.BooleanField):
            return self._flag(text)
        if choices := _choices(self.column):
            if text not in choices:
                detail = _("'%(value)s' is not an allowed value.") % {"value": text[:100]}
                raise InvalidValue(detail, code="invalid_choice", allowed=choices)
            return text
        if not text.strip():
            raise InvalidValue(_("Must not be empty."), code="blank")
        if longest := _schema(self.column).get("maxLength"):
            _limited(text, longest)
        try:
            return _normalized(self.column, self.form.clean(text))
        except ValidationError as error:
            raise InvalidValue(" ".join(error.messages)) from error
        except (ValueError, ArithmeticError) as error:
            raise InvalidValue(_("Out of range."), code="out_of_range") from error

    def parameter(self) -> dict[str, Any]:
        schema, style = _schema(self.column), {}
        if self.operator.takes == "list":
            schema = {"type": "array", "items": schema, "minItems": 1, "maxItems": _MAX_ITEMS}
            style = {"style": "form", "explode": False}
        elif self.operator.takes == "text":
            schema = {"type": "string", "minLength": _MIN_TEXT, "maxLength": _MAX_TEXT}
        elif self.operator.takes == "flag":
            schema = {"type": "boolean"}
        public = re.split(r"[\[\]]", self.name)[1]
        return {
            "name": self.name,
            "in": "query",
            "required": False,
            "description": f"Only items whose `{public}` {self.operator.meaning}.",
            **style,
            "schema": schema,
        }


@cache
def condition(model: type[models.Model], name: str, path: str, operator: str) -> Condition:
    """Return the condition of a parameter. Raise ``ImproperlyConfigured`` for a path without a column."""
    column = _column(model, path)
    # A list is split before the form field parses each value.
    return Condition(name=name, path=path, operator=OPERATORS[operator], column=column, form=_form(column, path))


def _form(column: models.Field[Any, Any], path: str) -> forms.Field:
    # django-filter's own fields accept 1e50 as an integer, and reject time zones with a colon.
    if isinstance(column, models.DateTimeField):
        return IsoDateTimeField()  # type: ignore[no-any-return]  # a form's field
    if isinstance(column, models.IntegerField | models.DecimalField | models.FloatField):
        field = forms.IntegerField if isinstance(column, models.IntegerField) else forms.DecimalField
        return field(min_value=-_LARGEST, max_value=_LARGEST)
    return BaseFilterSet.filter_for_field(column, path, "exact").field  # type: ignore[no-any-return]  # a form's field


def _column(model: type[models.Model], path: str) -> models.Field[Any, Any]:
    label = model._meta.label
    *relations, last = path.split(LOOKUP_SEP)
    try:
        for relation in relations:
            model = cast("Any", model._meta.get_field(relation)).related_model
        column: Any = model._meta.pk if last == "pk" else model._meta.get_field(last)
    except (FieldDoesNotExist, AttributeError) as error:
        raise ImproperlyConfigured(f"{label} has no column {path!r} to filter by.") from error
    # For a foreign key, django-filter would look up the row in the default manager, and reveal whether it exists.
    return getattr(column, "target_field", column)  # type: ignore[no-any-return]  # a field in both cases


def _choices(column: models.Field[Any, Any]) -> list[str]:
    return [str(value) for value, _ in column.flatchoices] if column.choices else []


def _normalized(column: models.Field[Any, Any], value: object) -> object:
    """Return the value for the lookup. Raise ``OverflowError`` for a time that some time zones cannot represent."""
    if isinstance(value, datetime) and is_aware(value):
        value = value.astimezone(UTC)
        # The first and last hours of datetime's range do not exist in other time zones.
        if not 2 <= value.year <= 9998:
            raise OverflowError
    if isinstance(column, models.FloatField) and isinstance(value, Decimal):
        return float(value)
    return value


def _limited(text: str, maximum: int) -> str:
    if len(text) > maximum:
        raise InvalidValue(_("Must have at most %(maximum)d characters.") % {"maximum": maximum}, code="too_long")
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
