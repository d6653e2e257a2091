"""A request sees only its organization, and none is active afterwards."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpResponse
from django.test import AsyncClient, Client, RequestFactory
from rest_framework.test import APIRequestFactory, force_authenticate

from dovetail_core import context
from dovetail_tenancy import TenantMismatch, TenantRequired, current_tenant_id, exceptions, tenant, unscoped
from dovetail_tenancy.isolation.scope import fill_slot
from dovetail_tenancy.middleware import TenantMiddleware
from tests import asynchronous
from tests.tenancy.documents.factories import make_document, make_membership, make_organization, make_user
from tests.tenancy.documents.models import Document
from tests.tenancy.documents.views import DocumentList

pytestmark = pytest.mark.django_db


@pytest.fixture
def user() -> Any:
    return make_user()


@pytest.fixture
def client(user: Any) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def acme(user: Any) -> Any:
    organization = make_organization("Acme", owner=user)
    make_document(organization, "ours")
    return organization


@pytest.fixture
def globex() -> Any:
    organization = make_organization("Globex")
    make_document(organization, "theirs")
    return organization


def titles(response: Any) -> list[str]:
    rows = response.json()
    return [row["title"] for row in (rows["results"] if isinstance(rows, dict) else rows)]


def test_only_membership_selects_the_organization(client: Client, acme: Any, globex: Any) -> None:
    assert titles(client.get("/documents/")) == ["ours"]
    assert current_tenant_id() is None
    assert context.organization_id() is None


def test_header_selects_the_organization(client: Client, user: Any, acme: Any, globex: Any) -> None:
    make_membership(globex, user)
    for organization, title in ((acme, "ours"), (globex, "theirs"), (acme, "ours")):
        headers = {"X-Organization-ID": str(organization.pk)}
        assert titles(client.get("/documents/", headers=headers)) == [title]
    ambiguous = client.get("/documents/")
    assert ambiguous.status_code == 400
    assert "X-Organization-ID" in ambiguous.json()["detail"]


def test_foreign_organization_is_not_found(client: Client, acme: Any, globex: Any) -> None:
    for named in (str(globex.pk), "nonsense", "0" * 5000, "\N{NULL}"):
        assert client.get("/documents/", headers={"X-Organization-ID": named}).status_code == 404


def test_anonymous_request_requires_sign_in(acme: Any) -> None:
    assert Client().get("/documents/").status_code == 403  # session authentication has no challenge to send


def test_user_without_membership_gets_organization_required(client: Client, globex: Any) -> None:
    assert client.get("/documents/").status_code == 400


def test_foreign_object_is_not_found_by_any_method(client: Client, acme: Any, globex: Any) -> None:
    with tenant(globex):
        theirs = Document.objects.get()
    for method in ("get", "put", "patch", "delete"):
        response = getattr(client, method)(f"/documents/{theirs.pk}/", {"title": "x"}, content_type="application/json")
        assert response.status_code == 404
    created = client.post("/documents/", {"title": "x", "folder": str(theirs.folder_id)})
    assert created.status_code == 400
    with unscoped(reason="test"):
        assert sorted(Document.objects.values_list("title", flat=True)) == ["ours", "theirs"]


def test_view_without_permission_shows_no_rows(acme: Any) -> None:
    with pytest.raises(TenantRequired):
        Client().get("/forgotten/")


def test_resolving_costs_one_query(client: Client, acme: Any, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(4):  # session, user, membership, documents
        client.get("/documents/")
    with django_assert_num_queries(0):
        client.get("/nothing/")


class Credential:
    def __init__(self, organization_id: Any) -> None:
        self.organization_id = organization_id
        self.scopes = ()


class Machine:
    pk = "apikey:1"
    is_authenticated = True


def test_credential_decides_the_organization(acme: Any, globex: Any, rf: RequestFactory) -> None:
    def call(**headers: str) -> Any:
        request = APIRequestFactory().get("/documents/", headers=headers)
        force_authenticate(request, user=Machine(), token=Credential(globex.pk))
        response: Any = TenantMiddleware(DocumentList.as_view())(request)
        return response

    assert [row["title"] for row in call().data] == ["theirs"]
    assert call(**{"X-Organization-ID": str(globex.pk)}).status_code == 200
    refused = call(**{"X-Organization-ID": str(acme.pk)})
    assert refused.status_code == 403
    assert refused.data["detail"].code == "organization_mismatch"


@pytest.mark.parametrize("named", [None, "Acme"])
def test_response_with_render_needs_no_context(rf: RequestFactory, named: str | None) -> None:
    class Rendered(HttpResponse):
        def render(self) -> Rendered:
            return self

    request, response = rf.get("/"), Rendered()
    request.tenancy_named = named  # type: ignore[attr-defined]  # set by process_view
    assert TenantMiddleware(lambda request: response).process_template_response(request, response) is response


def test_personal_credential_ends_with_the_membership(user: Any, acme: Any, globex: Any) -> None:
    def call() -> Any:
        request = APIRequestFactory().get("/documents/")
        force_authenticate(request, user=user, token=Credential(globex.pk))
        return TenantMiddleware(DocumentList.as_view())(request)

    assert call().status_code == 404
    membership = make_membership(globex, user)
    assert [row["title"] for row in call().data] == ["theirs"]
    membership.delete()
    assert call().status_code == 404


def test_permission_without_middleware_explains_the_error(user: Any, acme: Any) -> None:
    request = APIRequestFactory().get("/documents/")
    force_authenticate(request, user=user)
    with pytest.raises(ImproperlyConfigured, match="TenantMiddleware"):
        DocumentList.as_view()(request)


@pytest.mark.parametrize("path", ["/titles/", "/titles-async/", "/stream/"])
def test_session_view_resolves_its_organization(client: Client, acme: Any, globex: Any, path: str) -> None:
    response = client.get(path)
    body = b"".join(response.streaming_content) if response.streaming else response.content
    assert b"ours" in body
    assert b"theirs" not in body
    assert current_tenant_id() is None


def test_session_view_refuses_ambiguous_and_foreign_organizations(
    client: Client, user: Any, acme: Any, globex: Any
) -> None:
    assert client.get("/titles/", headers={"X-Organization-ID": str(globex.pk)}).status_code == 404
    make_membership(globex, user)
    assert client.get("/titles/").status_code == 400
    with pytest.raises(TenantRequired):
        Client().get("/titles/")


def test_request_starts_without_an_organization(acme: Any, globex: Any) -> None:
    with tenant(globex):
        with pytest.raises(TenantRequired):
            Client().get("/titles/")
        assert current_tenant_id() == globex.pk


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("path", ["/documents/", "/titles/", "/titles-async/", "/stream-async/"])
def test_asgi_requests_are_isolated(user: Any, acme: Any, globex: Any, path: str) -> None:
    async def main() -> bytes:
        client = AsyncClient()
        await client.aforce_login(user)
        response: Any = await client.get(path)
        assert current_tenant_id() is None
        if response.streaming:
            return b"".join([part async for part in response.streaming_content])
        return bytes(response.content)

    body = asynchronous.run(main())
    assert b"ours" in body
    assert b"theirs" not in body


def test_scope_is_closed_when_a_view_raises(acme: Any, user: Any) -> None:
    def view(request: Any) -> Any:
        fill_slot(acme)
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        TenantMiddleware(view)(RequestFactory().get("/"))
    assert current_tenant_id() is None


def test_isolation_exceptions_are_also_in_the_module_of_exceptions() -> None:
    assert (exceptions.TenantRequired, exceptions.TenantMismatch) == (TenantRequired, TenantMismatch)
