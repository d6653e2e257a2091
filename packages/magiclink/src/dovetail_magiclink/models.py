from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from dovetail_core.models import SettingForeignKey, uuid7
from dovetail_magiclink.base import AbstractMagicLink


class MagicLink(AbstractMagicLink):
    class Meta(AbstractMagicLink.Meta):
        swappable = "MAGIC_LINK_MODEL"


class MagicSignIn(models.Model):
    """The last sign-in of a user by mail. It outlives the links. Unlike ``last_login``, only such a sign-in sets it."""

    id = models.UUIDField(_("id"), primary_key=True, default=uuid7, editable=False)
    user = SettingForeignKey(
        setting="AUTH_USER_MODEL", on_delete=models.CASCADE, related_name="+", verbose_name=_("user")
    )
    last_at = models.DateTimeField(_("last sign-in by mail"))

    class Meta:
        verbose_name = _("sign-in by mail")
        verbose_name_plural = _("sign-ins by mail")
        constraints = [models.UniqueConstraint(fields=["user"], name="dovetail_magiclink_one_sign_in")]

    def __str__(self) -> str:
        return str(self.pk)
