"""The administrators' side of support access, in the admin API."""

from __future__ import annotations

from django.urls import path

from dovetail_adminapi.support.views import SupportAccessViewSet
from dovetail_core.conf import conf

_slash = "/" if conf.TRAILING_SLASH else ""
_access = "support-access/<str:access_id>"

urlpatterns = [
    path(
        f"users/<str:user_id>/support-access{_slash}",
        SupportAccessViewSet.as_view({"post": "create"}),
        name="support-access-create",
    ),
    path(f"support-access{_slash}", SupportAccessViewSet.as_view({"get": "list"}), name="support-access-list"),
    path(
        f"{_access}{_slash}",
        SupportAccessViewSet.as_view({"get": "retrieve", "delete": "destroy"}),
        name="support-access-detail",
    ),
    path(f"{_access}/end{_slash}", SupportAccessViewSet.as_view({"post": "end"}), name="support-access-end"),
    path(f"{_access}/start{_slash}", SupportAccessViewSet.as_view({"post": "start"}), name="support-access-start"),
]
