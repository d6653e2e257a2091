"""``HasOrganizationPermission`` in a project's own views, after ``InOrganization``."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from django.db.models import F, Func, Manager, QuerySet
from django.db.models.sql.compiler import SQLCompiler
from django.test import RequestFactory, override_settings
from rest_framework.permissions import IsAdminUser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory, force_authenticate
from rest_framework.views import APIView

from dovetail_tenancy import TenantRequired, get_membership_model, tenant
from dovetail_tenancy.api.permissions import HasOrganizationPermission, InOrganization
from dovetail_tenancy.conf import DEFAULT_ROLES
from dovetail_tenancy.middleware import TenantMiddleware
from dovetail_tenancy.organizations import resolution
from dovetail_tenancy.organizations.resolution import OrganizationNotFound, resolve_organization
from tests.tenancy.factories import make_organization, make_user, membership_of

pytestmark = pytest.mark.django_db


def test_membership_query_omits_the_order_of_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """The order may call a function of the project, which may read other tables than the query declares."""
    model = get_membership_model()
    monkeypatch.setattr(model._meta, "ordering", [Func(F("pk"), function="rank_of")])
    query = resolution._compile(model, "user", "organization", "default")
    assert query is None or "rank_of" not in query.sql


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


def test_membership_is_queried_once_for_each_request(rf: RequestFactory, django_assert_num_queries: Any) -> None:
    ada, bo = make_user(), make_user()
    make_organization(owner=ada)
    other = make_organization(owner=bo, member=ada)
    request: Any = rf.get("/", headers={"X-Organization-ID": str(other.pk)})
    for user, auth in ((ada, None), (bo, None), (ada, SimpleNamespace(organization_id=other.pk))):
        request.user, request.auth = user, auth
        with django_assert_num_queries(1):
            assert {resolve_organization(request) for _ in range(3)} == {other.pk}
        assert request.membership.user_id == user.pk
    request.user, request.auth = SimpleNamespace(pk=ada.pk, is_authenticated=True), None
    with pytest.raises(OrganizationNotFound):
        resolve_organization(request)


def test_query_for_the_membership_is_compiled_once(rf: RequestFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve() -> Any:
        ada = make_user()
        organization = make_organization(owner=ada)
        compiled.clear()
        for headers in ({}, {"X-Organization-ID": str(organization.pk)}):
            request: Any = rf.get("/", headers=headers)
            request.user = ada
            assert resolve_organization(request) == organization.pk
        return len(compiled)

    def as_sql(compiler: SQLCompiler, *args: Any, **kwargs: Any) -> Any:
        compiled.append(compiler)
        return original(compiler, *args, **kwargs)

    compiled: list[Any] = []
    original = SQLCompiler.as_sql
    monkeypatch.setattr(SQLCompiler, "as_sql", as_sql)
    resolve()
    assert resolve() == 0


class Visible(Manager[Any]):
    """Selects other memberships for each request."""

    keys: list[Any]

    def get_queryset(self) -> QuerySet[Any]:
        return super().get_queryset().filter(pk__in=self.keys)


def test_own_manager_selects_memberships_for_each_request(rf: RequestFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    ada = make_user()
    mine, other = make_organization(owner=ada), make_organization(member=ada)
    memberships = {organization.pk: membership_of(ada, organization).pk for organization in (mine, other)}
    manager = Visible()
    manager.model = get_membership_model()
    monkeypatch.setattr(manager.model._meta, "default_manager", manager)
    with override_settings(SAMPLE=1):  # clears the cache, before and after
        for organization_key, key in memberships.items():
            manager.keys = [key]
            request: Any = rf.get("/")
            request.user = ada
            assert resolve_organization(request) == organization_key


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


def test_a_machine_with_a_users_credential_has_no_organization() -> None:
    key = SimpleNamespace(organization_id=None, scopes=("invoices:approve",))
    machine = SimpleNamespace(pk="apikey:1", is_authenticated=True)
    assert post(Approve, machine, auth=key) == 400
    assert post(Approve, machine, make_organization(), auth=key) == 404


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
