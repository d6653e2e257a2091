"""The abstract model of flags, for projects that add fields. Importable without installing the app."""

from __future__ import annotations

import secrets
from typing import Any, Final

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from dovetail_core.models import get_setting_model, uuid7
from dovetail_flags.types.kinds import LONGEST_KEY


def get_flag_model() -> type[AbstractFlag]:
    """Return the model that ``FLAGS_FLAG_MODEL`` names. Models must be loaded."""
    return get_setting_model("FLAGS_FLAG_MODEL")


def new_salt() -> str:
    """Return 64 random bits as 16 hexadecimal digits."""
    return secrets.token_hex(8)


class FlagType(models.TextChoices):
    BOOLEAN = "boolean", _("boolean")
    STRING = "string", _("string")
    INTEGER = "integer", _("integer")
    NUMBER = "number", _("number")
    OBJECT = "object", _("object")


class AbstractFlag(models.Model):
    """A flag with its variants and rules. Change it with :mod:`dovetail_flags.services`, which keep its history.

    ``QuerySet.update()`` and ``bulk_create()`` send no signal, so running processes do not see their changes.
    """

    id = models.UUIDField(_("id"), primary_key=True, default=uuid7, editable=False)
    key = models.CharField(_("key"), max_length=LONGEST_KEY, unique=True)
    name = models.CharField(_("name"), max_length=200, blank=True, default="")
    description = models.TextField(_("description"), blank=True, default="")
    type = models.CharField(_("type"), max_length=10, choices=FlagType, default=FlagType.BOOLEAN)
    # Names of variants and their values: {"on": true, "off": false}.
    variants = models.JSONField(_("variants"), encoder=DjangoJSONEncoder)
    enabled = models.BooleanField(_("enabled"), default=False)
    off_variant = models.CharField(_("variant if disabled"), max_length=100)
    default_variant = models.CharField(_("variant without a matching rule"), max_length=100)
    # One column and not a table: a flag is one row with one version and one revision, and a snapshot is one query.
    rules = models.JSONField(_("rules"), blank=True, default=list, encoder=DjangoJSONEncoder)
    # Random and never changed, so that percentages of two flags select different people, and a new name the same.
    salt = models.CharField(_("salt"), max_length=32, default=new_salt, editable=False)
    client_visible = models.BooleanField(
        _("visible to clients"), default=False, help_text=_("Whether browsers and apps can read the value.")
    )
    owner = models.CharField(_("owner"), max_length=200, blank=True, default="")
    tags = models.JSONField(_("tags"), blank=True, default=list)
    temporary = models.BooleanField(
        _("temporary"), default=False, help_text=_("Whether the flag is to be removed, as after a rollout.")
    )
    expires_at = models.DateTimeField(_("expires at"), null=True, blank=True)
    archived_at = models.DateTimeField(_("archived at"), null=True, blank=True, editable=False)
    version = models.PositiveIntegerField(_("version"), default=1, editable=False)
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)
    updated_at = models.DateTimeField(_("updated at"), default=timezone.now, editable=False)

    class Meta:
        abstract = True
        verbose_name = _("feature flag")
        verbose_name_plural = _("feature flags")
        permissions = [("toggle_flag", _("Can enable and disable feature flags"))]

    def __str__(self) -> str:
        return self.key

    def document(self) -> dict[str, Any]:
        """Return the fields of :data:`DOCUMENT_FIELDS` as JSON values, as revisions and exports hold them."""
        values = {name: getattr(self, name) for name in DOCUMENT_FIELDS}
        for name in ("expires_at", "archived_at"):
            values[name] = values[name].isoformat() if values[name] else None
        return values


#: The fields whose history is stored.
DOCUMENT_FIELDS: Final = (
    "key",
    "name",
    "description",
    "type",
    "variants",
    "enabled",
    "off_variant",
    "default_variant",
    "rules",
    "salt",
    "client_visible",
    "owner",
    "tags",
    "temporary",
    "expires_at",
    "archived_at",
)
#: The fields that ``update_flag`` changes.
CHANGEABLE: Final = tuple(name for name in DOCUMENT_FIELDS if name not in {"key", "type", "salt", "archived_at"})
