"""The domain events of this package (see ``dovetail_core.events``).

==================================  ============  ===============================================================
name                                target        data
==================================  ============  ===============================================================
organization.created                organization
organization.updated                organization  ``fields``: the names of the written fields
organization.deleted                organization  a copy of the deleted row; ``organization_id`` is its key
organization.ownership_transferred  organization  ``user_id`` of the new owner
member.added                        membership    ``user_id``, ``role``
member.role_changed                 membership    ``user_id``, ``role``, ``previous_role``
member.removed                      membership    a copy of the deleted row; ``user_id``, ``role``
invitation.created                  invitation    ``role``
invitation.resent                   invitation    ``role``
invitation.accepted                 invitation    ``role``, ``user_id``; this user owns the address
invitation.declined                 invitation    ``role``
invitation.revoked                  invitation    ``role``
==================================  ============  ===============================================================

When a member leaves, the actor is the member. Deleting an organization emits no events for its members.
"""

from __future__ import annotations

from typing import Any, Final

from django.db.models import Model

from dovetail_core import events
from dovetail_tenancy.organizations.project_models import Actor, Member

ORGANIZATION_CREATED: Final = "organization.created"
ORGANIZATION_UPDATED: Final = "organization.updated"
ORGANIZATION_DELETED: Final = "organization.deleted"
OWNERSHIP_TRANSFERRED: Final = "organization.ownership_transferred"
MEMBER_ADDED: Final = "member.added"
MEMBER_ROLE_CHANGED: Final = "member.role_changed"
MEMBER_REMOVED: Final = "member.removed"
INVITATION_CREATED: Final = "invitation.created"
INVITATION_RESENT: Final = "invitation.resent"
INVITATION_ACCEPTED: Final = "invitation.accepted"
INVITATION_DECLINED: Final = "invitation.declined"
INVITATION_REVOKED: Final = "invitation.revoked"


def emit_organization(name: str, organization: Model, *, actor: Actor | None, using: str, **data: Any) -> None:
    events.emit(name, actor=actor, organization_id=organization.pk, target=organization, data=data, using=using)


def emit_member(name: str, membership: Member, *, actor: Actor | None, using: str, **data: Any) -> None:
    data = {"user_id": str(membership.user_id), "role": membership.role, **data}
    key = membership.organization_id
    events.emit(name, actor=actor, organization_id=key, target=membership, data=data, using=using)


def emit_invitation(name: str, invitation: Any, *, actor: Actor | None, using: str, **data: Any) -> None:
    # Without the address: events are logged, and the address is personal data of someone who may have no account.
    data = {"role": invitation.role, **data}
    key = invitation.organization_id
    events.emit(name, actor=actor, organization_id=key, target=invitation, data=data, using=using)
