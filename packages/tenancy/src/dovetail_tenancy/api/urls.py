"""Include under the API's root: ``path("api/v1/", include("dovetail_tenancy.api.urls"))``."""

from __future__ import annotations

from django.urls import path

from dovetail_core.conf import conf
from dovetail_tenancy.api.invitation_views import (
    AcceptInvitationView,
    DeclineInvitationView,
    InvitationViewSet,
)
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
    path(
        f"organizations/<str:organization_id>/invitations{_slash}",
        InvitationViewSet.as_view({"get": "list", "post": "create"}),
        name="invitation-list",
    ),
    path(
        f"organizations/<str:organization_id>/invitations/<str:invitation_id>/resend{_slash}",
        InvitationViewSet.as_view({"post": "resend"}),
        name="invitation-resend",
    ),
    path(
        f"organizations/<str:organization_id>/invitations/<str:invitation_id>/revoke{_slash}",
        InvitationViewSet.as_view({"post": "revoke"}),
        name="invitation-revoke",
    ),
    path(f"invitations/accept{_slash}", AcceptInvitationView.as_view(), name="invitation-accept"),
    path(f"invitations/decline{_slash}", DeclineInvitationView.as_view(), name="invitation-decline"),
]
