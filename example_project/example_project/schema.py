"""What no package can say of its views: this project finds their organization by a header."""

from __future__ import annotations

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter

from dovetail_contract import schema

ORGANIZATION = OpenApiParameter(
    "X-Organization-ID",
    OpenApiTypes.UUID,
    OpenApiParameter.HEADER,
    description="The organization to act in. May be left out by a member of exactly one.",
)
# By name: views import this class, through REST framework.
VIEWS = {
    "billing.api.views.CustomerViewSet",
    "billing.api.views.InvoiceViewSet",
    "dovetail_apikeys.api.views.APIKeyViewSet",  # API_KEYS_ORGANIZATION_RESOLVER
    "dovetail_notify.api.preference_views.PreferenceViewSet",  # NOTIFY_ORGANIZATION_RESOLVER
    "dovetail_notify.api.views.NotificationViewSet",
}


class AutoSchema(schema.AutoSchema):
    def get_override_parameters(self) -> list[Any]:
        given = super().get_override_parameters()
        return [*given, ORGANIZATION] if VIEWS & set(map(_name, type(self.view).__mro__)) else given


def _name(view: type) -> str:
    return f"{view.__module__}.{view.__qualname__}"
