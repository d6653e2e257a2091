"""URLs of the endpoints that manage keys. Include them under a path such as ``/api/v1/``."""

from __future__ import annotations

from django.urls import path

from dovetail_apikeys.api.views import APIKeyViewSet
from dovetail_core.conf import conf

app_name = "dovetail_apikeys"

_slash = "/" if conf.TRAILING_SLASH else ""
_key = "api-keys/<str:api_key_id>"

urlpatterns = [
    path(f"api-keys{_slash}", APIKeyViewSet.as_view({"get": "list", "post": "create"}), name="api-key-list"),
    path(
        f"{_key}{_slash}",
        APIKeyViewSet.as_view({"get": "retrieve", "patch": "partial_update", "delete": "destroy"}),
        name="api-key-detail",
    ),
    path(f"{_key}/rotate{_slash}", APIKeyViewSet.as_view({"post": "rotate"}), name="api-key-rotate"),
    path(f"{_key}/revoke{_slash}", APIKeyViewSet.as_view({"post": "revoke"}), name="api-key-revoke"),
]
