from __future__ import annotations

from typing import TYPE_CHECKING

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

if TYPE_CHECKING:
    # Not at run time: rest_framework.views imports the default classes, and so this module.
    from rest_framework.views import APIView


class IsStaff(BasePermission):
    """Allows staff. REST framework's own class fails for users, and principals of API keys, without ``is_staff``."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        return bool(getattr(request.user, "is_staff", False))


class HasAdminPermission(BasePermission):
    """Requires staff with the Django permission that the view's ``admin["permissions"]`` names for the action.

    An action without an entry is refused to everybody.
    """

    def has_permission(self, request: Request, view: APIView) -> bool:
        # None with UNAUTHENTICATED_USER = None, which projects without django.contrib.auth need.
        user = request.user
        required = getattr(view, "admin", {}).get("permissions", {}).get(getattr(view, "action", None))
        return required is not None and getattr(user, "is_staff", False) and user.has_perm(required)
