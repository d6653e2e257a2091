"""The exceptions of support access. ``str(error)`` may be shown to administrators; ``error.code`` is stable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from django.utils.translation import gettext as _


class SupportAccessError(Exception):
    """The base of the exceptions of support access."""

    code: ClassVar[str] = "invalid"


class InvalidValue(SupportAccessError):
    """A value is missing or out of range. ``field`` names it."""

    def __init__(self, field: str, message: str, code: str = "invalid") -> None:
        self.field = field
        self.code = code  # type: ignore[misc]  # of this instance
        super().__init__(message)


class SupportAccessOff(SupportAccessError):
    code = "not_found"

    def __init__(self) -> None:
        super().__init__(_("Support access is switched off: ADMINAPI_IMPERSONATION is False."))


class Forbidden(SupportAccessError):
    """The account must not be accessed by this administrator."""


class UserIsAdministrator(Forbidden):
    """The account has rights that the administrator lacks, or could reach the admin API."""

    code = "user_is_administrator"

    def __init__(self) -> None:
        super().__init__(_("The user is an administrator, or has permissions that you lack."))


class Conflict(SupportAccessError):
    """The state of the account or of the access does not allow the change."""


class OwnAccount(Conflict):
    code = "own_account"

    def __init__(self) -> None:
        super().__init__(_("You cannot do this with your own account."))


class UserInactive(Conflict):
    code = "account_inactive"

    def __init__(self) -> None:
        super().__init__(_("The user is inactive."))


class OwnRequest(Conflict):
    """The attack: an administrator is also an owner of the organization, and consents to their own request."""

    code = "own_request"

    def __init__(self) -> None:
        super().__init__(_("Another person must answer the request: it is your own."))


class ConsentRequired(Conflict):
    code = "consent_required"

    def __init__(self) -> None:
        super().__init__(_("The customer has not approved the access yet."))


class AccessOver(Conflict):
    code = "support_access_over"

    def __init__(self) -> None:
        super().__init__(_("The support access has ended, or its time is over."))


class OrganizationRequired(InvalidValue):
    """The user belongs to several organizations, or to others than the named one."""

    def __init__(self, allowed: Sequence[str]) -> None:
        text = _("Name one of the organizations of the user: %(organizations)s.")
        if not allowed:
            text = _("The user belongs to no organization.")
        super().__init__("organization_id", text % {"organizations": ", ".join(allowed[:20])}, "organization_required")
