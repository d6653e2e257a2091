"""Include under the API's root: ``path("api/v1/", include("dovetail_tenancy.api.urls"))``."""

from __future__ import annotations

from collections.abc import Mapping

from django.urls import path
from rest_framework.routers import SimpleRouter
from rest_framework.viewsets import ViewSetMixin

from dovetail_core.conf import conf
from dovetail_tenancy.api.views import (
    AcceptInvitationView,
    DeclineInvitationView,
    InvitationViewSet,
    MemberViewSet,
    OrganizationViewSet,
)

app_name = "dovetail_tenancy"


class Router(SimpleRouter):
    """Adds no route for the methods that a viewset does not allow, such as PUT."""

    def get_method_map(self, viewset: type[ViewSetMixin], method_map: Mapping[str, str]) -> dict[str, str]:
        allowed = viewset.http_method_names  # type: ignore[attr-defined]  # a view's attribute
        return super().get_method_map(viewset, {key: name for key, name in method_map.items() if key in allowed})


router = Router(trailing_slash=conf.TRAILING_SLASH, use_regex_path=False)
router.register("organizations", OrganizationViewSet, "organization")
router.register("organizations/<str:organization_id>/members", MemberViewSet, "member")
router.register("organizations/<str:organization_id>/invitations", InvitationViewSet, "invitation")

urlpatterns = [
    *router.urls,
    path(f"invitations/accept{router.trailing_slash}", AcceptInvitationView.as_view(), name="invitation-accept"),
    path(f"invitations/decline{router.trailing_slash}", DeclineInvitationView.as_view(), name="invitation-decline"),
]
