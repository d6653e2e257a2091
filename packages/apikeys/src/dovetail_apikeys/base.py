"""The abstract model of API keys, for projects that add fields. Importable without installing the app."""

from __future__ import annotations

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from dovetail_core.models import PrimaryKeyIndex, SettingForeignKey, uuid7


class AbstractAPIKey(models.Model):
    """An API key of an organization. Only the prefix and the hash of the raw key are stored."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(_("name"), max_length=100)
    key_prefix = models.CharField(_("prefix"), max_length=64, unique=True, editable=False)
    # "<scheme>$<hash>": the scheme is part of the row, so that an upgrade of this package invalidates no key.
    hashed_key = models.CharField(_("hash"), max_length=256, editable=False)
    organization = SettingForeignKey(
        setting="API_KEYS_ORGANIZATION_MODEL",
        inherited=True,
        verbose_name=_("organization"),
        on_delete=models.CASCADE,
        related_name="+",
    )
    # Space-separated, as in OAuth 2.0 (RFC 6749 3.3), because text needs no conversion per request.
    scopes = models.TextField(_("scopes"), blank=True, default="")
    allowed_networks = models.TextField(
        _("allowed networks"), blank=True, default="", help_text=_("Where it may be used from; empty for anywhere.")
    )
    rate_limit = models.CharField(
        _("rate limit"), max_length=20, blank=True, default="", help_text=_("Such as 600/min; empty for the usual one.")
    )
    created_by = SettingForeignKey(
        setting="AUTH_USER_MODEL",
        inherited=True,
        verbose_name=_("created by"),
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        editable=False,
        related_name="+",
    )
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)
    last_used = models.DateTimeField(_("last used"), null=True, blank=True, editable=False)
    last_used_ip = models.GenericIPAddressField(_("last used from"), null=True, blank=True, editable=False)
    used_networks = models.TextField(_("used from"), blank=True, default="", editable=False)
    expires_at = models.DateTimeField(_("expires at"), null=True, blank=True)
    # The expiry that `api_key.expiring` has announced, not the time of the event, so that a new expiry is announced.
    expiry_announced = models.DateTimeField(_("told of the expiry at"), null=True, blank=True, editable=False)
    revoked_at = models.DateTimeField(_("revoked at"), null=True, blank=True, editable=False)
    # The id of the key that this key replaces. Unique, so that one of two simultaneous rotations fails. Not a foreign
    # key, because the value stays when the replaced key is deleted.
    rotated_from = models.UUIDField(_("rotated from"), null=True, blank=True, unique=True, editable=False)

    class Meta:
        abstract = True
        verbose_name = _("API key")
        verbose_name_plural = _("API keys")
        # The order of the list.
        indexes = [PrimaryKeyIndex(fields=["organization", "-pk"])]

    def __str__(self) -> str:
        return f"{self.name} ({self.key_prefix})"

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.key_prefix}>"

    @property
    def scope_list(self) -> list[str]:
        return self.scopes.split()

    @property
    def network_list(self) -> list[str]:
        return self.allowed_networks.split()

    @property
    def status(self) -> str:
        """``"revoked"``, ``"expired"`` or ``"active"``."""
        if self.revoked_at is not None:
            return "revoked"
        return "active" if self.expires_at is None or self.expires_at > timezone.now() else "expired"
