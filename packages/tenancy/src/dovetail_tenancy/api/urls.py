"""Include under the API's root: ``path("api/v1/", include("dovetail_tenancy.api.urls"))``."""

from __future__ import annotations

from django.urls import path

from dovetail_core.conf import conf
from dovetail_tenancy.api.views import MemberViewSet, OrganizationViewSet

app_name = "dovetail_tenancy"

_slash = "/" if conf.TRAILING_SLASH else ""

urlpatterns = [
    path(
        f"organizations{_slash}",
        OrganizationViewSet.as_view({"get": "list", "post": "create"}),
        name="organization-list",
    ),
    path(
        f"organizations/<str:organization_id>{_slash}",
        OrganizationViewSet.as_view({"get": "retrieve", "patch": "partial_update", "delete": "destroy"}),
        name="organization-detail",
    ),
    path(
        f"organizations/<str:organization_id>/transfer-ownership{_slash}",
        OrganizationViewSet.as_view({"post": "transfer_ownership"}),
        name="organization-transfer-ownership",
    ),
    path(
        f"organizations/<str:organization_id>/leave{_slash}",
        OrganizationViewSet.as_view({"post": "leave"}),
        name="organization-leave",
    ),
    path(
        f"organizations/<str:organization_id>/members{_slash}",
        MemberViewSet.as_view({"get": "list"}),
        name="member-list",
    ),
    path(
        f"organizations/<str:organization_id>/members/<str:membership_id>{_slash}",
        MemberViewSet.as_view({"patch": "partial_update", "delete": "destroy"}),
        name="member-detail",
    ),
]
