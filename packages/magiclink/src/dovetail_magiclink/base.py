"""The abstract link model. It can be imported without ``dovetail_magiclink`` in ``INSTALLED_APPS``."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from dovetail_core.models import uuid7


class AbstractMagicLink(models.Model):
    """A request for a mail that signs in the owner of ``email``. Inherit from this class to add fields.

    It has no foreign key to a user: the owner of the address is looked up when the address is verified.
    """

    id = models.UUIDField(_("id"), primary_key=True, default=uuid7, editable=False)
    email = models.EmailField(_("email address"), max_length=254)
    # SHA-256 of the address, because databases differ in which strings they treat as equal.
    address_key = models.CharField(_("address key"), max_length=64, db_index=True, editable=False)
    # Equal to address_key while the link can be used, then null. MariaDB has no conditional unique constraints.
    pending_key = models.CharField(_("pending key"), max_length=64, null=True, unique=True, editable=False)  # noqa: DJ001
    # Null until the code is drawn, then its HMAC; null again if superseded, or a random receipt if used. The receipt
    # finds the updated row: an UPDATE returns no rows, and SQLite rejects a write after a read if another transaction
    # has written in between.
    code_hash = models.CharField(_("code hash"), max_length=64, null=True, unique=True, editable=False)  # noqa: DJ001
    # SHA-256 without a pepper: the secret has 256 bits (OWASP ASVS 5.0 6.5.2 requires 112).
    key_hash = models.CharField(_("key hash"), max_length=64, null=True, unique=True, editable=False)  # noqa: DJ001
    network = models.CharField(_("network"), max_length=50, blank=True)
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    prior_failures = models.PositiveIntegerField(_("failures of earlier codes"), default=0)
    created_at = models.DateTimeField(_("created at"))
    expires_at = models.DateTimeField(_("expires at"), db_index=True)
    used_at = models.DateTimeField(_("used at"), null=True, blank=True)

    class Meta:
        abstract = True
        verbose_name = _("magic link")
        verbose_name_plural = _("magic links")

    def __str__(self) -> str:
        return str(self.pk)
