from __future__ import annotations

import uuid
from typing import Any

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from dovetail_core.models import SettingForeignKey
from dovetail_notify.base import AbstractNotification


class Notification(AbstractNotification):
    class Meta(AbstractNotification.Meta):
        swappable = "NOTIFY_NOTIFICATION_MODEL"


class Mode(models.TextChoices):
    ON = "on", _("at once")
    OFF = "off", _("never")
    HOURLY = "hourly", _("in an hourly digest")
    DAILY = "daily", _("in a daily digest")


ANY = "*"
"""The type of a preference for all types."""


class Preference(models.Model):
    """A user's choice of when a channel delivers. Without one, the default of the organization or type applies.

    The most specific preference wins: first for organization and type, then for the type, then for the organization,
    then for all.
    """

    id = models.BigAutoField(_("id"), primary_key=True)
    user = SettingForeignKey(
        setting="AUTH_USER_MODEL", on_delete=models.CASCADE, related_name="+", verbose_name=_("user")
    )
    # "" for all organizations. Not NULL, because unique constraints count NULLs as distinct.
    organization_key = models.CharField(_("organization"), max_length=64, blank=True, default="")
    type = models.CharField(_("type"), max_length=100, default=ANY)
    channel = models.CharField(_("channel"), max_length=20)
    mode = models.CharField(_("mode"), max_length=8, choices=Mode)
    # The rank of the preference. The highest one wins.
    specificity = models.PositiveSmallIntegerField(_("specificity"), editable=False)

    class Meta:
        verbose_name = _("preference")
        verbose_name_plural = _("preferences")
        indexes = [models.Index(fields=["type", "channel"], name="notify_preference_type")]
        constraints = [
            models.UniqueConstraint(
                fields=["user", "channel", "type", "organization_key"], name="dovetail_notify_preference_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.channel}: {self.mode}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.specificity = 2 * (self.type != ANY) + (self.organization_key != "")
        super().save(*args, **kwargs)


class OrganizationPreference(models.Model):
    """The default for members of an organization who have no preference of their own."""

    id = models.BigAutoField(_("id"), primary_key=True)
    organization_key = models.CharField(_("organization"), max_length=64)
    type = models.CharField(_("type"), max_length=100, default=ANY)
    channel = models.CharField(_("channel"), max_length=20)
    mode = models.CharField(_("mode"), max_length=8, choices=Mode)

    class Meta:
        verbose_name = _("organization preference")
        verbose_name_plural = _("organization preferences")
        constraints = [
            models.UniqueConstraint(
                fields=["organization_key", "type", "channel"], name="dovetail_notify_organization_preference_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.channel}: {self.mode}"


class Device(models.Model):
    """An app or browser that receives push messages. It belongs to the user who registered it last."""

    class Kind(models.TextChoices):
        FCM = "fcm", _("Android or web app (FCM)")
        APNS = "apns", _("iPhone, iPad or Mac (APNs)")
        WEB = "web", _("browser (Web Push)")

    id = models.BigAutoField(_("id"), primary_key=True)
    user = SettingForeignKey(
        setting="AUTH_USER_MODEL", on_delete=models.CASCADE, related_name="+", verbose_name=_("user")
    )
    kind = models.CharField(_("kind"), max_length=8, choices=Kind)
    token = models.TextField(_("token"), help_text=_("The registration token, or the endpoint's address."))
    # Endpoints are too long for a unique constraint on MariaDB.
    token_hash = models.CharField(_("hash of the token"), max_length=64, unique=True, editable=False)
    keys = models.JSONField(_("keys"), default=dict, blank=True)
    name = models.CharField(_("name"), max_length=100, blank=True, default="")
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)
    registered_at = models.DateTimeField(
        _("registered at"), default=timezone.now, help_text=_("When the device was last registered.")
    )
    retired_at = models.DateTimeField(
        _("retired at"), null=True, blank=True, help_text=_("When the push service reported that the device is gone.")
    )
    retired_reason = models.CharField(_("reason"), max_length=100, blank=True, default="")

    class Meta:
        verbose_name = _("device")
        verbose_name_plural = _("devices")

    def __str__(self) -> str:
        return self.name or str(self.Kind(self.kind).label)


class Delivery(models.Model):
    """One notification on one channel. The rows of this model are the outbox.

    ``next_at`` is the time at which a worker processes the row, and NULL when nothing is left to do. A worker claims a
    row by setting ``lease`` and moving ``next_at`` to the end of the lease. If it dies, another worker takes over then.
    """

    class State(models.TextChoices):
        PENDING = "pending", _("pending")
        HELD = "held", _("waiting for a digest")
        SENT = "sent", _("sent")
        SUPPRESSED = "suppressed", _("not needed")
        DEAD = "dead", _("failed")

    id = models.BigAutoField(_("id"), primary_key=True)
    # No foreign key in the database: it would lock each inbox row as it is written, a quarter of a fan-out's time on
    # PostgreSQL. One transaction writes both rows. If notifications are deleted by SQL alone, workers give up their
    # deliveries, and the purge deletes them.
    notification = SettingForeignKey(
        setting="NOTIFY_NOTIFICATION_MODEL",
        on_delete=models.CASCADE,
        related_name="+",
        db_index=False,
        db_constraint=False,
        verbose_name=_("notification"),
    )
    channel = models.CharField(_("channel"), max_length=20)
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.PENDING)
    digest = models.CharField(_("digest"), max_length=8, choices=Mode, blank=True, default="")
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    next_at = models.DateTimeField(_("next attempt at"), null=True, blank=True, db_index=True)
    lease = models.UUIDField(_("lease"), null=True, blank=True, editable=False)
    sent_at = models.DateTimeField(_("sent at"), null=True, blank=True)
    provider_id = models.CharField(_("provider ID"), max_length=200, blank=True, default="")
    error = models.CharField(_("error"), max_length=200, blank=True, default="")
    devices_done = models.CharField(
        _("finished devices"),
        max_length=400,
        blank=True,
        default="",
        help_text=_("Keys of devices that need no further attempt, while others are tried again."),
    )

    class Meta:
        verbose_name = _("delivery")
        verbose_name_plural = _("deliveries")
        constraints = [
            models.UniqueConstraint(fields=["notification", "channel"], name="dovetail_notify_delivery_once")
        ]

    def __str__(self) -> str:
        return f"{self.channel}: {self.state}"

    @property
    def key(self) -> uuid.UUID:
        """The id for the Message-ID or idempotency key. It is the same on every attempt."""
        notification: Any = self.notification
        return uuid.uuid5(notification.batch, f"{notification.recipient_id}:{self.channel}")


class Ticket(models.Model):
    """A credential that opens one socket, once, within seconds. Not in the cache, which processes may not share."""

    id = models.BigAutoField(_("id"), primary_key=True)
    digest = models.CharField(_("digest"), max_length=64, unique=True)
    user = SettingForeignKey(
        setting="AUTH_USER_MODEL", on_delete=models.CASCADE, related_name="+", verbose_name=_("user")
    )
    organization_key = models.CharField(_("organization"), max_length=64, null=True)  # noqa: DJ001  # like the inbox
    session = models.CharField(_("session"), max_length=64, blank=True, default="")
    origin = models.CharField(_("origin"), max_length=200, blank=True, default="")
    credential_expires_at = models.DateTimeField(_("credential expires at"), null=True)
    expires_at = models.DateTimeField(_("expires at"), db_index=True)

    class Meta:
        verbose_name = _("ticket")
        verbose_name_plural = _("tickets")

    def __str__(self) -> str:
        return str(self.pk)
