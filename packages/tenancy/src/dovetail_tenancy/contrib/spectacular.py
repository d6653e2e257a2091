"""drf-spectacular extensions that describe responses without a body, whose status no serializer tells."""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiViewExtension
from drf_spectacular.utils import extend_schema
from rest_framework import status

_NOTHING = {status.HTTP_204_NO_CONTENT: None}


class OrganizationViews(OpenApiViewExtension):  # type: ignore[no-untyped-call]  # registers itself by an untyped hook
    target_class = "dovetail_tenancy.api.views.OrganizationViewSet"

    def view_replacement(self) -> Any:
        class Described(self.target):  # type: ignore[misc, name-defined]  # a class that is known at run time
            @extend_schema(request=None, responses=_NOTHING)
            def leave(self, request: Any, **kwargs: Any) -> Any: ...

        return Described


class InvitationViews(OpenApiViewExtension):  # type: ignore[no-untyped-call]  # as above
    target_class = "dovetail_tenancy.api.invitation_views.InvitationViewSet"

    def view_replacement(self) -> Any:
        class Described(self.target):  # type: ignore[misc, name-defined]  # as above
            @extend_schema(request=None)
            def resend(self, request: Any, **kwargs: Any) -> Any: ...

            @extend_schema(request=None, responses=_NOTHING)
            def revoke(self, request: Any, **kwargs: Any) -> Any: ...

        return Described


class DeclineInvitation(OpenApiViewExtension):  # type: ignore[no-untyped-call]  # as above
    target_class = "dovetail_tenancy.api.invitation_views.DeclineInvitationView"

    def view_replacement(self) -> Any:
        class Described(self.target):  # type: ignore[misc, name-defined]  # as above
            @extend_schema(responses=_NOTHING)
            def post(self, request: Any, **kwargs: Any) -> Any: ...

        return Described
