from __future__ import annotations

from typing import Any, NoReturn

from django.db import models
from django.utils.translation import gettext_lazy as _

from dovetail_audit.exceptions import AppendOnly
from dovetail_core.models import uuid7


class AppendOnlyQuerySet(models.QuerySet[Any]):
    """Refuses writes by the ORM with a named error. The triggers of the database refuse those by SQL."""

    def _refuse(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise AppendOnly(
            f"{self.model._meta.label} is append-only. Write entries with dovetail_audit.record(), erase personal data "
            "with manage.py audit_erase, and delete old entries with manage.py audit_prune."
        )

    update = delete = create = bulk_create = bulk_update = get_or_create = update_or_create = _refuse
    aupdate = adelete = acreate = abulk_create = abulk_update = aget_or_create = aupdate_or_create = _refuse
    # Django's templates must not call these either.
    _refuse.alters_data = True  # type: ignore[attr-defined]


class Entry(models.Model):
    """One event: who did what to which object, when, from where, and with which outcome.

    It has no foreign keys: a deleted user would be an UPDATE (``SET_NULL``) or a DELETE (``CASCADE``) of entries.
    The personal columns can be set to NULL once. The hash covers only ``commitment`` to them.
    """

    class Outcome(models.TextChoices):
        INTENT = "intent", _("intent")
        SUCCESS = "success", _("success")
        DENIED = "denied", _("denied")
        FAILED = "failed", _("failed")

    class ActorKind(models.TextChoices):
        USER = "user", _("user")
        API_KEY = "api_key", _("API key")
        SYSTEM = "system", _("system")
        ANONYMOUS = "anonymous", _("anonymous")

    id = models.UUIDField(_("id"), primary_key=True, default=uuid7, editable=False)
    at = models.DateTimeField(_("time"))
    organization = models.CharField(_("organization"), max_length=64, null=True)  # noqa: DJ001  # none is not ""
    actor_kind = models.CharField(_("kind of actor"), max_length=16, choices=ActorKind)
    actor = models.CharField(_("actor"), max_length=64, blank=True)
    auth = models.CharField(_("authentication"), max_length=32, blank=True)
    impersonator = models.CharField(_("impersonator"), max_length=64, null=True)  # noqa: DJ001  # none is not ""
    action = models.CharField(_("action"), max_length=100)
    outcome = models.CharField(_("outcome"), max_length=16, choices=Outcome)
    status = models.SmallIntegerField(_("HTTP status"), null=True)
    problem = models.CharField(_("error code"), max_length=64, blank=True)
    target_kind = models.CharField(_("kind of target"), max_length=100, blank=True)
    target = models.CharField(_("target"), max_length=64, blank=True)
    origin = models.CharField(_("origin"), max_length=16, blank=True)
    request_id = models.CharField(_("request id"), max_length=64, blank=True)
    data = models.JSONField(_("data"), default=dict)

    actor_label = models.CharField(_("name of actor"), max_length=256, null=True)  # noqa: DJ001  # null: erased
    target_label = models.CharField(_("name of target"), max_length=256, null=True)  # noqa: DJ001
    ip = models.CharField(_("client address"), max_length=50, null=True)  # noqa: DJ001
    user_agent = models.CharField(_("user agent"), max_length=256, null=True)  # noqa: DJ001
    private = models.JSONField(_("personal data"), null=True)
    salt = models.BinaryField(_("salt"), max_length=16, null=True)

    commitment = models.BinaryField(_("commitment"), max_length=32)
    erased_at = models.DateTimeField(_("erased at"), null=True)
    mac = models.BinaryField(_("authentication code"), max_length=32)
    version = models.SmallIntegerField(_("version"), default=1)

    objects = AppendOnlyQuerySet.as_manager()

    class Meta:
        verbose_name = _("audit entry")
        verbose_name_plural = _("audit entries")
        default_permissions = ("view",)
        permissions = [
            ("export_entry", "Can export audit entries"),
            ("verify_entry", "Can verify the audit log"),
            ("erase_entry", "Can erase personal data from audit entries"),
        ]
        indexes = [
            models.Index(fields=["organization", "-id"], name="dovetail_audit_organization"),
            models.Index(fields=["actor", "-id"], name="dovetail_audit_actor"),
            models.Index(fields=["target_kind", "target", "-id"], name="dovetail_audit_target"),
            models.Index(fields=["action", "-id"], name="dovetail_audit_action"),
            models.Index(fields=["request_id"], name="dovetail_audit_request"),
            # Refusals and failures are rare: without it, their first page reads the whole table.
            models.Index(fields=["outcome", "-id"], name="dovetail_audit_outcome"),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.pk}"

    def save(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise AppendOnly("Entries are append-only. Write an entry with dovetail_audit.record().")

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise AppendOnly("Entries are append-only. Delete old entries with manage.py audit_prune.")

    asave, adelete = save, delete


PERSONAL = ("actor_label", "target_label", "ip", "user_agent", "private", "salt")
"""The columns of an entry that an erasure sets to NULL."""


class Leaf(models.Model):
    """The place of an entry in the Merkle tree (RFC 6962). It stays when the entry is pruned."""

    position = models.BigIntegerField(_("position"), primary_key=True)
    entry = models.UUIDField(_("entry"), unique=True)
    hash = models.BinaryField(_("hash"), max_length=32)

    class Meta:
        verbose_name = _("leaf")
        verbose_name_plural = _("leaves")

    def __str__(self) -> str:
        return str(self.position)


class Tile(models.Model):
    """The root of the ``index``-th complete block of ``256 ** level`` leaves, so that a proof reads few hashes."""

    id = models.BigAutoField(_("id"), primary_key=True)
    level = models.SmallIntegerField(_("level"))
    index = models.BigIntegerField(_("index"))
    hash = models.BinaryField(_("hash"), max_length=32)

    class Meta:
        verbose_name = _("tile")
        verbose_name_plural = _("tiles")
        constraints = [models.UniqueConstraint(fields=["level", "index"], name="dovetail_audit_one_tile")]

    def __str__(self) -> str:
        return f"{self.level}/{self.index}"


class Checkpoint(models.Model):
    """A signed root of the tree of the first ``size`` leaves."""

    size = models.BigIntegerField(_("size"), primary_key=True)
    root = models.BinaryField(_("root"), max_length=32)
    at = models.DateTimeField(_("time"))
    frontier = models.BinaryField(_("frontier"), max_length=64 * 32)
    signature = models.TextField(_("signed note"))
    anchored_at = models.DateTimeField(_("anchored at"), null=True)
    anchor = models.TextField(_("anchors"), blank=True)

    class Meta:
        verbose_name = _("checkpoint")
        verbose_name_plural = _("checkpoints")

    def __str__(self) -> str:
        return str(self.size)


class Seal(models.Model):
    """The only row, which the sealer locks: when it last looked a day back, and which checkpoint it anchored last."""

    id = models.SmallIntegerField(_("id"), primary_key=True, default=1)
    day_at = models.DateTimeField(_("looked a day back at"), null=True)
    anchored_size = models.BigIntegerField(_("anchored checkpoint"), null=True)

    class Meta:
        verbose_name = _("seal")
        verbose_name_plural = _("seals")

    def __str__(self) -> str:
        return str(self.pk)
