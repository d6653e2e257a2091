"""Fields that take text alone where their schema says so, and not what REST framework would write as text.

``from dovetail_contract.validation.serializers import ModelSerializer, TextField`` in place of REST framework's own.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, TypeVar

from django.db import models
from rest_framework import serializers
from rest_framework.settings import api_settings

_Model = TypeVar("_Model", bound=models.Model)


class TextField(serializers.CharField):
    """Text alone: REST framework's own stores the number 5 as ``"5"``, and no schema says so."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        # As long as it was sent: counted after trimming, more would be taken than the schema allows.
        if self.max_length is not None and len(data) > self.max_length:
            self.fail("max_length", max_length=self.max_length)
        text: str = super().to_internal_value(data)
        return text


class EmailField(TextField, serializers.EmailField):
    pass


class RegexField(TextField, serializers.RegexField):
    pass


class SlugField(TextField, serializers.SlugField):
    """Spaces at its ends are as wrong as within: its pattern has none."""

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        if text != data:
            self.fail("invalid")
        return text


class URLField(TextField, serializers.URLField):
    pass


class DecimalField(serializers.DecimalField):
    """Text alone, where it is answered as text: most programs read a number of JSON as a float, which is not exact."""

    def to_internal_value(self, data: Any) -> Decimal:
        as_text = getattr(self, "coerce_to_string", api_settings.COERCE_DECIMAL_TO_STRING)
        if as_text and not isinstance(data, str | Decimal):
            self.fail("invalid")
        number: Decimal = super().to_internal_value(data)
        return number


# No docstring: drf-spectacular would give it to every serializer that has none as its description.
class ModelSerializer(serializers.ModelSerializer[_Model]):
    serializer_field_mapping = serializers.ModelSerializer.serializer_field_mapping | {
        models.CharField: TextField,
        models.DecimalField: DecimalField,
        models.EmailField: EmailField,
        models.SlugField: SlugField,
        models.TextField: TextField,
        models.URLField: URLField,
    }
