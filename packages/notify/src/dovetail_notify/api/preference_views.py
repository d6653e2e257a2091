from __future__ import annotations

from typing import Any

from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from dovetail_core.rest.views import payload
from dovetail_notify import services
from dovetail_notify.api.permissions import IsRecipient
from dovetail_notify.api.serializers import PreferenceSerializer
from dovetail_notify.api.views import organization_key
from dovetail_notify.inbox.preferences import effective_preferences
from dovetail_notify.models import Preference


class PreferenceViewSet(GenericViewSet[Any]):
    """The user's preferences: the mode of every type and channel, and the source of the mode."""

    permission_classes = (IsRecipient,)
    serializer_class = PreferenceSerializer
    queryset = Preference.objects.none()
    filter_backends = ()
    pagination_class = None

    def list(self, request: Request) -> Response:
        return self._answer(request)

    def partial_update(self, request: Request) -> Response:
        """Set the mode of one type (`*`: all) and channel, or a list of them, for the request's organization if any."""
        data = payload(request)
        many = isinstance(data, list)
        if many and len(data) > 200:
            raise ValidationError(["At most 200 at once."], "invalid")
        serializer = self.get_serializer(data=data, many=many)
        serializer.is_valid(raise_exception=True)
        key = organization_key(request) or ""
        for preference in serializer.validated_data if many else [serializer.validated_data]:
            _save(request.user, preference, key)
        return self._answer(request)

    def _answer(self, request: Request) -> Response:
        rows = self.get_serializer(
            list(effective_preferences(user=request.user, organization_key=organization_key(request))), many=True
        )
        return Response({"data": rows.data, "meta": {"next": None, "prev": None, "total": None}})


def _save(user: Any, preference: dict[str, Any], organization: str) -> None:
    target = {
        "user": user,
        "channel": preference["channel"],
        "type_key": preference["type"],
        "organization_key": organization,
    }
    if preference["mode"] is None:
        services.clear_preference(**target)
        return
    try:
        services.set_preference(mode=preference["mode"], **target)
    except ValueError as error:
        raise ValidationError({"mode": [str(error)]}, "invalid") from error
