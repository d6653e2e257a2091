"""What differs between the lanes that run this suite: whose the models are."""

from __future__ import annotations

from typing import Any

import pytest

from dovetail_tenancy import get_organization_model
from dovetail_tenancy.api.views import _required_fields
from dovetail_tenancy.owners import field

ORGANIZATION: Any = get_organization_model()
NEEDS_MORE = _required_fields(ORGANIZATION) - {"name"}

has_contact = pytest.mark.skipif(not field(ORGANIZATION, "owner"), reason="this lane's organizations have no owner")
has_slug = pytest.mark.skipif(not field(ORGANIZATION, "slug"), reason="this lane's organizations have no slug")
needs_a_name_only = pytest.mark.skipif(bool(NEEDS_MORE), reason="this lane's organizations need more than a name")


def admin_page(model: Any, page: str) -> str:
    """The name of a page of the admin site: ``admin_page(Organization, "change")``."""
    return f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}"
