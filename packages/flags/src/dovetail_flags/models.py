from __future__ import annotations

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from dovetail_core.models import uuid7
from dovetail_flags.base import AbstractFlag
from dovetail_flags.types.kinds import LONGEST_KEY


class Flag(AbstractFlag):
    class Meta(AbstractFlag.Meta):
        swappable = "FLAGS_FLAG_MODEL"


class FlagRevision(models.Model):
    """A flag after a change. It names the flag by its key, so that the history outlives a deleted flag."""

    id = models.UUIDField(_("id"), primary_key=True, default=uuid7, editable=False)
    flag_key = models.CharField(_("key"), max_length=LONGEST_KEY)
    version = models.PositiveIntegerField(_("version"))
    event = models.CharField(_("event"), max_length=40)
    snapshot = models.JSONField(_("flag"), encoder=DjangoJSONEncoder)
    # The names of the fields that differ from the previous version.
    changes = models.JSONField(_("changes"), default=list)
    # Not a foreign key: principals may be users or machines.
    actor_key = models.CharField(_("actor"), max_length=200, blank=True, default="")
    reason = models.TextField(_("reason"), blank=True, default="")
    at = models.DateTimeField(_("at"), default=timezone.now)

    class Meta:
        verbose_name = _("revision of a feature flag")
        verbose_name_plural = _("revisions of feature flags")
        constraints = [
            models.UniqueConstraint(fields=["flag_key", "version"], name="dovetail_flags_one_revision"),
        ]

    def __str__(self) -> str:
        return f"{self.flag_key} v{self.version}"


class FlagSet(models.Model):
    """A row whose token changes with each change of a flag, so that a process asks with one query for changes.

    The token is random and no counter. A process that reads inside a transaction that is rolled back would otherwise
    hold "version 8" of a flag; the next change is version 8 too, and the process would never read it.
    """

    id = models.PositiveSmallIntegerField(_("id"), primary_key=True, default=1, editable=False)
    token = models.UUIDField(_("token"), default=uuid7, editable=False)

    class Meta:
        verbose_name = _("set of feature flags")
        verbose_name_plural = _("sets of feature flags")

    def __str__(self) -> str:
        return str(self.token)
