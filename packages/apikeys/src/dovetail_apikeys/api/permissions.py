from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

from django.utils.translation import gettext_lazy as _
from rest_framework.permissions import SAFE_METHODS, BasePermission, IsAuthenticated, OperationHolderMixin
from rest_framework.request import Request

from dovetail_apikeys.conf import validate_scope_names
from dovetail_apikeys.principal import APIKeyCredential
from dovetail_apikeys.restrictions import scopes
from dovetail_core.context import Credential

if TYPE_CHECKING:
    # Not at run time: rest_framework.views imports the default classes, and so this module.
    from rest_framework.views import APIView

#: The scopes of all permissions. A system check compares them with the declared scopes.
required_scopes: Final[set[str]] = set()


class HasScope(OperationHolderMixin, BasePermission):
    """Require a scope of API keys. Signed-in users have no scopes and are always allowed.

    ``HasScope("invoices:read")`` applies to every request; ``HasScope(read="invoices:read", write="invoices:write")``
    depends on the method; ``HasScope(list="invoices:list", read=…, write=…)`` first looks for the action of a view set.
    Keys cannot use methods and actions that are not listed. The response is 403 ``insufficient_scope`` with the missing
    scope. Combine it with ``HasAPIKey`` to exclude users.
    """

    code = "insufficient_scope"
    message: Any = None
    checks_scopes: ClassVar[bool] = True

    def __init__(self, scope: str | None = None, /, **by_action: str) -> None:
        self.scope = scope
        self.by_action = by_action
        names = {*by_action.values(), *([scope] if scope else [])}
        validate_scope_names(names)
        required_scopes.update(names)

    def __call__(self) -> Self:
        # REST framework calls the entries of permission_classes. Return a copy, because the message is per request.
        return copy.copy(self)

    def required(self, request: Request, view: APIView) -> str | None:
        """Return the scope that this request requires, or None if keys are not allowed."""
        action = getattr(view, "action", None)
        if action in self.by_action:
            return self.by_action[action]
        return self.by_action.get("read" if request.method in SAFE_METHODS else "write", self.scope)

    def has_permission(self, request: Request, view: APIView) -> bool:
        # None with UNAUTHENTICATED_USER = None, which projects without django.contrib.auth need.
        user: Any = request.user
        if user is None or not user.is_authenticated:
            return False
        # An API key, or a credential of another package that has scopes.
        if not isinstance(request.auth, Credential):
            return True
        required = self.required(request, view)
        if required is None:
            self.message = _("API keys cannot perform this action.")
            return False
        if not scopes.covers(request.auth.scopes or (), required):
            self.message = _("The API key lacks the required scope %s.") % required
            return False
        return True


class HasAPIKey(BasePermission):
    """Allow requests with an API key, whatever its scopes."""

    message = _("This endpoint requires an API key.")

    def has_permission(self, request: Request, view: APIView) -> bool:
        return isinstance(request.auth, APIKeyCredential)


class IsHuman(IsAuthenticated):
    """Allow signed-in users. Keys are rejected, including keys that act for a user."""

    message = _("API keys cannot perform this action. Sign in as a user.")
    checks_scopes: ClassVar[bool] = True

    def has_permission(self, request: Request, view: APIView) -> bool:
        return super().has_permission(request, view) and not isinstance(request.auth, Credential)


ManagesAPIKeys = HasScope(read=scopes.READ, write=scopes.WRITE)
"""The default of ``API_KEYS_PERMISSION_CLASSES``: signed-in users for whom the resolver returns an organization, and
keys with ``api_keys:read`` and ``api_keys:write``."""
