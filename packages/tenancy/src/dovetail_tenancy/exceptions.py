"""The exceptions of the services, and those of isolation.

For a ``TenancyError``, ``str(error)`` may be shown to users, and ``error.code`` is stable.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from django.db.models import Model

from dovetail_tenancy.isolation.scope import TenantMismatch as TenantMismatch
from dovetail_tenancy.isolation.scope import TenantRequired as TenantRequired


class TenancyError(Exception):
    """A rule about organizations and memberships forbids the change."""

    code: ClassVar[str] = "invalid"
    message: ClassVar[str] = ""

    def __init__(self, *args: object) -> None:
        super().__init__(*(args or [self.message]))


class Conflict(TenancyError):
    """The present state of the organization or of the account forbids the change."""


class LastOwner(Conflict):
    """The change would leave ``organizations`` without an owner who can sign in."""

    code = "last_owner"

    def __init__(self, organizations: Sequence[Model]) -> None:
        self.organizations = organizations
        names = ", ".join(str(organization) for organization in organizations)
        super().__init__(
            f"No owner who can sign in would remain in: {names}. "
            "Make another active member an owner first, or delete the organization."
        )


class RoleNotAllowed(TenancyError):
    code = "role_not_allowed"


class AlreadyMember(Conflict):
    code = "already_member"
    message = "This user is already a member. Change the role of the membership instead."


class SlugTaken(Conflict):
    code = "slug_taken"

    def __init__(self, slug: str) -> None:
        self.slug = slug
        super().__init__(f"The slug {slug!r} belongs to another organization. Choose a different one.")


class Gone(TenancyError):
    code = "not_found"

    def __init__(self, name: str) -> None:
        super().__init__(f"This {name} no longer exists.")


class UnknownRole(TenancyError):
    code = "unknown_role"

    def __init__(self, role: object, declared: Iterable[str]) -> None:
        super().__init__(f"{role!r} is not a role. The roles are: {', '.join(declared)}.")


class OwnerCannotSignIn(Conflict):
    code = "owner_inactive"
    message = "The owner's account is inactive. Name an owner who can sign in."


class InvalidAddress(TenancyError):
    code = "invalid_address"
    message = "This is not a valid e-mail address."


class AlreadyInvited(Conflict):
    code = "already_invited"
    message = "An invitation for this address is pending. Resend it, or revoke it first."


class InvitationClosed(Conflict):
    code = "invitation_closed"

    def __init__(self, status: str) -> None:
        super().__init__(f"This invitation is already {status}. Create a new one.")


class InvalidInvitation(TenancyError):
    """The token is unknown, expired, used or revoked, or its inviter lost the permission. All cases look the same."""

    code = "invalid_or_expired"
    message = "This invitation is not valid, or is no longer valid. Ask for a new one."


class WrongAccount(Conflict):
    code = "wrong_account"
    message = "This invitation is for another address. Sign in with the account that has this address."


class AccountExists(TenancyError):
    """The address already has an account, and an invitation never signs in to an existing account."""

    code = "account_exists"
    message = "The invited address already has an account. Sign in, then accept the invitation."


class LimitReached(Conflict):
    code = "limit_reached"

    def __init__(self, name: str, allowed: int) -> None:
        self.allowed = allowed
        super().__init__(f"The limit of {allowed} {name} is reached.")


class Vetoed(TenancyError):
    """The exception for a project's ``TENANCY_BEFORE_*`` hook to refuse the change, with a text for users."""

    code = "vetoed"
