from __future__ import annotations

from django.contrib.auth import get_user_model
from django.utils.translation import gettext_lazy as _
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.views import APIView


class IsRecipient(IsAuthenticated):
    """Allows only users of the user model: machine credentials have no inbox."""

    message = _("Notifications are for people. Sign in with an account of your own.")

    def has_permission(self, request: Request, view: APIView) -> bool:
        return super().has_permission(request, view) and isinstance(request.user, get_user_model())
