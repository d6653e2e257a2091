"""The flags that clients may read, for the project's own frontends. SDKs use ``dovetail_flags.api.ofrep``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from rest_framework import status
from rest_framework.exceptions import NotFound
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from dovetail_flags.api import etags
from dovetail_flags.api.serializers import EvaluationSerializer
from dovetail_flags.api.visible import visible_keys
from dovetail_flags.base import get_flag_model
from dovetail_flags.conf import conf, imported
from dovetail_flags.evaluation.facade import flags
from dovetail_flags.types.details import Details
from dovetail_flags.types.kinds import type_of


class FeatureViewSet(GenericViewSet[Any]):
    """Flags with ``client_visible``, for the organization and the person of the request.

    Responses have an ETag. ``If-None-Match`` makes a poll without a change 304.
    """

    serializer_class = EvaluationSerializer
    queryset = get_flag_model()._default_manager.none()
    pagination_class = None
    filter_backends = ()
    lookup_field = lookup_url_kwarg = "key"
    contract: ClassVar[dict[str, Any]] = {"idempotency": "off"}

    def get_permissions(self) -> Sequence[BasePermission]:
        return [imported(permission)() for permission in conf.PERMISSION_CLASSES]

    def list(self, request: Request) -> Response:
        """List all flags that clients may read, with the caller's values. The list has one page."""
        visible_keys(request)
        # In a fixed order, because the ETag is that of the content.
        rows = [_row(request, key, details) for key, details in sorted(flags.all(request).items())]
        return _conditional(request, {"data": rows, "meta": {"next": None, "prev": None, "total": len(rows)}})

    def retrieve(self, request: Request, key: str) -> Response:
        # The same for a flag that clients may not read: names of flags reveal plans.
        if key not in visible_keys(request):
            raise NotFound
        return _conditional(request, _row(request, key, flags.details(key, request)))


def _row(request: Request, key: str, details: Details) -> dict[str, Any]:
    return {
        "key": key,
        # A failed evaluation without a declared default has no value that could tell the type.
        "type": type_of(details.value) or flags.kind(key, request),
        "value": details.value,
        "variant": details.variant,
        "reason": str(details.reason),
    }


def _conditional(request: Request, data: dict[str, Any]) -> Response:
    tag = etags.tag_of(etags.encode(data))
    # Each response depends on the credential, and may be stored by the client alone, which asks for changes.
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if etags.is_current(request, tag):
        return Response(status=status.HTTP_304_NOT_MODIFIED, headers=headers)
    return Response(data, headers=headers)
