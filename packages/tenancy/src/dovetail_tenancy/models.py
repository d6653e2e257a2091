from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from dovetail_core.models import SettingForeignKey, uuid7
from dovetail_tenancy.base import AbstractMembership, AbstractOrganization
from dovetail_tenancy.conf import membership_path
from dovetail_tenancy.isolation.constraints import SameOrganization as SameOrganization
from dovetail_tenancy.isolation.fields import OrganizationForeignKey as OrganizationForeignKey
from dovetail_tenancy.isolation.fields import TenantForeignKey as TenantForeignKey
from dovetail_tenancy.isolation.fields import TenantModel as TenantModel
from dovetail_tenancy.isolation.fields import TenantOneToOneField as TenantOneToOneField
from dovetail_tenancy.isolation.querysets import TenantManager as TenantManager
from dovetail_tenancy.isolation.querysets import TenantQuerySet as TenantQuerySet


class Organization(AbstractOrganization):
    members = models.ManyToManyField(
        settings.AUTH_USER_MODEL,
        through=settings.TENANCY_MEMBERSHIP_MODEL,
        through_fields=(membership_path("organization"), membership_path("user")),
        verbose_name=_("members"),
        related_name="+",
    )

    class Meta(AbstractOrganization.Meta):
        swappable = "TENANCY_ORGANIZATION_MODEL"


class Membership(AbstractMembership):
    class Meta(AbstractMembership.Meta):
        swappable = "TENANCY_MEMBERSHIP_MODEL"


class Invitation(models.Model):
    """An invitation of an address. Not a ``TenantModel``, because a token is looked up without an organization."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    organization = SettingForeignKey(
        setting="TENANCY_ORGANIZATION_MODEL",
        verbose_name=_("organization"),
        on_delete=models.CASCADE,
        related_name="+",
    )
    email = models.EmailField(_("email address"), max_length=254)
    role = models.CharField(_("role"), max_length=50)
    invited_by = SettingForeignKey(
        setting="AUTH_USER_MODEL",
        verbose_name=_("invited by"),
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
    )
    # invited_by cannot replace this flag: it is null for the system and for an inviter who was deleted.
    bounded = models.BooleanField(
        _("limited by the inviter's role"),
        default=True,
        editable=False,
        help_text=_("Whether the inviter must still be able to grant the role when the invitation is accepted."),
    )
    token_hash = models.CharField(_("token hash"), max_length=64, unique=True, editable=False)
    # Allows one pending invitation per address. MariaDB has no conditional unique constraint, but nulls never collide.
    pending_key = models.CharField(_("pending key"), max_length=64, null=True, unique=True, editable=False)  # noqa: DJ001
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)
    expires_at = models.DateTimeField(_("expires at"), db_index=True)
    accepted_at = models.DateTimeField(_("accepted at"), null=True, blank=True)
    declined_at = models.DateTimeField(_("declined at"), null=True, blank=True)
    revoked_at = models.DateTimeField(_("revoked at"), null=True, blank=True)

    class Meta:
        verbose_name = _("invitation")
        verbose_name_plural = _("invitations")
        indexes = [models.Index(fields=["organization", "-id"], name="tenancy_invitation_newest")]

    def __str__(self) -> str:
        return self.email

    @property
    def status(self) -> str:
        """Return ``accepted``, ``declined``, ``revoked``, ``expired`` or ``pending``."""
        for status in ("accepted", "declined", "revoked"):
            if getattr(self, f"{status}_at"):
                return status
        return "pending" if self.expires_at > timezone.now() else "expired"
