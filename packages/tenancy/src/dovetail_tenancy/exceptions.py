"""The exceptions of the services. ``str(error)`` may be shown to users; ``error.code`` is stable."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar


class TenancyError(Exception):
    """A rule about organizations and memberships forbids the change."""

    code: ClassVar[str] = "invalid"


class LastOwner(TenancyError):
    """The change would leave ``organizations`` without an owner who can sign in."""

    code = "last_owner"

    def __init__(self, organizations: Sequence[Any]) -> None:
        self.organizations = organizations
        names = ", ".join(str(organization) for organization in organizations)
        super().__init__(
            f"No owner who can sign in would be left in: {names}. "
            "Make another active member an owner first, or delete the organization."
        )


class RoleNotAllowed(TenancyError):
    """The role of the acting member does not permit the change."""

    code = "role_not_allowed"


class AlreadyMember(TenancyError):
    code = "already_member"

    def __init__(self) -> None:
        super().__init__("This user is a member already. Change the role of the membership instead.")


class SlugTaken(TenancyError):
    code = "slug_taken"

    def __init__(self, slug: str) -> None:
        self.slug = slug
        super().__init__(f"The slug {slug!r} belongs to another organization. Choose a different one.")


class Gone(TenancyError):
    """The row that should be changed no longer exists."""

    code = "not_found"

    def __init__(self, what: str) -> None:
        super().__init__(f"This {what} does not exist any more.")


class UnknownRole(TenancyError):
    code = "unknown_role"

    def __init__(self, role: object, declared: Iterable[str]) -> None:
        super().__init__(f"{role!r} is no role. The roles are: {', '.join(declared)}.")


class OwnerCannotSignIn(TenancyError):
    """An organization cannot be created for or transferred to a user whose account is inactive."""

    code = "owner_inactive"

    def __init__(self) -> None:
        super().__init__("The owner's account is inactive. Name an owner who can sign in.")


class InvalidAddress(TenancyError):
    code = "invalid_address"

    def __init__(self) -> None:
        super().__init__("This is no e-mail address.")


class AlreadyInvited(TenancyError):
    code = "already_invited"

    def __init__(self) -> None:
        super().__init__("An invitation for this address is pending. Resend it, or revoke it first.")


class InvitationClosed(TenancyError):
    """The invitation was answered or revoked, so it cannot be resent or revoked."""

    code = "invitation_closed"

    def __init__(self, status: str) -> None:
        super().__init__(f"This invitation is {status} already. Make a new one.")


class InvalidInvitation(TenancyError):
    """The token is unknown, expired, used or revoked, or its inviter lost the right. The caller cannot tell which."""

    code = "invalid_or_expired"

    def __init__(self) -> None:
        super().__init__("This invitation is not valid, or not any more. Ask for a new one.")


class WrongAccount(TenancyError):
    """The invitation is for the address of another account."""

    code = "wrong_account"

    def __init__(self) -> None:
        super().__init__("This invitation is for another address. Sign in with the account that has it.")


class AccountExists(TenancyError):
    """The address has an account already, and an invitation never signs in to an existing account."""

    code = "account_exists"

    def __init__(self) -> None:
        super().__init__("The invited address has an account. Sign in, then accept.")


class LimitReached(TenancyError):
    code = "limit_reached"

    def __init__(self, what: str, allowed: int) -> None:
        self.allowed = allowed
        super().__init__(f"No more {what} are allowed here than {allowed}.")


class Vetoed(TenancyError):
    """Raised by a project's ``TENANCY_BEFORE_*`` hook to refuse the change, with a text for users."""

    code = "vetoed"
