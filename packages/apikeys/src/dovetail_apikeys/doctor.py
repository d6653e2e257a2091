"""The findings of ``manage.py dovetail_doctor`` about API keys."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from rest_framework.permissions import AND, NOT, OR, AllowAny, DjangoModelPermissions, IsAdminUser

from dovetail_apikeys.api.acceptance import declares_scopes, lists_own_classes
from dovetail_apikeys.api.authentication import APIKeyAuthentication
from dovetail_apikeys.api.permissions import HasAPIKey
from dovetail_apikeys.conf import conf
from dovetail_apikeys.principal import APIKeyPrincipal, default_principal
from dovetail_core.doctor import Finding, Issuer, Project, URLconf
from dovetail_core.rest.doctor import Operation, claimants_on_views, operations

_CLASS: Final = "dovetail_apikeys.api.authentication.APIKeyAuthentication"

CREDENTIALS: Final = {_CLASS: f"an API key (Authorization: Bearer, {conf.HEADER or 'no other header'})"}
ISSUERS: Final = [Issuer("API keys", ["dovetail_apikeys.api.views.APIKeyViewSet"], [_CLASS])]
URLCONFS: Final = [URLconf("dovetail_apikeys.api.urls", "api/v1/", optional=True)]


def examine(project: Project) -> Iterator[Finding]:
    endpoints = [operation for operation in operations(project) if operation.error is None]
    yield from _order(endpoints)
    yield from _open_views(endpoints)


def _order(endpoints: list[Operation]) -> Iterator[Finding]:
    for earlier, order, view in claimants_on_views(APIKeyAuthentication, endpoints):
        yield Finding(
            "authentication.order",
            "warning",
            f"{earlier} comes before APIKeyAuthentication on {view}, and rejects API keys in the Authorization header.",
            f"authentication_classes = [{order}]",
        )


def _open_views(endpoints: list[Operation]) -> Iterator[Finding]:
    views: dict[str, list[Operation]] = {}
    for operation in endpoints:
        limited = any(_limits(permission, operation.method) for permission in operation.permissions)
        if _accepts_keys(operation) and not _is_public(operation) and not limited:
            views.setdefault(operation.view_path, []).append(operation)
    for path, open_to_keys in views.items():
        for_keys = all(any(isinstance(item, HasAPIKey) for item in operation.permissions) for operation in open_to_keys)
        yield Finding(
            "view.open",
            "info" if for_keys else "warning",
            f"{path} accepts every API key, whatever its scopes: {', '.join(map(str, open_to_keys))}.",
            'permission_classes = [..., HasScope(read="…:read", write="…:write")]  # or IsHuman, to reject keys',
        )


def _accepts_keys(operation: Operation) -> bool:
    view = operation.view
    if not any(isinstance(item, APIKeyAuthentication) for item in operation.authenticators):
        return False
    if view.__module__.startswith("dovetail_") and not _acts_as_user():
        return False  # the packages' own views check what a key may do
    permissions = [*view.permission_classes, *operation.permissions]
    return conf.ACCEPT == "everywhere" or lists_own_classes(view) or declares_scopes(view, permissions)


def _is_public(operation: Operation) -> bool:
    """Return whether the operation is open to everybody, so that a key adds nothing."""
    return all(isinstance(permission, AllowAny) for permission in operation.permissions)


def _limits(permission: Any, method: str) -> bool:
    """Return whether the permission checks scopes or rejects keys, as far as its class tells."""
    operands = [getattr(permission, name, None) for name in ("op1", "op2")]
    if isinstance(permission, AND):
        return any(_limits(operand, method) for operand in operands)
    if isinstance(permission, OR):
        return all(_limits(operand, method) for operand in operands)
    if isinstance(permission, NOT):
        return isinstance(operands[0], HasAPIKey)
    users_only = isinstance(permission, IsAdminUser) or getattr(permission, "requires_user", False)
    if isinstance(permission, DjangoModelPermissions) and permission.perms_map.get(method):
        users_only = True  # a key has no permissions of Django
    return getattr(permission, "checks_scopes", False) or (users_only and not _acts_as_user())


def _acts_as_user() -> bool:
    return (conf.PRINCIPAL or default_principal()) is not APIKeyPrincipal
