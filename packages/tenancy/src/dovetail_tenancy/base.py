"""Abstract models for projects with their own organization or membership model.

They can be imported even if ``dovetail_tenancy`` is not in ``INSTALLED_APPS``.
"""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models.deletion import Collector
from django.utils.translation import gettext_lazy as _

from dovetail_core.models import PrimaryKeyIndex, SettingForeignKey, uuid7
from dovetail_tenancy.conf import OWNER, membership_lookups
from dovetail_tenancy.organizations.project_models import active_members


def _replace_owner(
    collector: Collector, field: models.ForeignKey[Any, Any], sub_objs: models.QuerySet[Any], using: str
) -> None:
    """Do nothing: a signal receiver makes another owner the contact, or refuses the deletion.

    Only the collector of Django's admin learns of organizations that would lose their last owner. It lists protected
    objects on a page, where the receiver's exception would be a server error.
    """
    if not hasattr(collector, "protected"):
        return
    leaving = membership_lookups(user__in=[user.pk for user in collector.data.get(field.remote_field.model, ())])
    protected = [
        organization
        for organization in sub_objs
        if not active_members(organization.pk, OWNER, using=using).exclude(**leaving).exists()
    ]
    if protected:
        raise models.ProtectedError("An organization needs an owner who can sign in.", set(protected))


_replace_owner.lazy_sub_objs = True  # type: ignore[attr-defined]  # as Django marks its own, which need no rows


class OwnerForeignKey(SettingForeignKey):
    """The contact of an organization, who is one of its owners. In migrations its ``on_delete`` is ``PROTECT``."""

    def __init__(self, to: Any = None, on_delete: object = None, **kwargs: Any) -> None:
        kwargs = {"setting": "AUTH_USER_MODEL", "inherited": True, **kwargs}
        super().__init__(to, on_delete=_replace_owner, **kwargs)

    def deconstruct(self) -> tuple[str, str, list[Any], dict[str, Any]]:
        name, path, args, kwargs = super().deconstruct()
        kwargs["on_delete"] = models.PROTECT
        return name, path, args, kwargs


class AbstractOrganization(models.Model):
    """An organization: the tenant that owns rows.

    It has no relation to another model of this package. With one, replacing only the organization or only the
    membership would be a circular dependency between migrations.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(_("name"), max_length=200)
    slug = models.SlugField(_("slug"), max_length=100, unique=True)
    # Deleting a person never deletes a company: another owner becomes the contact, or the deletion is refused.
    owner = OwnerForeignKey(verbose_name=_("owner"), related_name="+")
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)
    updated_at = models.DateTimeField(_("updated at"), auto_now=True)

    class Meta:
        abstract = True
        verbose_name = _("organization")
        verbose_name_plural = _("organizations")

    def __str__(self) -> str:
        return self.name


class AbstractMembership(models.Model):
    """A user's membership of an organization, with a role (a key of ``TENANCY_ROLES``)."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    # No reverse names: a project's user or organization model may already have an attribute of that name.
    user = SettingForeignKey(
        setting="AUTH_USER_MODEL",
        inherited=True,
        verbose_name=_("user"),
        on_delete=models.CASCADE,
        related_name="+",
    )
    organization = SettingForeignKey(
        setting="TENANCY_ORGANIZATION_MODEL",
        inherited=True,
        verbose_name=_("organization"),
        on_delete=models.CASCADE,
        related_name="+",
    )
    role = models.CharField(_("role"), max_length=50)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    class Meta:
        abstract = True
        verbose_name = _("membership")
        verbose_name_plural = _("memberships")
        constraints = [
            models.UniqueConstraint(fields=["organization", "user"], name="%(app_label)s_%(class)s_once"),
        ]
        # The order of the members' list.
        indexes = [PrimaryKeyIndex(fields=["organization", "-pk"])]

    def __str__(self) -> str:
        return f"{self.user_id} · {self.organization_id} · {self.role}"
