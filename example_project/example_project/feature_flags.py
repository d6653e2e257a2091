"""Feature flags for the organization that a request selects, and for the role of the person in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest
from rest_framework.request import Request
from rest_framework.views import APIView

from dovetail_apikeys.api.permissions import HasScope
from dovetail_flags.evaluation.context import default_context
from dovetail_tenancy.api.permissions import InOrganization
from dovetail_tenancy.organizations.resolution import requested_key

#: The permission of API keys. Signed-in users have no scopes, and may always read flags.
ReadsFeatures = HasScope("features:evaluate")


def context(request: HttpRequest | None) -> tuple[Any, Mapping[str, Any]]:
    """Add the attribute ``role``, that of the person in the organization of the request."""
    targeting_key, attributes = default_context(request)
    membership = getattr(request, "membership", None)
    if membership is not None and membership.organization_id == attributes.get("organization"):
        attributes = {**attributes, "role": str(membership.role)}
    return targeting_key, attributes


class InRequestedOrganization(InOrganization):
    """Require membership if the request or its credential names an organization. Others get the flags of the person."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        if requested_key(request) is None and getattr(request.auth, "organization_id", None) is None:
            return True
        return super().has_permission(request, view)
