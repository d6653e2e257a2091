"""Include under the API's root: ``path("api/v1/", include("dovetail_notify.api.urls"))``."""

from __future__ import annotations

from django.urls import path

from dovetail_core.conf import conf
from dovetail_notify.api.preference_views import PreferenceViewSet, UnsubscribeView
from dovetail_notify.api.stream import StreamView
from dovetail_notify.api.views import DeviceViewSet, NotificationViewSet

app_name = "dovetail_notify"

_slash = "/" if conf.TRAILING_SLASH else ""
_inbox, _devices, _preferences = NotificationViewSet.as_view, DeviceViewSet.as_view, PreferenceViewSet.as_view

urlpatterns = [
    path(f"notifications{_slash}", _inbox({"get": "list"}), name="notification-list"),
    path(f"notifications/read{_slash}", _inbox({"post": "mark_read"}), name="notification-mark-read"),
    path(f"notifications/unread-count{_slash}", _inbox({"get": "unread_count"}), name="notification-unread-count"),
    path(f"notifications/ticket{_slash}", _inbox({"post": "ticket"}), name="notification-ticket"),
    path(f"notifications/stream{_slash}", StreamView.as_view(), name="notification-stream"),
    path(f"notifications/unsubscribe/<str:token>{_slash}", UnsubscribeView.as_view(), name="notification-unsubscribe"),
    path(
        f"notifications/<str:notification_id>{_slash}",
        _inbox({"get": "retrieve", "patch": "partial_update", "delete": "destroy"}),
        name="notification-detail",
    ),
    path(f"notifications/<str:notification_id>/read{_slash}", _inbox({"post": "read"}), name="notification-read"),
    path(f"notifications/<str:notification_id>/unread{_slash}", _inbox({"post": "unread"}), name="notification-unread"),
    path(
        f"notification-preferences{_slash}",
        _preferences({"get": "list", "patch": "partial_update"}),
        name="preference-list",
    ),
    path(f"push-devices{_slash}", _devices({"get": "list", "post": "create"}), name="device-list"),
    path(f"push-devices/web-push-key{_slash}", _devices({"get": "web_push_key"}), name="device-web-push-key"),
    path(f"push-devices/<str:device_id>{_slash}", _devices({"delete": "destroy"}), name="device-detail"),
]
