"""The base classes of views of the admin API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView
from rest_framework.viewsets import GenericViewSet

from dovetail_adminapi.conf import conf
from dovetail_core.rest.views import RefusalMixin


class OnlyInside(BasePermission):
    """Refuses everybody. The guard of the include replaces it; outside of the include, a view stays closed."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        return False


class AdminView(RefusalMixin, APIView):
    """A view of the admin API. ``admin["permissions"]`` has the permission of each method, such as ``"get"``."""

    admin: ClassVar[Mapping[str, Any]] = {}
    permission_classes = (OnlyInside,)


class AdminViewSet(RefusalMixin, GenericViewSet[Any]):
    """A set of views of the admin API. ``admin["permissions"]`` has the permission of each action."""

    admin: ClassVar[Mapping[str, Any]] = {}
    permission_classes = (OnlyInside,)
    filter_backends: Sequence[Any] = ()

    @property
    def pagination_class(self) -> Any:  # type: ignore[override]  # read live, like every setting
        return conf.PAGINATION_CLASS
