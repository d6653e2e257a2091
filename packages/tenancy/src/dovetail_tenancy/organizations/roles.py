"""The roles that ``TENANCY_ROLES`` declares, and the permissions they grant.

A role is a value in a row and not a choice of the column, so ``TENANCY_ROLES`` may change without a migration.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dovetail_tenancy.conf import conf
from dovetail_tenancy.exceptions import RoleNotAllowed
from dovetail_tenancy.isolation.organization_model import organization_key
from dovetail_tenancy.organizations.project_models import get_membership_model, is_person
from dovetail_tenancy.organizations.role_table import OWNER


def declared_roles() -> Mapping[str, Sequence[str]]:
    return conf.ROLES


def rank(role: str) -> int:
    """Return 0 for the highest role, and more for lower ones. An undeclared role ranks below all others."""
    order = list(declared_roles())
    return order.index(role) if role in order else len(order)


def role_permits(role: str | None, permission: str) -> bool:
    """Return whether a role grants a permission. ``owner`` grants all of them, undeclared ones too."""
    return role == OWNER or (role is not None and permission in declared_roles().get(role, ()))


def role_of(user: Any, organization: Any, *, using: str | None = None) -> str | None:
    """Return the user's role in the organization (an instance or a key), or None. One query, never cached."""
    if not is_person(user):
        return None
    memberships = get_membership_model()._base_manager.using(using).filter(user=user.pk)
    rows = memberships.filter(organization=organization_key(organization))
    role: str | None = next(iter(rows.values_list("role", flat=True)), None)
    return role


def has_permission(user: Any, organization: Any, permission: str) -> bool:
    """Return whether the user's role in the organization grants ``permission``, such as ``"members.invite"``.

    One query, never cached; no query for a user who cannot sign in.
    """
    return role_permits(role_of(user, organization), permission)


def authorize(actor: Any, organization_id: Any, permission: str, *affected_roles: str, using: str) -> None:
    """Raise ``RoleNotAllowed`` unless the actor's role has the permission and no affected role ranks above it.

    Call it under the organization's lock: an actor who was demoted since the request began has lost the permission.
    The actor ``None`` is the system (an admin site, a command, a migration) and is always allowed.
    """
    if actor is None:
        return
    actor_role = role_of(actor, organization_id, using=using)
    if actor_role is None or not role_permits(actor_role, permission):
        raise RoleNotAllowed(f"This needs a role with {permission!r}; yours is {actor_role or 'none'}.")
    for role in affected_roles:
        if rank(role) < rank(actor_role):
            raise RoleNotAllowed(f"The role {role!r} is above yours, {actor_role!r}. Ask somebody who has it.")
