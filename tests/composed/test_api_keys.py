"""API keys in the composed service."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from dovetail_apikeys.models import APIKey
from dovetail_apikeys.services import create_api_key
from dovetail_apikeys.testing import api_key_client
from dovetail_notify.testing import sent_notifications
from dovetail_tenancy import unscoped
from dovetail_tenancy.services import add_member, delete_organization, remove_member
from tests.composed import factories

KEYS = "/api/v1/api-keys"
CUSTOMERS, INVOICES = "/api/v1/customers", "/api/v1/invoices"
CUSTOMER = {"name": "Milton", "email": "milton@example.com"}


def test_key_access_follows_its_scopes(api, organization):
    answer = api.post(KEYS, {"name": "Shop", "scopes": ["customers:read", "invoices:*"]})
    assert answer.status_code == 201, answer.content
    made = answer.json()
    assert made["key"].startswith("dvt_live_")
    shop = factories.APIClient(headers={"Authorization": f"Bearer {made['key']}"})
    customer = factories.customer(organization)
    assert [row["id"] for row in shop.get(CUSTOMERS).json()["data"]] == [str(customer.pk)]
    refused = shop.post(CUSTOMERS, CUSTOMER)
    assert (refused.status_code, refused.data["detail"].code) == (403, "insufficient_scope")
    assert "customers:write" in refused.json()["detail"]
    invoice = {"number": "A-1", "customer": str(customer.pk), "issued_on": "2026-01-01", "due_on": "2026-01-31"}
    invoice["lines"] = [{"description": "x", "quantity": "1", "unit_price": "1.00"}]
    assert shop.post(INVOICES, invoice).status_code == 201
    assert factories.APIClient(headers={"X-API-Key": made["key"]}).get(INVOICES).status_code == 200


def test_header_cannot_override_key_organization(organization):
    other = factories.organization()
    theirs = factories.customer(other)
    shop = api_key_client(organization, scopes=["customers:*", "invoices:*"])
    for header in ({}, {"HTTP_X_ORGANIZATION_ID": str(organization.pk)}):
        made = shop.post(CUSTOMERS, CUSTOMER, **header)
        assert made.status_code == 201
        with unscoped(reason="look"):
            assert str(type(theirs).objects.get(pk=made.json()["id"]).organization_id) == str(organization.pk)
    refused = shop.get(CUSTOMERS, HTTP_X_ORGANIZATION_ID=str(other.pk))
    assert (refused.status_code, refused.data["detail"].code) == (403, "organization_mismatch")
    for method in ("get", "patch", "delete"):
        assert getattr(shop, method)(f"{CUSTOMERS}/{theirs.pk}").status_code == 404


def test_key_request_takes_two_queries(organization):
    shop = api_key_client(organization, scopes=["customers:read"])
    shop.get(CUSTOMERS)
    with CaptureQueriesContext(connection) as queries:
        assert shop.get(CUSTOMERS).status_code == 200
    assert len(queries) == 2


@pytest.mark.parametrize(
    ("path", "number"),
    # The user and session, the membership, and the rows. The inbox also shows the other organizations of the user.
    [("api-keys", 3), ("customers", 3), ("notifications", 4), ("notifications/unread-count", 4)],
)
def test_request_of_a_person_asks_once_for_the_membership(organization, owner, path, number):
    client = factories.client(owner)
    inside = {"HTTP_X_ORGANIZATION_ID": str(organization.pk)}
    with CaptureQueriesContext(connection) as queries:
        assert client.get(f"/api/v1/{path}", **inside).status_code == 200
    assert len(queries) == number


def test_key_cannot_use_account_endpoints(organization, owner):
    shop = api_key_client(organization, scopes=["customers:*", "invoices:*", "api_keys:*"], created_by=owner)
    for method, path in [
        ("get", "/api/v1/me"),
        ("patch", "/api/v1/me"),
        ("delete", "/api/v1/me"),
        ("get", "/api/v1/me/sessions"),
        ("delete", "/api/v1/me/sessions"),
        ("post", "/api/auth/password/change/"),
        ("post", "/api/v1/organizations"),
        ("patch", f"/api/v1/organizations/{organization.pk}"),
        ("delete", f"/api/v1/organizations/{organization.pk}"),
        ("post", f"/api/v1/organizations/{organization.pk}/leave"),
        ("post", f"/api/v1/organizations/{organization.pk}/transfer-ownership"),
        ("get", f"/api/v1/organizations/{organization.pk}/members"),
        ("get", f"/api/v1/organizations/{organization.pk}/invitations"),
        ("post", f"/api/v1/organizations/{organization.pk}/invitations"),
        ("post", "/api/v1/invitations/accept"),
        ("post", "/api/v1/invitations/decline"),
    ]:
        answer = getattr(shop, method)(path, {"token": "x"} if method in {"post", "patch"} else None)
        invitation = path.startswith("/api/v1/invitations")
        assert answer.status_code in ({400, 403} if invitation else {403}), (method, path, answer.content)
        assert answer.json(), (method, path)


def test_key_sees_only_its_organization(organization):
    other = factories.organization()
    shop = api_key_client(organization)
    assert [row["id"] for row in shop.get("/api/v1/organizations").json()["data"]] == [str(organization.pk)]
    assert shop.get(f"/api/v1/organizations/{organization.pk}").json()["role"] is None
    assert shop.get(f"/api/v1/organizations/{other.pk}").status_code == 404


@pytest.mark.parametrize(
    ("role", "reads", "writes"), [("admin", 200, 201), ("member", 403, 403), ("billing", 403, 403)]
)
def test_role_determines_key_management(organization, role, reads, writes):
    person = factories.user()
    add_member(organization=organization, user=person, role=role)
    client = factories.client(person)
    assert client.get(KEYS).status_code == reads
    assert client.post(KEYS, {"name": "x"}).status_code == writes


def test_new_key_belongs_to_requested_organization(organization, owner):
    second = factories.organization(owner)
    outsider = factories.client(factories.user())
    client = factories.client(owner)
    assert client.get(KEYS).status_code == 400
    assert factories.client(owner, second).post(KEYS, {"name": "x"}).status_code == 201
    assert APIKey.objects.get().organization_id == second.pk
    assert factories.client(owner, organization).get(KEYS).json()["data"] == []
    made = APIKey.objects.get()
    assert factories.client(owner, organization).get(f"{KEYS}/{made.pk}").status_code == 404
    assert outsider.get(KEYS).status_code == 400
    assert factories.client(factories.user(), second).get(KEYS).status_code == 404


def test_jwt_and_api_key_work_side_by_side(organization, owner):
    shop: Any = api_key_client(organization, scopes=["customers:read"])
    person = factories.client(owner)
    assert shop.get(CUSTOMERS).status_code == person.get(CUSTOMERS).status_code == 200
    for bad in ("dvt_live_x", "a.b.c"):
        client = factories.APIClient(headers={"Authorization": f"Bearer {bad}"})
        answer = client.get(CUSTOMERS)
        assert (answer.status_code, answer["WWW-Authenticate"]) == (401, 'Bearer realm="api"')
    assert factories.APIClient(headers={"X-API-Key": "x"}).get("/api/v1/me").status_code == 401


def test_deleting_organization_deletes_its_keys(organization):
    shop = api_key_client(organization, scopes=["customers:read"])
    delete_organization(organization=organization)
    assert APIKey.objects.count() == 0
    assert shop.get(CUSTOMERS).status_code == 401


def test_schema_documents_scopes(client):
    schema = client.get("/api/schema/", headers={"accept": "application/json"}).json()
    assert {"apiKeyAuth": ["invoices:write"]} in schema["paths"]["/api/v1/invoices"]["post"]["security"]
    assert {"apiKeyAuth": ["customers:read"]} in schema["paths"]["/api/v1/customers/{id}"]["get"]["security"]
    assert {"apiKeyAuth": ["api_keys:write"]} in schema["paths"]["/api/v1/api-keys"]["post"]["security"]
    assert "`invoices:read`: See invoices" in schema["components"]["securitySchemes"]["apiKeyAuth"]["description"]


def test_authentication_class_order_with_jwt(organization, owner, monkeypatch):
    """Each class leaves the Bearer tokens of the other alone, in both orders."""
    from billing.api.views import CustomerViewSet
    from dovetail_apikeys.api.authentication import APIKeyAuthentication
    from dovetail_identity.api.authentication import JWTAuthentication

    shop = api_key_client(organization, scopes=["customers:read"])
    key = shop._credentials["HTTP_AUTHORIZATION"].removeprefix("Bearer ")
    person = factories.client(owner)
    for order in ((APIKeyAuthentication, JWTAuthentication), (JWTAuthentication, APIKeyAuthentication)):
        monkeypatch.setattr(CustomerViewSet, "authentication_classes", order)
        assert shop.get(CUSTOMERS).status_code == 200
        assert person.get(CUSTOMERS).status_code == 200
        assert factories.APIClient().get(CUSTOMERS, HTTP_X_API_KEY=key).status_code == 200
        assert factories.APIClient().get(CUSTOMERS).status_code == 401
        assert factories.APIClient().get(CUSTOMERS, HTTP_AUTHORIZATION="Bearer a.b.c").status_code == 401
        refused = factories.APIClient().get(CUSTOMERS, HTTP_X_API_KEY="x").json()
        assert (refused["code"], refused["detail"]) == ("invalid_api_key", "Invalid API key.")


@pytest.mark.parametrize(("revokes", "status"), [(False, 200), (True, 401)])
def test_key_of_a_removed_member(organization, owner, settings, revokes, status):
    settings.API_KEYS_REVOKE_WITH_MEMBER = revokes
    colleague = factories.user()
    membership = add_member(organization=organization, user=colleague, role="admin")
    api_key, raw = create_api_key(
        organization=organization, name="Till", scopes=["invoices:read"], created_by=colleague
    )
    client = APIClient(HTTP_AUTHORIZATION=f"bearer {raw}")
    assert client.get("/api/v1/invoices").status_code == 200
    # By the system, because managers are not notified of what they do themselves.
    remove_member(membership=membership)
    assert client.get("/api/v1/invoices").status_code == status
    titles = [row.title for row in sent_notifications(to=owner)]
    assert (f"The API key {api_key.key_prefix} stays valid although its creator left" in titles) is not revokes
