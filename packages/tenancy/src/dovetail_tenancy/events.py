"""The domain events of this package (see ``dovetail_core.events``).

======================  ============  =========================================================
name                    target        data
======================  ============  =========================================================
organization.created    organization
organization.updated    organization  ``fields``: names of the fields that were written
organization.deleted    organization  as it was; its row is gone, ``organization_id`` is its key
member.added            membership    ``user_id``, ``role``
member.role_changed     membership    ``user_id``, ``role``, ``previous_role``
member.removed          membership    as it was; ``user_id``, ``role``
======================  ============  =========================================================

Deleting an organization removes its members without an event for each.
"""

from __future__ import annotations

from typing import Any, Final

from dovetail_core import events

ORGANIZATION_CREATED: Final = "organization.created"
ORGANIZATION_UPDATED: Final = "organization.updated"
ORGANIZATION_DELETED: Final = "organization.deleted"
MEMBER_ADDED: Final = "member.added"
MEMBER_ROLE_CHANGED: Final = "member.role_changed"
MEMBER_REMOVED: Final = "member.removed"


def emit_organization(name: str, organization: Any, *, actor: Any, using: str, **data: Any) -> None:
    events.emit(name, actor=actor, organization_id=organization.pk, target=organization, data=data, using=using)


def emit_member(name: str, membership: Any, *, actor: Any, using: str, **data: Any) -> None:
    events.emit(
        name,
        actor=actor,
        organization_id=membership.organization_id,
        target=membership,
        data={"user_id": str(membership.user_id), "role": membership.role, **data},
        using=using,
    )
