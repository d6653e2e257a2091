"""Fields and validators of user models. Migrations of models that inherit from ``base.AbstractUser`` refer to them."""

from __future__ import annotations

import zoneinfo
from functools import cache
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    _EmailField = models.EmailField[Any, Any]
else:
    _EmailField = models.EmailField


def normalize_email(address: str) -> str:
    """Return the form in which an address is stored and compared: without surrounding space, in lower case.

    RFC 5321 lets a host tell ``Ada@`` from ``ada@``, but the hosts that people use do not. Separate accounts for the
    two would let one person's mail open another's account.
    """
    return address.strip().lower()


def validate_language(code: str) -> None:
    """Raise ``ValidationError`` unless ``LANGUAGES`` has this code."""
    codes = [available for available, _name in settings.LANGUAGES]
    if code not in codes:
        raise ValidationError(
            _("“%(value)s” is not available. Choose one of: %(languages)s."),
            code="language",
            params={"value": code, "languages": ", ".join(codes)},
        )


def validate_time_zone(name: str) -> None:
    """Raise ``ValidationError`` unless ``zoneinfo`` has a time zone with this name."""
    if name not in _time_zones():
        raise ValidationError(
            _("“%(value)s” is not a time zone. Use a name from the IANA time zone database, such as Europe/Berlin."),
            code="time_zone",
            params={"value": name},
        )


@cache
def _time_zones() -> set[str]:
    # zoneinfo opens several hundred files for this.
    return zoneinfo.available_timezones()


class NormalizedEmailField(_EmailField):
    """An e-mail address that is stored and looked up in the form of :func:`normalize_email`.

    ``filter(email="Ada@Example.com")`` and ``email__in`` compare with the stored form and use the plain unique index.
    (``iexact`` cannot use it, and SQLite folds only ASCII there.) Raw SQL and expressions bypass this field; the check
    constraint of ``base.AbstractUser`` covers them.
    """

    # CharField.get_prep_value, which prepares lookups and updates, goes through here too.
    def to_python(self, value: Any) -> Any:
        value = super().to_python(value)
        return normalize_email(value) if isinstance(value, str) else value

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:
        value = super().pre_save(model_instance, add)
        if isinstance(value, str):
            # The instance must say what the row says: the next comparison may be made with it.
            value = normalize_email(value)
            setattr(model_instance, self.attname, value)
        return value
