from __future__ import annotations

import copy
from typing import Any, Final, Self

from django.utils.translation import gettext_lazy as _
from rest_framework.permissions import SAFE_METHODS, BasePermission, IsAuthenticated, OperationHolderMixin
from rest_framework.request import Request
from rest_framework.views import APIView

from dovetail_apikeys.principal.api_key import APIKeyCredential
from dovetail_apikeys.restrictions import scope_names
from dovetail_core.context import Credential

#: Every scope that a permission names. A system check compares them with the declared scopes.
asked_scopes: Final[set[str]] = set()


def scoped(request: Request) -> Credential | None:
    """The request's credential if it has scopes: an API key, or a similar credential of another package."""
    return request.auth if isinstance(request.auth, Credential) else None


class HasScope(OperationHolderMixin, BasePermission):
    """Requires a scope of API keys. Signed-in people have no scopes and always pass.

    ``HasScope("invoices:read")`` applies to every request; ``HasScope(read="invoices:read", write="invoices:write")``
    depends on the method; ``HasScope(list="invoices:list", read=…, write=…)`` on the action of a view set first. Keys
    cannot use methods and actions that are not named. The response is 403 ``insufficient_scope`` with the missing
    scope. Add ``HasAPIKey`` to exclude people.
    """

    code = "insufficient_scope"
    message: Any = None

    def __init__(self, scope: str | None = None, /, **by_action: str) -> None:
        self.scope = scope
        self.by_action = by_action
        named = {*by_action.values(), *([scope] if scope else [])}
        scope_names.validate_names(named)
        asked_scopes.update(named)

    def __call__(self) -> Self:
        # DRF calls the entries of permission_classes. A copy, because the message belongs to one request.
        return copy.copy(self)

    def required(self, request: Any, view: Any) -> str | None:
        """The scope that this request requires, or None if keys are not allowed."""
        action = getattr(view, "action", None)
        if action in self.by_action:
            return self.by_action[action]
        return self.by_action.get("read" if request.method in SAFE_METHODS else "write", self.scope)

    def has_permission(self, request: Request, view: APIView) -> bool:
        if not request.user.is_authenticated:
            return False
        credential = scoped(request)
        if credential is None:
            return True
        required = self.required(request, view)
        if required is None:
            self.message = _("API keys cannot do this.")
            return False
        if not scope_names.covers(credential.scopes or (), required):
            self.message = _("The API key needs the scope %s.") % required
            return False
        return True


class HasAPIKey(BasePermission):
    """The request has an API key, with any scopes."""

    message = _("This endpoint is for API keys.")

    def has_permission(self, request: Request, view: APIView) -> bool:
        return isinstance(request.auth, APIKeyCredential)


class IsHuman(IsAuthenticated):
    """A signed-in person. Keys are refused, also those that act for a person."""

    message = _("API keys cannot do this. Sign in.")

    def has_permission(self, request: Request, view: APIView) -> bool:
        return super().has_permission(request, view) and scoped(request) is None


ManagesAPIKeys = HasScope(read=scope_names.READ, write=scope_names.WRITE)
"""The default of ``API_KEYS_PERMISSION_CLASSES``: signed-in people for whom the resolver returns an organization, and
keys with ``api_keys:read`` and ``api_keys:write``."""
