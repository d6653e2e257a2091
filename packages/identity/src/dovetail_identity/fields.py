"""Fields and validators of user models. Migrations of models that inherit from ``base.AbstractUser`` refer to them."""

from __future__ import annotations

import zoneinfo
from functools import cache
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.utils.translation import gettext_lazy as _

from dovetail_core.accounts import normalize_address

# Cached, because zoneinfo opens several hundred files.
_time_zones = cache(zoneinfo.available_timezones)


def validate_language(code: str) -> None:
    """Raise ``ValidationError`` unless ``code`` is in ``LANGUAGES``."""
    codes = [available for available, _name in settings.LANGUAGES]
    if code not in codes:
        raise ValidationError(
            _("“%(value)s” is not available. Choose one of: %(languages)s."),
            code="language",
            params={"value": code, "languages": ", ".join(codes)},
        )


def validate_time_zone(name: str) -> None:
    """Raise ``ValidationError`` unless ``name`` is a time zone of ``zoneinfo``."""
    if name not in _time_zones():
        raise ValidationError(
            _("“%(value)s” is not a time zone. Use a name from the IANA time zone database, such as Europe/Berlin."),
            code="time_zone",
            params={"value": name},
        )


class NormalizedEmailField(models.EmailField):  # type: ignore[type-arg]  # not generic at run time
    """An e-mail address that is stored and looked up without surrounding space and in lower case.

    ``filter(email="Ada@Example.com")`` and ``email__in`` use the plain unique index. (``iexact`` cannot, and on SQLite
    it ignores case for ASCII only.) Raw SQL and expressions bypass the field; ``base.AbstractUser`` has a check
    constraint for them.
    """

    # Also called by CharField.get_prep_value, which prepares lookups and updates.
    def to_python(self, value: object) -> Any:
        value = super().to_python(value)
        return normalize_address(value) if isinstance(value, str) else value

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:
        value = super().pre_save(model_instance, add)
        if isinstance(value, str):
            # The instance must have the stored value, because it may be compared with others.
            value = normalize_address(value)
            setattr(model_instance, self.attname, value)
        return value
