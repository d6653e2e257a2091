"""The customers' side of support access. Include it under the path of the customer API."""

from __future__ import annotations

from django.urls import path

from dovetail_adminapi.support.views import CustomerAccessViewSet
from dovetail_core.conf import conf

app_name = "dovetail_adminapi_customers"

_slash = "/" if conf.TRAILING_SLASH else ""
_access = "support-access/<str:access_id>"

urlpatterns = [
    path(f"support-access{_slash}", CustomerAccessViewSet.as_view({"get": "list"}), name="support-access-list"),
    path(
        f"{_access}{_slash}",
        CustomerAccessViewSet.as_view({"get": "retrieve", "delete": "destroy"}),
        name="support-access-detail",
    ),
    path(
        f"{_access}/approve{_slash}", CustomerAccessViewSet.as_view({"post": "approve"}), name="support-access-approve"
    ),
]
