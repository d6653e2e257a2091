from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from django.contrib.auth import get_user_model
from django.utils.translation import gettext_lazy as _
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request

if TYPE_CHECKING:
    # Not at run time: rest_framework.views imports the default classes, and so this module.
    from rest_framework.views import APIView


class IsRecipient(IsAuthenticated):
    """Allow only users of the user model, because machine credentials have no inbox."""

    message = _("Only users have notifications. Sign in with a user account.")
    requires_user: ClassVar[bool] = True

    def has_permission(self, request: Request, view: APIView) -> bool:
        return super().has_permission(request, view) and isinstance(request.user, get_user_model())
