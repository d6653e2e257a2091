"""Serializer fields that accept the type of their schema alone.

REST framework's own fields convert: the number ``5`` becomes the text ``"5"``, the text ``"yes"`` becomes true. An API
that does so accepts what its schema forbids, and can never stop.
"""

from __future__ import annotations

from typing import Any

from django.db import models
from rest_framework import serializers
from rest_framework.utils.html import is_html_input


class TextField(serializers.CharField):
    """Text alone, of at most ``max_length`` characters as it was sent. NUL and lone surrogates are invalid."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        # Before trimming: otherwise the field accepts more characters than the schema allows.
        if self.max_length is not None and len(data) > self.max_length:
            self.fail("max_length", max_length=self.max_length)
        text: str = super().to_internal_value(data)
        return text


class EmailField(TextField, serializers.EmailField):
    pass


class RegexField(TextField, serializers.RegexField):
    pass


class SlugField(TextField, serializers.SlugField):
    """Spaces at its ends are as invalid as inside it, because its pattern has none."""

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        if text != data:
            self.fail("invalid")
        return text


class URLField(TextField, serializers.URLField):
    pass


#: A ``serializer_field_mapping`` for model serializers: these fields for the columns of text.
FIELD_MAPPING: dict[type[models.Field[Any, Any]], type[serializers.Field[Any, Any, Any, Any]]] = {
    **serializers.ModelSerializer.serializer_field_mapping,
    models.CharField: TextField,
    models.EmailField: EmailField,
    models.SlugField: SlugField,
    models.TextField: TextField,
    models.URLField: URLField,
}


class FlagField(serializers.BooleanField):
    """True or false. An HTML form, whose values are all text, may use REST framework's words."""

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, bool) and not _in_form(self):
            self.fail("invalid", input=data)
        return super().to_internal_value(data)


class WholeNumberField(serializers.IntegerField):
    """A number. An HTML form, whose values are all text, may use digits."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, str) and not _in_form(self):
            self.fail("invalid")
        return super().to_internal_value(data)


def _in_form(field: serializers.Field[Any, Any, Any, Any]) -> bool:
    return bool(is_html_input(getattr(field.root, "initial_data", None)))
