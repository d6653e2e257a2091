from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from django.contrib.auth import get_user_model
from django.utils.translation import gettext_lazy as _
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request

if TYPE_CHECKING:
    # Not at run time: rest_framework.views imports the default permission classes, which may be this one.
    from rest_framework.views import APIView


class IsPerson(IsAuthenticated):
    """Allows only instances of the user model. API keys and stateless tokens have no account."""

    message = _("This endpoint is for people. Sign in with an account of your own.")
    requires_user: ClassVar[bool] = True

    def has_permission(self, request: Request, view: APIView) -> bool:
        return super().has_permission(request, view) and isinstance(request.user, get_user_model())
