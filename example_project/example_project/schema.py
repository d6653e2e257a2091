"""Document what only this project knows about the packages' views: a header selects their organization."""

from __future__ import annotations

from typing import Any

from drf_spectacular.contrib.rest_framework_simplejwt import SimpleJWTScheme
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter

from dovetail_contract import schema

ORGANIZATION = OpenApiParameter(
    "X-Organization-ID",
    OpenApiTypes.UUID,
    OpenApiParameter.HEADER,
    description="The organization to act in. Optional for members of exactly one organization.",
)
# Names, because the views import this module through REST framework.
VIEWS = {
    "billing.api.views.CustomerViewSet",
    "billing.api.views.InvoiceViewSet",
    "dovetail_adminapi.support.views.CustomerAccessViewSet",  # ADMINAPI_IMPERSONATION_ORGANIZATION
    "dovetail_apikeys.api.views.APIKeyViewSet",  # API_KEYS_ORGANIZATION_RESOLVER
    "dovetail_audit.api.views.EntryViewSet",  # AUDIT_LOG_ORGANIZATION
    "dovetail_flags.api.views.FeatureViewSet",  # FLAGS_PERMISSION_CLASSES
    "dovetail_notify.api.preference_views.PreferenceViewSet",  # NOTIFY_ORGANIZATION_RESOLVER
    "dovetail_notify.api.views.NotificationViewSet",
}


class JWTScheme(SimpleJWTScheme):  # type: ignore[no-untyped-call]  # __init_subclass__ has no types
    target_class = "example_project.locales.JWTAuthentication"


class AutoSchema(schema.AutoSchema):
    def get_override_parameters(self) -> list[Any]:
        parameters = super().get_override_parameters()
        return [*parameters, ORGANIZATION] if VIEWS & set(map(_name, type(self.view).__mro__)) else parameters


def _name(view: type) -> str:
    return f"{view.__module__}.{view.__qualname__}"
