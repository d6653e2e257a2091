"""Requests with the token of a support access: who they act for, and what they must not do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any, ClassVar, Final

from django.contrib.auth import get_user_model
from django.db import router
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext as _
from rest_framework import exceptions
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request

from dovetail_adminapi.conf import conf
from dovetail_adminapi.models import SupportAccess
from dovetail_adminapi.support import access as accesses
from dovetail_adminapi.support import events, tokens
from dovetail_core.accounts import may_sign_in
from dovetail_core.events import emit

#: Application namespaces that a support access never enters, whatever its scope.
CLOSED: Final = frozenset({"admin", "dovetail_adminapi", "dovetail_adminapi_customers"})
#: Names of URLs whose unsafe methods are refused with the scope ``write``: credentials, keys, the account itself, and
#: sockets, which outlive the access. ``ADMINAPI_IMPERSONATION_DENY`` adds those of the project.
DENIED: Final = (
    "dovetail_identity:*",
    "dovetail_identity_v1:*",
    "dovetail_magiclink:*",
    "dovetail_apikeys:*",
    "dovetail_notify:notification-ticket",
    "dovetail_notify:device-*",
    "dovetail_tenancy:organization-detail",
    "dovetail_tenancy:organization-transfer-ownership",
    "dovetail_tenancy:invitation-*",
    "dovetail_tenancy:member-*",
)


@dataclass(frozen=True)
class SupportCredential:
    """The ``request.auth`` of a support access.

    It has no ``scopes``: it acts as the person, and not as a machine. ``organization_id`` limits the request to one
    organization where the project's permissions read it, as those of dovetail_tenancy do.
    """

    access: SupportAccess
    organization_id: Any = None

    @cached_property
    def payload(self) -> Mapping[str, Any]:
        """The claims of the token: ``sub``, the user, and ``act`` (RFC 8693 4.1), the administrator."""
        return {
            "sub": self.access.user_key,
            "act": {"sub": self.access.admin_key},
            "scope": self.access.scope,
            "exp": int(self.access.expires_at.timestamp()) if self.access.expires_at else 0,
            "support_access": str(self.access.pk),
        }


class SupportAccessAuthentication(BaseAuthentication):
    """Authenticates ``Authorization: Bearer dsa_…`` in two queries: the access, and both people.

    401 ``support_access_over`` if the access has ended or expired, or if one of the two may not sign in any more. With
    the scope ``read``, other methods than GET, HEAD and OPTIONS are 403 ``support_access_read_only``. With ``write``,
    changes of credentials, keys, members and the account are 403 ``support_access_denied``. So are, for every scope,
    the admin API, the admin site, and the customer's answer to requests for support access. Other Bearer tokens are
    left to the next class. Each accepted request emits ``support_access.used``, each refused one
    ``support_access.denied``.
    """

    www_authenticate_realm = "api"
    #: For the checks of the order: the class may stand before classes that accept other Bearer tokens.
    leaves_other_tokens: ClassVar[bool] = True

    def authenticate_header(self, request: Request) -> str:
        return f'Bearer realm="{self.www_authenticate_realm}"'

    def authenticate(self, request: Request) -> tuple[Any, SupportCredential] | None:
        token = _token(request)
        if token is None:
            return None
        access = self._access(token)
        user, admin = self._people(access)
        credential = SupportCredential(access, self.organization_id(access))
        code = self.refusal(request, credential)
        data = {"impersonator_id": access.admin_key, "parameters": _described(request, access)}
        if code is not None:
            self._emit(events.SUPPORT_ACCESS_DENIED, access, user, {**data, "status": 403, "problem": code})
            raise exceptions.PermissionDenied(_MESSAGES[code](), code=code)
        self._emit(events.SUPPORT_ACCESS_USED, access, user, data)
        # For middleware and logs that look at Django's request, as they do for other packages of impersonation.
        request._request.impersonator = admin  # type: ignore[attr-defined]  # read by dovetail_audit
        return user, credential

    def organization_id(self, access: SupportAccess) -> Any:
        """Return the key of the organization in its Python type. A project overrides it: here it is text, or None."""
        return access.organization_key or None

    def refusal(self, request: Request, credential: SupportCredential) -> str | None:
        """Return the code of the 403, or None. A project overrides it to refuse more."""
        match = request._request.resolver_match
        if match is None or not CLOSED.isdisjoint((*match.app_names, *match.namespaces)):
            return "support_access_denied"
        if request.method in SAFE_METHODS:
            return None
        if credential.access.scope != "write":
            return "support_access_read_only"
        denied = any(fnmatchcase(match.view_name, pattern) for pattern in (*DENIED, *conf.IMPERSONATION_DENY))
        return "support_access_denied" if denied else None

    def _access(self, token: str) -> SupportAccess:
        key = tokens.key_of(token) if conf.IMPERSONATION else None
        access = None if key is None else accesses.rows().filter(pk=key).first()
        if access is None or accesses.state_of(access, timezone.now()) != "active":
            raise _over()
        return access

    def _people(self, access: SupportAccess) -> tuple[Any, Any]:
        model = get_user_model()
        people = model._default_manager.using(router.db_for_write(model)).in_bulk([access.user_key, access.admin_key])
        by_key = {str(person.pk): person for person in people.values()}
        user, admin = by_key.get(access.user_key), by_key.get(access.admin_key)
        # A person who has become staff since could be used to reach the admin site.
        if user is None or admin is None or not (may_sign_in(user) and may_sign_in(admin)):
            raise _over()
        if getattr(user, "is_staff", False) or getattr(user, "is_superuser", False):
            raise _over()
        return user, admin

    @staticmethod
    def _emit(name: str, access: SupportAccess, user: Any, data: Mapping[str, Any]) -> None:
        emit(
            name,
            actor=user,
            organization_id=access.organization_key or None,
            target=access,
            data=data,
            using=accesses.using(),
        )


_MESSAGES: Final = {
    "support_access_read_only": lambda: _("This support access may only read."),
    "support_access_denied": lambda: _("This is closed to support access."),
}


def _over() -> exceptions.AuthenticationFailed:
    return exceptions.AuthenticationFailed(
        _("The support access has ended, or its time is over."), "support_access_over"
    )


def _token(request: Request) -> str | None:
    scheme, _space, token = get_authorization_header(request).strip().partition(b" ")
    token = token.strip()
    if scheme.lower() != b"bearer" or not token.startswith(tokens.PREFIX.encode()):
        return None
    return token.decode("latin-1")


def _described(request: Request, access: SupportAccess) -> dict[str, Any]:
    plain: HttpRequest = request._request
    match = plain.resolver_match
    described: dict[str, Any] = {
        "support_access": str(access.pk),
        "method": plain.method,
        # The route and not the path, which may contain the token of a link.
        "route": match.route if match else None,
    }
    if match is not None and match.kwargs:
        described["arguments"] = {name: str(value)[:200] for name, value in match.kwargs.items()}
    return described
