"""The abstract notification model, its index and its constraint.

This module can be imported without ``dovetail_notify`` in ``INSTALLED_APPS``.
"""

from __future__ import annotations

from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.utils.translation import gettext_lazy as _

from dovetail_core.models import SettingForeignKey, get_setting_model


def get_notification_model() -> type[AbstractNotification]:
    """Return the model that ``NOTIFY_NOTIFICATION_MODEL`` names. Models must be loaded."""
    return get_setting_model("NOTIFY_NOTIFICATION_MODEL")


class UnreadIndex(models.Index):
    """An index on a recipient's unread notifications, newest first, of all organizations or of each one.

    The index is partial where the database supports that, so that read rows, which are the majority, take no space.
    MariaDB and MySQL have no partial indexes and would skip such an index. There it also covers ``read_at``.
    """

    def __init__(self, *, name: str, by_organization: bool = False) -> None:
        self.by_organization = by_organization
        columns = ["recipient", "organization_key"] if by_organization else ["recipient"]
        super().__init__(fields=[*columns, "-id"], name=name)

    def deconstruct(self) -> tuple[str, Any, dict[str, Any]]:
        path, _, _ = super().deconstruct()
        options = {"by_organization": True} if self.by_organization else {}
        return path, (), {"name": self.name, **options}

    def clone(self) -> UnreadIndex:
        return type(self)(name=self.name, by_organization=self.by_organization)

    def create_sql(
        self, model: type[models.Model], schema_editor: BaseDatabaseSchemaEditor, using: str = "", **kwargs: Any
    ) -> Any:
        partial = schema_editor.connection.features.supports_partial_indexes
        columns = [name for name, _ in self.fields_orders[:-1]]
        names = [*columns, "id"] if partial else [*columns, "read_at", "id"]
        return schema_editor._create_index_sql(  # type: ignore[attr-defined]  # private
            model,
            fields=[model._meta.get_field(name) for name in names],
            name=self.name,
            using=using,
            col_suffixes=[*("" for _ in columns), "DESC"] if partial else ["" for _ in names],
            condition=f"{_quoted(model, 'read_at', schema_editor)} IS NULL" if partial else None,
            **kwargs,
        )


class DedupeConstraint(models.UniqueConstraint):
    """A unique constraint on the recipient and the dedupe key.

    The index is partial where the database supports that: most notifications have no key, and indexing them took a
    quarter of a fan-out's time. On other databases the index covers all rows, and NULLs are distinct from each other.
    """

    def __init__(self, *, name: str) -> None:
        super().__init__(fields=["recipient", "dedupe_key"], name=name)

    def __eq__(self, other: object) -> bool:
        # Different from a plain UniqueConstraint on the same fields, so that migrations replace that one.
        return isinstance(other, DedupeConstraint) and super().__eq__(other)

    __hash__ = None  # type: ignore[assignment]  # like every constraint

    def deconstruct(self) -> tuple[str, Any, dict[str, Any]]:
        path, _, _ = super().deconstruct()
        return path, (), {"name": self.name}

    def _get_condition_sql(self, model: type[models.Model], schema_editor: BaseDatabaseSchemaEditor) -> str | None:
        # Not passed as ``condition``: databases without partial indexes would then have no constraint at all.
        if not schema_editor.connection.features.supports_partial_indexes:
            return None
        return f"{_quoted(model, 'dedupe_key', schema_editor)} IS NOT NULL"


def _quoted(model: type[models.Model], name: str, schema_editor: BaseDatabaseSchemaEditor) -> str:
    field: Any = model._meta.get_field(name)
    return schema_editor.quote_name(field.column)


class AbstractNotification(models.Model):
    """One notification in the inbox of one user. A page of the inbox needs no join.

    To add fields, inherit from this class and name your model in ``NOTIFY_NOTIFICATION_MODEL``. The fields need
    defaults. If your model has a ``Meta`` class, it must inherit from ``AbstractNotification.Meta``.
    """

    # Always an integer: INSERT … SELECT makes the rows, and the database numbers them.
    id = models.BigAutoField(_("id"), primary_key=True)
    # No index of its own: the indexes below start with it. No reverse name: other packages use User.notifications.
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
    # NULL instead of "", so that keys are also unique on databases without partial indexes.
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
            # Without them, reading an inbox passes over the notifications of organizations that the user has left.
            models.Index(fields=["recipient", "organization_key", "-id"], name="notify_organization"),
            UnreadIndex(name="notify_organization_unread", by_organization=True),
        ]
        constraints = [
            DedupeConstraint(name="%(app_label)s_%(class)s_dedupe"),
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def message(self) -> str:
        """The title and the body in one text."""
        return f"{self.title}\n{self.body}" if self.body else self.title
