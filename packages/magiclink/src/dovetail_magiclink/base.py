"""The link as an abstract model. Importable although ``dovetail_magiclink`` is not installed."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from dovetail_core.fields import uuid7


class AbstractMagicLink(models.Model):
    """That somebody asked for a mail that signs in whoever reads ``email``. Inherit from it to add fields.

    It has no relation to a user: who an address belongs to is asked when it was proved, and not before.
    """

    id = models.UUIDField(_("id"), primary_key=True, default=uuid7, editable=False)
    email = models.EmailField(_("email address"), max_length=254)
    # Of the address, in hex: what a database takes for equal differs by its collation.
    address_key = models.CharField(_("address key"), max_length=64, db_index=True, editable=False)
    # The same while the link can be used. Nulls are never equal, and MariaDB has no conditional unique constraint.
    pending_key = models.CharField(_("pending key"), max_length=64, null=True, unique=True, editable=False)  # noqa: DJ001
    # HMAC of the code while it can be used, null before it is drawn and once it is superseded, and a receipt once it is
    # used: an UPDATE returns no row, and one that reads first is refused by SQLite where another has written meanwhile.
    code_hash = models.CharField(_("code hash"), max_length=64, null=True, unique=True, editable=False)  # noqa: DJ001
    # SHA-256, without a key: the secret has 256 bits (OWASP ASVS 5.0 6.5.2 asks for 112).
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
