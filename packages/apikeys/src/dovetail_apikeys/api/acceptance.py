"""Whether a request may authenticate by API key: on every view, or only where the view declares it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rest_framework.request import Request
from rest_framework.settings import api_settings

from dovetail_apikeys.verification.authentication import presents_key, request_settings

_EVALUATING = "_dovetail_apikeys_evaluating"


def accepts_keys(request: Request) -> bool:
    """Return whether the view of ``request`` accepts keys according to ``API_KEYS_ACCEPT``.

    With ``"declared"``, adding the authentication class to the defaults changes no view: a key is an authenticated
    caller, so it would pass ``IsAuthenticated`` on views that were written for users.
    """
    if request_settings().accept == "everywhere":
        return True
    view = request.parser_context.get("view")
    # Without a view, the caller has chosen the class itself.
    return view is None or lists_own_classes(view) or _declares_scopes(view, request)


def lists_own_classes(view: Any) -> bool:
    """Return whether the view, or a base class of it, has ``authentication_classes`` of its own."""
    # Imported late: rest_framework.views imports the default authentication classes.
    from rest_framework.views import APIView

    classes = getattr(view, "authentication_classes", None)
    return classes is not APIView.authentication_classes and classes is not api_settings.DEFAULT_AUTHENTICATION_CLASSES


def declares_scopes(view: Any, permissions: Iterable[Any]) -> bool:
    """Return whether the contract of the view has scopes, or one of its permissions is for keys."""
    contract = getattr(view, "contract", None)
    return bool(isinstance(contract, Mapping) and contract.get("scopes")) or any(map(_is_for_keys, permissions))


def _declares_scopes(view: Any, request: Request) -> bool:
    from rest_framework.views import APIView

    if declares_scopes(view, getattr(view, "permission_classes", ())):
        return True
    get_permissions = getattr(type(view), "get_permissions", None)
    if get_permissions in {None, APIView.get_permissions} or not presents_key(request._request):
        return False
    # The method may read request.user, which would call this function again. It sees an anonymous request then.
    if getattr(request._request, _EVALUATING, False):
        return False
    setattr(request._request, _EVALUATING, True)
    try:
        return any(map(_is_for_keys, view.get_permissions()))
    finally:
        delattr(request._request, _EVALUATING)


def _is_for_keys(permission: Any) -> bool:
    """Return whether a permission, or an operand of ``&`` and ``|``, is ``HasScope`` or ``HasAPIKey``."""
    from rest_framework.permissions import NOT, SingleOperandHolder

    from dovetail_apikeys.api.permissions import HasAPIKey, HasScope

    # Tuples, because REST framework gives | of permission classes another meaning.
    if isinstance(permission, type):
        return issubclass(permission, (HasScope, HasAPIKey))
    if isinstance(permission, (HasScope, HasAPIKey)):
        return True
    if isinstance(permission, (NOT, SingleOperandHolder)):
        return False  # ~HasAPIKey excludes keys
    operands = (getattr(permission, name, None) for name in ("op1_class", "op2_class", "op1", "op2"))
    return any(_is_for_keys(operand) for operand in operands if operand is not None)
