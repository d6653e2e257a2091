"""``HasOrganizationPermission`` in a project's own views, after ``InOrganization``."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from django.test import override_settings
from rest_framework.permissions import IsAdminUser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory, force_authenticate
from rest_framework.views import APIView

from dovetail_tenancy import TenantRequired, tenant
from dovetail_tenancy.api.permissions import HasOrganizationPermission, InOrganization
from dovetail_tenancy.conf import DEFAULT_ROLES
from dovetail_tenancy.middleware import TenantMiddleware
from tests.tenancy.factories import make_organization, make_user, membership_of

pytestmark = pytest.mark.django_db


class Approve(APIView):
    permission_classes = [InOrganization, HasOrganizationPermission("invoices.approve")]

    def post(self, request: Request) -> Response:
        return Response()


class ApproveOrStaff(Approve):
    permission_classes = [InOrganization, HasOrganizationPermission("invoices.approve") | IsAdminUser]


class Unplaced(Approve):
    permission_classes = [HasOrganizationPermission("invoices.approve")]


def post(view: type[APIView], user: Any, organization: Any = None, auth: Any = None) -> int:
    headers = {"X-Organization-ID": str(organization.pk)} if organization else {}
    request = APIRequestFactory().post("/approve", headers=headers)
    force_authenticate(request, user, auth)
    return TenantMiddleware(view.as_view())(request).status_code


ROLES = {**DEFAULT_ROLES, "billing": ["invoices.approve"]}


@override_settings(TENANCY_ROLES=ROLES)
@pytest.mark.parametrize(("role", "status"), [("owner", 200), ("billing", 200), ("admin", 403), ("member", 403)])
def test_the_role_in_the_requests_organization_decides(role: str, status: int) -> None:
    user = make_user()
    organization = make_organization(**{role: user})
    assert post(Approve, user, organization) == status


def test_a_permission_applies_only_to_its_organization() -> None:
    ada = make_user()
    mine, other = make_organization(owner=ada), make_organization(member=ada)
    assert (post(Approve, ada, mine), post(Approve, ada, other)) == (200, 403)
    assert post(Approve, ada, make_organization()) == 404


def test_no_query_after_in_organization(django_assert_num_queries: Any) -> None:
    ada = make_user()
    organization = make_organization(owner=ada)
    with django_assert_num_queries(1):
        assert post(Approve, ada, organization) == 200


def test_it_composes_with_other_permissions() -> None:
    staff = make_user(is_staff=True)
    organization = make_organization(member=staff)
    assert (post(Approve, staff, organization), post(ApproveOrStaff, staff, organization)) == (403, 200)


@pytest.mark.parametrize(
    ("scopes", "status"),
    [
        ((), 403),
        (None, 403),
        (("invoices:read",), 403),
        (("invoices:approve",), 200),
        (("invoices:*",), 200),
        (["*"], 403),
    ],
)
def test_a_machine_needs_the_scope(scopes: Any, status: int) -> None:
    key = SimpleNamespace(organization_id=make_organization().pk, scopes=scopes)
    machine = SimpleNamespace(pk="apikey:1", is_authenticated=True)
    assert post(Approve, machine, auth=key) == status


def test_without_an_organization_it_raises_tenant_required() -> None:
    ada = make_user()
    organization = make_organization(owner=ada)
    with tenant(organization):
        request = APIRequestFactory().post("/approve")
        force_authenticate(request, ada)
        assert Unplaced.as_view()(request).status_code == 200
    request = APIRequestFactory().post("/approve")
    force_authenticate(request, ada)
    with pytest.raises(TenantRequired, match="InOrganization"):
        Unplaced.as_view()(request)


def test_a_membership_of_another_organization_is_ignored() -> None:
    ada = make_user()
    mine, other = make_organization(owner=ada), make_organization()
    request = APIRequestFactory().post("/approve")
    request.membership = membership_of(ada, mine)  # type: ignore[attr-defined]  # as InOrganization leaves it
    force_authenticate(request, ada)
    with tenant(other):
        assert Unplaced.as_view()(request).status_code == 404


def test_an_anonymous_user_is_refused() -> None:
    assert post(Approve, None, make_organization()) == 403
    assert Unplaced.as_view()(APIRequestFactory().post("/approve")).status_code == 403
