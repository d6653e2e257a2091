"""The refusals of the guard. Each has a stable code; ``extensions`` are members of the problem (RFC 9457 3.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext_lazy as _
from rest_framework import status
from rest_framework.exceptions import APIException, AuthenticationFailed, NotFound, PermissionDenied

from dovetail_adminapi.conf import conf


class Denied(PermissionDenied):
    """403 ``permission_denied``. Staff learns the name of the permission, which others could use as a map."""

    def __init__(self, permission: str | None = None) -> None:
        super().__init__()
        self.extensions: Mapping[str, Any] = {} if permission is None else {"permission": permission}


class MachinesNotAdmitted(PermissionDenied):
    default_detail = _("API keys cannot call this operation.")
    default_code = "machines_not_admitted"


class ImpersonationNotAdmitted(PermissionDenied):
    default_detail = _("A token that acts for another person cannot call the admin API.")
    default_code = "impersonation_not_admitted"


class CSRFFailed(PermissionDenied):
    default_detail = _("The request comes from another site, or its CSRF token is missing or incorrect.")
    default_code = "csrf_failed"


class AmbiguousCredentials(APIException):
    status_code = status.HTTP_400_BAD_REQUEST
    default_detail = _("The token and the session belong to different people. Send only one of them.")
    default_code = "ambiguous_credentials"


class TokenTooOld(AuthenticationFailed):
    """401, because a new token may help: the roles of an old one do not count."""

    default_detail = _("The token is too old for its roles. Request a new one.")
    default_code = "token_too_old"


class InactiveUser(AuthenticationFailed):
    default_detail = _("The user is inactive or deleted.")
    default_code = "user_inactive"


class ReauthenticationRequired(APIException):
    """401 with the challenge of RFC 9470, also for sessions.

    Not an ``AuthenticationFailed``: REST framework takes its challenge and status from the first authentication class.
    """

    status_code = status.HTTP_401_UNAUTHORIZED
    default_detail = _("The last sign-in is too long ago for this operation. Sign in again.")
    default_code = "reauthentication_required"

    def __init__(self) -> None:
        super().__init__()
        self.auth_header = (
            'Bearer error="insufficient_user_authentication", error_description="A more recent sign-in is required", '
            f"max_age={conf.REAUTHENTICATE_SECONDS}"
        )
        self.extensions: Mapping[str, Any] = {"max_age": conf.REAUTHENTICATE_SECONDS}


class ElsewhereNotFound(NotFound):
    """404 for a host or network that does not serve the admin API. It looks like any other 404."""
