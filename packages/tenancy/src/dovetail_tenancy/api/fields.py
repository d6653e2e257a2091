from __future__ import annotations

from typing import Any

from rest_framework import serializers


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


class SlugField(TextField, serializers.SlugField):
    """Spaces at its ends are as wrong as within: its pattern has none."""

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        if text != data:
            self.fail("invalid")
        return text


class URLField(TextField, serializers.URLField):
    pass
