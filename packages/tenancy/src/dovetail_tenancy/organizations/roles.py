"""Roles and what they permit. Roles are rows' values, not choices: ``TENANCY_ROLES`` may change without a migration."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from django.contrib.auth import get_user_model

from dovetail_tenancy import get_membership_model
from dovetail_tenancy.isolation.scope import organization_key

OWNER: Final = "owner"

#: What the package's own endpoints and services ask for. A project adds its own: ``"invoices.approve"``.
PERMISSIONS: Final = (
    "organization.view",
    "organization.update",
    "organization.delete",
    "organization.transfer",
    "members.view",
    "members.invite",
    "members.change_role",
    "members.remove",
    "billing.manage",
)

DEFAULT_ROLES: Final[Mapping[str, Sequence[str]]] = {
    OWNER: PERMISSIONS,
    "admin": (
        "organization.view",
        "organization.update",
        "members.view",
        "members.invite",
        "members.change_role",
        "members.remove",
    ),
    "member": ("organization.view", "members.view"),
    "billing": ("organization.view", "members.view", "billing.manage"),
}

_PERMISSION = re.compile(r"[a-z_]+\.[a-z_]+")
# The column of AbstractMembership.role.
_LONGEST_ROLE = 50


def validate_roles(value: object) -> None:
    """Raises ``ValueError("must be …")`` for what ``TENANCY_ROLES`` does not take."""
    if not isinstance(value, Mapping) or next(iter(value), None) != OWNER:
        raise ValueError(
            f"must be a dict from roles to their permissions, highest role first, and begin with {OWNER!r}"
        )
    for role, permissions in value.items():
        if not isinstance(role, str) or not 0 < len(role) <= _LONGEST_ROLE:
            raise ValueError(f"must be a dict whose keys are roles of 1 to {_LONGEST_ROLE} characters, not {role!r}")
        if isinstance(permissions, str) or not isinstance(permissions, Sequence | frozenset | set):
            raise ValueError(f"must be a dict whose values are lists of permissions; {role!r} has {permissions!r}")
        for permission in permissions:
            if not isinstance(permission, str) or not _PERMISSION.fullmatch(permission):
                raise ValueError(f"must be a dict of permissions like 'members.invite'; {role!r} has {permission!r}")


def declared_roles() -> Mapping[str, Sequence[str]]:
    # Not at the top: conf declares TENANCY_ROLES with the default and the validator of this module.
    from dovetail_tenancy.conf import conf

    return conf.ROLES


def rank(role: str) -> int:
    """0 for the highest role, growing downwards; a role that is declared no more ranks below all others."""
    order = list(declared_roles())
    return order.index(role) if role in order else len(order)


def role_permits(role: str | None, permission: str) -> bool:
    """Whether a role grants a permission. ``owner`` grants every one, also those that are named nowhere."""
    return role == OWNER or (role is not None and permission in declared_roles().get(role, ()))


def is_person(user: Any) -> bool:
    """Whether this is a row of the user model who may sign in.

    A machine's principal never is: its key could equal some person's.
    """
    account: Any = user if isinstance(user, get_user_model()) else None
    return account is not None and account.pk is not None and bool(getattr(account, "is_active", True))


def role_of(user: Any, organization: Any, *, using: str | None = None) -> str | None:
    """The user's role in the organization (an instance or its key) by one query, or None. Never cached."""
    if not is_person(user):
        return None
    memberships = get_membership_model()._base_manager.using(using).filter(user=user.pk)
    rows = memberships.filter(organization=organization_key(organization))
    role: str | None = next(iter(rows.values_list("role", flat=True)), None)
    return role


def has_permission(user: Any, organization: Any, permission: str) -> bool:
    """Whether the user's role in the organization grants ``permission``: one query, none for who cannot sign in."""
    return role_permits(role_of(user, organization), permission)
