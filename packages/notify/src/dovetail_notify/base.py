"""The notification as an abstract model. Importable although ``dovetail_notify`` is not installed."""

from __future__ import annotations

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.utils.translation import gettext_lazy as _

from dovetail_core.fields import SettingForeignKey
from dovetail_notify.indexes import DedupeConstraint, UnreadIndex


class AbstractNotification(models.Model):
    """One notification in one person's inbox, whole in itself: showing a page of them takes no join.

    Inherit from it to add fields, which need defaults, and name your model in ``NOTIFY_NOTIFICATION_MODEL``. A ``Meta``
    of your own inherits ``AbstractNotification.Meta``.
    """

    # An integer whatever the project's keys are: recipients' rows are made by the database itself, which numbers them.
    id = models.BigAutoField(_("id"), primary_key=True)
    # No index of its own: both indexes below begin with it. No reverse name: others claim User.notifications.
    recipient = SettingForeignKey(
        setting="AUTH_USER_MODEL",
        inherited=True,
        on_delete=models.CASCADE,
        related_name="+",
        db_index=False,
        verbose_name=_("recipient"),
    )
    organization_key = models.CharField(_("organization"), max_length=64, null=True, blank=True)  # noqa: DJ001
    type = models.CharField(_("type"), max_length=100)
    title = models.CharField(_("title"), max_length=200)
    body = models.TextField(_("body"), blank=True, default="")
    target_url = models.CharField(_("target"), max_length=1000, blank=True, default="")
    payload = models.JSONField(_("payload"), default=dict, encoder=DjangoJSONEncoder)
    payload_version = models.PositiveSmallIntegerField(_("version of the payload"), default=1)
    actor_key = models.CharField(_("actor"), max_length=64, blank=True, default="")
    collapse_key = models.CharField(_("collapse key"), max_length=200, blank=True, default="")
    batch = models.UUIDField(_("batch"))
    # NULL and not "": unique where there is one, on databases without conditional constraints as well.
    dedupe_key = models.CharField(_("dedupe key"), max_length=150, null=True, blank=True)  # noqa: DJ001
    created_at = models.DateTimeField(_("created at"))
    seen_at = models.DateTimeField(_("seen at"), null=True, blank=True)
    read_at = models.DateTimeField(_("read at"), null=True, blank=True)
    archived_at = models.DateTimeField(_("archived at"), null=True, blank=True)

    class Meta:
        abstract = True
        verbose_name = _("notification")
        verbose_name_plural = _("notifications")
        indexes = [
            models.Index(fields=["recipient", "-id"], name="notify_inbox"),
            UnreadIndex(name="notify_unread"),
        ]
        constraints = [
            DedupeConstraint(name="%(app_label)s_%(class)s_dedupe"),
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def message(self) -> str:
        """Title and body in one text."""
        return f"{self.title}\n{self.body}" if self.body else self.title
