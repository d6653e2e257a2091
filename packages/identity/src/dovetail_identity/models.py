from __future__ import annotations

from datetime import datetime

from django.db import models
from django.utils.translation import gettext_lazy as _

from dovetail_core.models import SettingForeignKey, uuid7
from dovetail_identity.base import AbstractUser


class User(AbstractUser):
    class Meta(AbstractUser.Meta):
        swappable = "AUTH_USER_MODEL"


class Session(models.Model):
    """A sign-in on a device, with its refresh tokens and their access tokens.

    ``generation`` is the generation of the newest refresh token that was used (0 for none), and ``rotated_at`` is the
    time of its first use. The next token is derived from these values, so no token is stored.
    """

    id = models.UUIDField(_("id"), primary_key=True, default=uuid7, editable=False)
    user = SettingForeignKey(
        setting="AUTH_USER_MODEL", on_delete=models.CASCADE, related_name="+", verbose_name=_("user")
    )
    generation = models.PositiveIntegerField(_("generation"), default=0)
    device = models.CharField(_("device"), max_length=100, blank=True)
    address = models.GenericIPAddressField(_("address"), null=True, blank=True)
    created_at = models.DateTimeField(_("created at"))
    last_used_at = models.DateTimeField(_("last used at"))
    rotated_at = models.DateTimeField(_("rotated at"))
    expires_at = models.DateTimeField(_("expires at"), db_index=True)
    revoked_at = models.DateTimeField(_("revoked at"), null=True, blank=True)
    revoked_reason = models.CharField(_("reason"), max_length=32, blank=True)

    class Meta:
        verbose_name = _("session")
        verbose_name_plural = _("sessions")

    def __str__(self) -> str:
        return f"{self.device or self.pk}"

    def is_live(self, now: datetime) -> bool:
        return self.revoked_at is None and self.expires_at > now


class Registration(models.Model):
    id = models.UUIDField(_("id"), primary_key=True, default=uuid7, editable=False)
    email = models.EmailField(_("email address"), db_index=True)
    password = models.CharField(_("password"), max_length=128)
    first_name = models.CharField(_("first name"), max_length=150, blank=True)
    last_name = models.CharField(_("last name"), max_length=150, blank=True)
    created_at = models.DateTimeField(_("created at"))
    expires_at = models.DateTimeField(_("expires at"), db_index=True)

    class Meta:
        verbose_name = _("registration")
        verbose_name_plural = _("registrations")

    def __str__(self) -> str:
        return str(self.pk)
