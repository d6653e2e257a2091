"""Serializer fields that accept only the type in their schema (see ``dovetail_core.rest.fields``).

Use ``ModelSerializer``, ``TextField`` and the others in place of REST framework's.
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
    """Accepts only strings if it is rendered as a string: most programs read JSON numbers as inexact floats."""

    def to_internal_value(self, data: Any) -> Decimal:
        as_text = getattr(self, "coerce_to_string", api_settings.COERCE_DECIMAL_TO_STRING)
        if as_text and not isinstance(data, str | Decimal):
            self.fail("invalid")
        return super().to_internal_value(data)


# No docstring: drf-spectacular would use it as the description of subclasses without one.
class ModelSerializer(serializers.ModelSerializer[_Model]):
    serializer_field_mapping = {**FIELD_MAPPING, models.DecimalField: DecimalField}
