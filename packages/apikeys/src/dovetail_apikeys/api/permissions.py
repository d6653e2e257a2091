from __future__ import annotations

import copy
from typing import Any, Final, Self

from django.utils.translation import gettext_lazy as _
from rest_framework.permissions import SAFE_METHODS, BasePermission, IsAuthenticated, OperationHolderMixin
from rest_framework.request import Request
from rest_framework.views import APIView

from dovetail_apikeys import scopes
from dovetail_apikeys.credential import APIKeyCredential
from dovetail_core.context import Credential

#: Every scope that a permission names; a check holds them against those that are declared.
asked_scopes: Final[set[str]] = set()


def scoped(request: Request) -> Credential | None:
    """The request's credential if it is one that scopes bound: an API key, or another package's like it."""
    return request.auth if isinstance(request.auth, Credential) else None


class HasScope(OperationHolderMixin, BasePermission):
    """A key needs the scope; a signed-in person, whom no scopes bound, passes.

    ``HasScope("invoices:read")`` for every request; ``HasScope(read="invoices:read", write="invoices:write")`` by
    method; ``HasScope(list="invoices:list", read=…, write=…)`` by action of a view set first. What is not named is
    closed to keys. 403 ``insufficient_scope`` with the scope that is missing. For machines only: with ``HasAPIKey``.
    """

    code = "insufficient_scope"
    message: Any = None

    def __init__(self, scope: str | None = None, /, **by_action: str) -> None:
        self.scope = scope
        self.by_action = by_action
        named = {*by_action.values(), *([scope] if scope else [])}
        scopes.validate_names(named)
        asked_scopes.update(named)

    def __call__(self) -> Self:
        # DRF instantiates what permission_classes lists. A copy, because the message is of one request.
        return copy.copy(self)

    def required(self, request: Any, view: Any) -> str | None:
        """The scope that this request needs, or None where keys are not let in."""
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
        if not scopes.covers(credential.scopes or (), required):
            self.message = _("The API key needs the scope %s.") % required
            return False
        return True


class HasAPIKey(BasePermission):
    """The request comes with an API key, whatever its scopes."""

    message = _("This endpoint is for API keys.")

    def has_permission(self, request: Request, view: APIView) -> bool:
        return isinstance(request.auth, APIKeyCredential)


class IsHuman(IsAuthenticated):
    """A signed-in person, not a machine; nor a key that acts for a person."""

    message = _("API keys cannot do this. Sign in.")

    def has_permission(self, request: Request, view: APIView) -> bool:
        return super().has_permission(request, view) and scoped(request) is None


ManagesAPIKeys = HasScope(read=scopes.READ, write=scopes.WRITE)
"""The default of ``API_KEYS_PERMISSION_CLASSES``: every signed-in person whom the resolver gives an organization, and
keys with ``api_keys:read`` and ``api_keys:write``."""
