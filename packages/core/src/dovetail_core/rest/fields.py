"""Serializer fields that accept only the type in their schema.

REST framework's own fields convert the number ``5`` to ``"5"``, and ``"yes"`` to true. An API that does so accepts
values that its schema forbids, and cannot reject them later without breaking clients.
"""

from __future__ import annotations

from typing import Any

from django.db import models
from rest_framework import serializers
from rest_framework.utils.html import is_html_input


class TextField(serializers.CharField):
    """Accepts only strings, of at most ``max_length`` characters before trimming."""

    def to_internal_value(self, data: object) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        # REST framework checks the length after trimming, and so accepts more characters than the schema allows.
        if self.max_length is not None and len(data) > self.max_length:
            self.fail("max_length", max_length=self.max_length)
        text: str = super().to_internal_value(data)
        return text


class EmailField(TextField, serializers.EmailField):
    pass


class RegexField(TextField, serializers.RegexField):
    pass


class SlugField(TextField, serializers.SlugField):
    """Rejects surrounding spaces instead of trimming them, because the pattern in the schema allows none."""

    def to_internal_value(self, data: object) -> str:
        text = super().to_internal_value(data)
        if text != data:
            self.fail("invalid")
        return text


class URLField(TextField, serializers.URLField):
    pass


#: A ``serializer_field_mapping`` for model serializers, with these fields for text columns.
FIELD_MAPPING: dict[type[models.Field[Any, Any]], type[serializers.Field[Any, Any, Any, Any]]] = {
    **serializers.ModelSerializer.serializer_field_mapping,
    models.CharField: TextField,
    models.EmailField: EmailField,
    models.SlugField: SlugField,
    models.TextField: TextField,
    models.URLField: URLField,
}


class FlagField(serializers.BooleanField):
    """Accepts true and false, and in HTML forms, where all values are strings, also what ``BooleanField`` accepts."""

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, bool) and not _in_form(self):
            self.fail("invalid", input=data)
        return super().to_internal_value(data)


class WholeNumberField(serializers.IntegerField):
    """Accepts numbers, and in HTML forms, where all values are strings, also digits."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, str) and not _in_form(self):
            self.fail("invalid")
        return super().to_internal_value(data)


def _in_form(field: serializers.Field[Any, Any, Any, Any]) -> bool:
    return bool(is_html_input(getattr(field.root, "initial_data", None)))
