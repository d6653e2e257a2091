from __future__ import annotations

from desk import serializers, views
from django.urls import path
from drf_spectacular.views import SpectacularJSONAPIView
from drf_yasg.openapi import Info
from drf_yasg.views import get_schema_view

swagger = get_schema_view(Info(title="Desk", default_version="1"), public=True, permission_classes=[])
CLOSED = {
    "devices": serializers.DeviceSerializer,
    "invitations": serializers.InvitationSerializer,
    "members": serializers.MemberSerializer,
    "organizations": serializers.OrganizationSerializer,
    "sessions": serializers.SessionSerializer,
    "tokens": serializers.TokenSerializer,
    "verifications": serializers.VerifySerializer,
}

urlpatterns = [
    *(path(f"api/{name}/", views.ClosedView.as_view(serializer_class=of)) for name, of in CLOSED.items()),
    path("api/users/", views.UserList.as_view()),
    path("api/notifications/", views.NotificationList.as_view()),
    path("api/requests/", views.RequestList.as_view()),
    path("api/delivery-reports/", views.delivery_report),
    path("api/openapi.json", SpectacularJSONAPIView.as_view()),
    path("api/swagger/", swagger.without_ui()),
]
