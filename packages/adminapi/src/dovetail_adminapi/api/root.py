"""The root of the admin API, from which a portal draws its menu, and the answer to all other paths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from dovetail_adminapi.api.operations import ANY, permissions, registry
from dovetail_adminapi.api.views import AdminView
from dovetail_adminapi.permissions.sources import Grants

_METHODS: Final = ("get", "post", "put", "patch", "delete")


class RootView(AdminView):
    """What the caller may do."""

    admin: ClassVar[Mapping[str, Any]] = {"permissions": {"get": ANY}}

    def get(self, request: Request) -> Response:
        """List all operations, and whether the caller may call them."""
        urlconf = getattr(request._request, "urlconf", None)
        sections: dict[str, Grants] = {}
        rows = []
        for item in registry(urlconf):
            operation = item.operation
            section = operation.section
            if section not in sections:
                sections[section] = Grants(request.user, request.auth, section)
            required = permissions(urlconf) if operation.permission == ANY else [operation.permission]
            rows.append(
                {
                    "operation": operation.name,
                    "section": section,
                    "method": operation.method,
                    "path": item.path,
                    "allowed": any(name is not None and sections[section].has_perm(name) for name in required),
                    "reauthenticate": operation.reauthenticate,
                }
            )
        return Response({"operations": rows, "principal": _principal(request)})


class UnknownView(AdminView):
    """404 to administrators, and 401 or 403 to others as for every other path: paths reveal what a project does."""

    admin: ClassVar[Mapping[str, Any]] = {"permissions": dict.fromkeys(_METHODS, ANY), "listed": False}

    def get(self, request: Request, **kwargs: Any) -> Response:
        raise NotFound

    post = put = patch = delete = get


def _principal(request: Request) -> dict[str, Any]:
    user = request.user
    roles = Grants(user, request.auth, "").roles.names
    return {
        "id": str(user.pk),
        "label": str(user),
        "superuser": getattr(user, "is_superuser", False) is True,
        "roles": list(roles),
    }
