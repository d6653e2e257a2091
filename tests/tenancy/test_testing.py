from __future__ import annotations

from typing import Any

from dovetail_tenancy import current_tenant_id
from dovetail_tenancy.testing import organization  # noqa: F401
from tests.tenancy.documents.models import Folder
from tests.tenancy.factories import make_organization


def test_an_organization_is_active_until_the_test_ends(organization: Any, as_tenant: Any) -> None:  # noqa: F811
    assert as_tenant(organization) == organization
    assert Folder.objects.create(name="Inbox").organization == organization
    other = as_tenant(make_organization("Globex"))
    assert current_tenant_id() == other.pk
    assert not Folder.objects.exists()


def test_no_organization_is_active_after_the_test() -> None:
    assert current_tenant_id() is None
