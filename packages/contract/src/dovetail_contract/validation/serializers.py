"""Serializer fields that accept the type of their schema alone (see ``dovetail_core.rest.fields``).

``from dovetail_contract.validation.serializers import ModelSerializer, TextField`` in place of REST framework's own.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, TypeVar

from django.db import models
from rest_framework import serializers
from rest_framework.settings import api_settings

from dovetail_core.rest.fields import FIELD_MAPPING, EmailField, RegexField, SlugField, TextField, URLField

_Model = TypeVar("_Model", bound=models.Model)


__all__ = ["DecimalField", "EmailField", "ModelSerializer", "RegexField", "SlugField", "TextField", "URLField"]


class DecimalField(serializers.DecimalField):
    """Text alone, if it is rendered as text: most programs read a JSON number as a float, which is not exact."""

    def to_internal_value(self, data: Any) -> Decimal:
        as_text = getattr(self, "coerce_to_string", api_settings.COERCE_DECIMAL_TO_STRING)
        if as_text and not isinstance(data, str | Decimal):
            self.fail("invalid")
        number: Decimal = super().to_internal_value(data)
        return number


# No docstring: drf-spectacular would use it as the description of every serializer without one.
class ModelSerializer(serializers.ModelSerializer[_Model]):
    serializer_field_mapping = {**FIELD_MAPPING, models.DecimalField: DecimalField}
