from __future__ import annotations

from typing import Any

from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from dovetail_notify import services
from dovetail_notify.api.permissions import IsRecipient
from dovetail_notify.api.serializers import PreferenceSerializer
from dovetail_notify.api.views import organization_key, payload
from dovetail_notify.models import Preference
from dovetail_notify.preferences import effective


class PreferenceViewSet(GenericViewSet[Any]):
    """What the person hears of by which channel: every type and channel, with where the mode comes from."""

    permission_classes = (IsRecipient,)
    serializer_class = PreferenceSerializer
    queryset = Preference.objects.none()
    filter_backends = ()
    pagination_class = None

    def list(self, request: Request) -> Response:
        return self._answer(request)

    def partial_update(self, request: Request) -> Response:
        """Choose for one type (`*`: all) and channel, or for a list of them; for the organization that the request is
        for, where it is for one."""
        data = payload(request)
        many = isinstance(data, list)
        if many and len(data) > 200:
            raise ValidationError(["At most 200 at once."], "invalid")
        serializer = self.get_serializer(data=data, many=many)
        serializer.is_valid(raise_exception=True)
        key = organization_key(request) or ""
        for cell in serializer.validated_data if many else [serializer.validated_data]:
            _choose(request.user, cell, key)
        return self._answer(request)

    def _answer(self, request: Request) -> Response:
        rows = self.get_serializer(
            list(effective(user=request.user, organization_key=organization_key(request))), many=True
        )
        return Response({"data": rows.data, "meta": {"next": None, "prev": None, "total": None}})


def _choose(user: Any, cell: dict[str, Any], organization: str) -> None:
    where = {"user": user, "channel": cell["channel"], "type_key": cell["type"], "organization_key": organization}
    if cell["mode"] is None:
        services.clear_preference(**where)
        return
    try:
        services.set_preference(mode=cell["mode"], **where)
    except ValueError as error:
        raise ValidationError({"mode": [str(error)]}, "invalid") from error
