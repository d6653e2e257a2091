"""The administration of flags. Include these URLs under a path such as ``/admin/v1/``."""

from __future__ import annotations

from django.urls import path

from dovetail_core.conf import conf
from dovetail_flags.api.admin_views import FlagViewSet

app_name = "dovetail_flags_admin"

_slash = "/" if conf.TRAILING_SLASH else ""
_flag = "features/<str:key>"


def _action(method: str, name: str) -> object:
    view = FlagViewSet.as_view({method: name})
    return path(f"{_flag}/{name}{_slash}", view, name=f"feature-{name}")


urlpatterns = [
    path(f"features{_slash}", FlagViewSet.as_view({"get": "list", "post": "create"}), name="feature-list"),
    path(
        f"{_flag}{_slash}",
        FlagViewSet.as_view({"get": "retrieve", "patch": "partial_update"}),
        name="feature-detail",
    ),
    _action("post", "enable"),
    _action("post", "disable"),
    _action("post", "archive"),
    _action("post", "revert"),
    _action("post", "evaluate"),
    _action("get", "revisions"),
]
