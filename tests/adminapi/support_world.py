"""A project with support access: views of customers, and people."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission, User
from django.test import override_settings
from django.urls import include, path
from rest_framework.authentication import SessionAuthentication
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.test import APIClient
from rest_framework.views import APIView

from dovetail_adminapi.api.wrapping import guarded
from dovetail_adminapi.models import SupportAccess
from dovetail_adminapi.support import urls
from dovetail_adminapi.support.access import approve_support_access, request_support_access, start_support_access
from dovetail_adminapi.support.authentication import SupportAccessAuthentication

SETTINGS: dict[str, Any] = {
    "ROOT_URLCONF": "tests.adminapi.support_world",
    "ADMINAPI_IMPERSONATION": True,
}
#: Of the views of this package. REST framework reads its setting when its classes are made.
AUTHENTICATION_CLASSES = (SupportAccessAuthentication, SessionAuthentication)


class OrderView(APIView):
    authentication_classes = (SupportAccessAuthentication,)

    def get(self, request: Request, number: int = 0) -> Response:
        credential: Any = request.auth
        return Response({"user": request.user.get_username(), "organization": credential.organization_id})

    def post(self, request: Request, number: int = 0) -> Response:
        return Response(status=201)


class OpenView(OrderView):
    permission_classes = (AllowAny,)


# The guard copies the classes when it is put on.
with override_settings(ADMINAPI_AUTHENTICATION_CLASSES=AUTHENTICATION_CLASSES):
    # As the include does with ADMINAPI_IMPERSONATION, which is off in the settings of this lane.
    guarded_urls = guarded(urls.urlpatterns, "support")

urlpatterns = [
    path("admin/v1/", include((guarded_urls, "dovetail_adminapi"))),
    path("api/v1/orders", OrderView.as_view(), name="orders"),
    path("api/v1/orders/<int:number>", OrderView.as_view(), name="order"),
    path("api/v1/cards", OrderView.as_view(), name="card-list"),
    path("api/v1/open", OpenView.as_view(), name="open"),
    path("api/v1/passwords", include(([path("", OrderView.as_view(), name="change")], "dovetail_identity"))),
    path("api/v1/", include("dovetail_adminapi.support.customer_urls")),
    path("django-admin/", include(([path("", OrderView.as_view(), name="index")], "admin"))),
]


def person(name: str, **fields: Any) -> User:
    user: User = get_user_model()._default_manager.create_user(name, password="pw", **fields)
    return user


def admin(name: str = "ann", *permissions: str) -> User:
    user = person(name, is_staff=True)
    names = permissions or ("impersonate", "view_support_access")
    user.user_permissions.set(Permission.objects.filter(codename__in=names))
    return get_user_model()._default_manager.get(pk=user.pk)


def requested(user: User, actor: User, **fields: Any) -> SupportAccess:
    return request_support_access(user=user, actor=actor, **{"reason": "Ticket 7", **fields})


def started(user: User, actor: User, **fields: Any) -> tuple[SupportAccess, APIClient]:
    """Return a running access, which the user has approved, and a client with its token."""
    access = approve_support_access(requested(user, actor, **fields), actor=user)
    access, token = start_support_access(access, actor=actor)
    return access, APIClient(headers={"Authorization": f"Bearer {token}"})
