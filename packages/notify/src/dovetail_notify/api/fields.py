from __future__ import annotations

from typing import Any

from rest_framework import serializers
from rest_framework.utils.html import is_html_input


class CleanCharField(serializers.CharField):
    """DRF takes numbers for text, and lets half a surrogate pair through, which no database stores."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        # As long as it was sent: counted after trimming, more would be taken than the schema allows.
        if self.max_length is not None and len(data) > self.max_length:
            self.fail("max_length", max_length=self.max_length)
        value: str = super().to_internal_value(data)
        try:
            value.encode()
        except UnicodeEncodeError:
            raise serializers.ValidationError("Not valid Unicode.", code="invalid") from None
        return value


class FlagField(serializers.BooleanField):
    """True or false; a form, which has words alone, may say them in DRF's."""

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, bool) and not _in_form(self):
            self.fail("invalid", input=data)
        return super().to_internal_value(data)


class WholeNumberField(serializers.IntegerField):
    """A number, and no text of digits but in a form, which has nothing else."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, str) and not _in_form(self):
            self.fail("invalid")
        return super().to_internal_value(data)


def _in_form(field: serializers.Field[Any, Any, Any, Any]) -> bool:
    return bool(is_html_input(getattr(field.root, "initial_data", None)))
