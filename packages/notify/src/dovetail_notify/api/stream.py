from __future__ import annotations

from rest_framework import status
from rest_framework.exceptions import APIException
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from dovetail_notify.api.permissions import IsRecipient


class StreamUnavailable(APIException):
    status_code = status.HTTP_501_NOT_IMPLEMENTED
    default_detail = "Server-sent events need an ASGI server; this one is WSGI. Poll the list instead."
    default_code = "stream_unavailable"


class StreamView(APIView):
    """New notifications as they come, as server-sent events."""

    permission_classes = (IsRecipient,)

    def get(self, request: Request) -> Response:
        raise StreamUnavailable
