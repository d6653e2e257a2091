"""The abstract idempotency record, for projects with their own model. Importable without installing the app."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class AbstractIdempotencyRecord(models.Model):
    """The idempotency key of one caller, with the state of its request: in progress, or completed with a response.

    ``digest`` is a hash of organization, principal and key: a short index that is case-sensitive on every database.
    ``attempt`` is a fencing token: only the attempt that holds the claim can complete it.
    """

    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"

    # Not translated: Django merges the catalogs of all apps, and other apps call a summary by e-mail a digest.
    digest = models.CharField("digest", max_length=64, primary_key=True)
    organization = models.CharField(_("organization"), max_length=64, blank=True)
    principal = models.CharField(_("principal"), max_length=255)
    key = models.CharField(_("key"), max_length=255)
    fingerprint = models.CharField(_("fingerprint of the request"), max_length=64)
    state = models.CharField(_("state"), max_length=16, default=IN_PROGRESS)
    attempt = models.PositiveIntegerField(_("attempt"), default=1)
    locked_until = models.DateTimeField(_("locked until"))
    status = models.PositiveSmallIntegerField(_("status"), null=True)
    headers = models.JSONField(_("headers"), default=dict)
    # Null if the response is too large, streamed, or marked no-store.
    body = models.BinaryField(_("body"), null=True)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)
    expires_at = models.DateTimeField(_("expires at"), db_index=True)

    class Meta:
        abstract = True
        verbose_name = _("idempotency record")
        verbose_name_plural = _("idempotency records")

    def __str__(self) -> str:
        return self.key
