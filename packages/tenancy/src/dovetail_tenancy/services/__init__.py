"""The functions that write organizations, memberships and invitations.

Each function is one transaction on the organization's database. ``actor`` is the user whose role limits the change, and
the actor of the event. Without ``actor`` the system acts, which has no limits. A forbidden change raises a
``dovetail_tenancy.exceptions.TenancyError`` and writes nothing.
"""

from __future__ import annotations

from dovetail_tenancy.services.accounts import deactivate_user, delete_user
from dovetail_tenancy.services.invitations import (
    accept_invitation,
    decline_invitation,
    invite,
    purge_invitations,
    resend_invitation,
    revoke_invitation,
    sign_up_by_invitation,
)
from dovetail_tenancy.services.members import (
    add_member,
    change_role,
    leave_organization,
    remove_member,
    transfer_ownership,
)
from dovetail_tenancy.services.organizations import create_organization, delete_organization, update_organization

__all__ = [
    "accept_invitation",
    "add_member",
    "change_role",
    "create_organization",
    "deactivate_user",
    "decline_invitation",
    "delete_organization",
    "delete_user",
    "invite",
    "leave_organization",
    "purge_invitations",
    "remove_member",
    "resend_invitation",
    "revoke_invitation",
    "sign_up_by_invitation",
    "transfer_ownership",
    "update_organization",
]
