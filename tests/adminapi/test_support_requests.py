"""Requests with tokens of support access, and the customers' side of it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone
from rest_framework.permissions import BasePermission
from rest_framework.test import APIClient

from dovetail_adminapi.models import SupportAccess
from dovetail_adminapi.support.access import end_support_access
from dovetail_adminapi.support.views import CustomerAccessViewSet
from tests.adminapi.support_world import AUTHENTICATION_CLASSES, SETTINGS, admin, person, requested, started

pytestmark = pytest.mark.django_db

ORDERS, MINE = "/api/v1/orders", "/api/v1/support-access"


@pytest.fixture(autouse=True)
def _switched_on(settings, monkeypatch):
    for name, value in SETTINGS.items():
        setattr(settings, name, value)
    monkeypatch.setattr(CustomerAccessViewSet, "authentication_classes", AUTHENTICATION_CLASSES)


@pytest.fixture
def ann():
    return admin()


@pytest.fixture
def customer():
    return person("carl")


def signed_in(user):
    client = APIClient()
    client.force_login(user)
    return client


def code_of(answer):
    return answer.json()["detail"] and getattr(answer.data["detail"], "code", None)


def test_reading_acts_as_the_user_and_names_both(ann, customer, events):
    access, client = started(customer, ann)
    del events[:]
    answer = client.get(f"{ORDERS}/7")
    assert (answer.status_code, answer.json()) == (200, {"user": "carl", "organization": None})
    (event,) = events
    assert (event.name, event.actor, event.target) == ("support_access.used", customer, access)
    assert dict(event.data) == {
        "impersonator_id": str(ann.pk),
        "parameters": {
            "support_access": str(access.pk),
            "method": "GET",
            "route": "api/v1/orders/<int:number>",
            "arguments": {"number": "7"},
        },
    }


def test_read_access_refuses_writes_and_records_them(ann, customer, events):
    _access, client = started(customer, ann)
    del events[:]
    answer = client.post(ORDERS)
    assert (answer.status_code, code_of(answer)) == (403, "support_access_read_only")
    (event,) = events
    assert (event.name, event.actor, event.data["impersonator_id"]) == ("support_access.denied", customer, str(ann.pk))
    assert (event.data["status"], event.data["problem"]) == (403, "support_access_read_only")


def test_view_that_is_open_to_everybody_refuses_writes_too(ann, customer):
    assert started(customer, ann)[1].post("/api/v1/open").status_code == 403


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        (ORDERS, "post", 201),
        ("/api/v1/passwords", "post", 403),
        ("/api/v1/passwords", "get", 200),
        ("/api/v1/cards", "post", 403),
        ("/django-admin/", "get", 403),
        (MINE, "get", 403),
    ],
)
def test_write_access_has_limits(settings, ann, customer, path, method, status):
    settings.ADMINAPI_IMPERSONATION_DENY = ["card-*"]
    answer = getattr(started(customer, ann, scope="write")[1], method)(path)
    assert answer.status_code == status
    if status == 403:
        assert code_of(answer) == "support_access_denied"


def test_request_takes_two_queries(ann, customer, django_assert_num_queries):
    _access, client = started(customer, ann)
    with django_assert_num_queries(2):
        client.get(ORDERS)


def ended(access, customer, ann):
    end_support_access(access)


def expired(access, customer, ann):
    SupportAccess.objects.filter(pk=access.pk).update(expires_at=timezone.now() - timedelta(seconds=1))


def inactive_administrator(access, customer, ann):
    type(ann).objects.filter(pk=ann.pk).update(is_active=False)


def deleted_administrator(access, customer, ann):
    ann.delete()


def inactive_user(access, customer, ann):
    type(ann).objects.filter(pk=customer.pk).update(is_active=False)


def promoted_user(access, customer, ann):
    type(ann).objects.filter(pk=customer.pk).update(is_staff=True)


@pytest.mark.parametrize(
    "change", [ended, expired, inactive_administrator, deleted_administrator, inactive_user, promoted_user]
)
def test_access_is_over_from_the_next_request_on(ann, customer, change):
    access, client = started(customer, ann)
    assert client.get(ORDERS).status_code == 200
    change(access, customer, ann)
    answer = client.get(ORDERS)
    assert (answer.status_code, code_of(answer)) == (401, "support_access_over")
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="api"'


def test_tokens_are_refused_while_switched_off(settings, ann, customer):
    _access, client = started(customer, ann)
    settings.ADMINAPI_IMPERSONATION = False
    assert client.get(ORDERS).status_code == 401


@pytest.mark.parametrize("header", ["Bearer a.b.c", "Basic dsa_x", "Bearer", "", "Token dsa_x"])
def test_other_credentials_are_left_to_other_classes(header):
    answer = APIClient(headers={"Authorization": header}).get(ORDERS)
    assert "WWW-Authenticate" in answer.headers
    assert code_of(answer) == "not_authenticated"


def test_forged_token_is_refused(ann, customer):
    access, _ = started(customer, ann)
    forged = APIClient(headers={"Authorization": f"Bearer dsa_{access.pk.hex}_{'0' * 64}"})
    assert code_of(forged.get(ORDERS)) == "support_access_over"


def test_customer_sees_approves_and_ends_requests(ann, customer):
    access = requested(customer, ann)
    client = signed_in(customer)
    (row,) = client.get(MINE).json()["data"]
    assert (row["id"], row["state"], row["reason"], row["admin_id"]) == (
        str(access.pk),
        "pending",
        "Ticket 7",
        str(ann.pk),
    )
    assert "token" not in row
    assert client.post(f"{MINE}/{access.pk}/approve").json()["state"] == "approved"
    assert client.delete(f"{MINE}/{access.pk}").status_code == 204
    assert client.get(f"{MINE}/{access.pk}").json()["state"] == "ended"
    answer = client.post(f"{MINE}/{access.pk}/approve")
    assert (answer.status_code, code_of(answer)) == (409, "support_access_over")


def test_customer_sees_no_requests_of_others(ann, customer):
    access = requested(customer, ann)
    other = signed_in(person("dora"))
    assert other.get(MINE).json()["data"] == []
    assert other.get(f"{MINE}/{access.pk}").status_code == 404
    assert other.post(f"{MINE}/{access.pk}/approve").status_code == 404
    assert other.delete(f"{MINE}/{access.pk}").status_code == 404
    assert APIClient().get(MINE).status_code in {401, 403}
    for text in ("x", str(access.pk).upper(), f"{{{access.pk}}}"):
        assert signed_in(customer).get(f"{MINE}/{text}").status_code == 404


class IsOwner(BasePermission):
    def has_permission(self, request, view):
        return request.user.get_username() == "olga"


def test_organization_answers_for_its_members(settings, ann, customer):
    settings.ADMINAPI_IMPERSONATION_ORGANIZATIONS = lambda user: [7]
    settings.ADMINAPI_IMPERSONATION_ORGANIZATION = lambda request: 7
    settings.ADMINAPI_IMPERSONATION_PERMISSION_CLASSES = [IsOwner]
    access = requested(customer, ann)
    assert signed_in(customer).post(f"{MINE}/{access.pk}/approve").status_code == 403
    owner = signed_in(person("olga"))
    assert owner.post(f"{MINE}/{access.pk}/approve").status_code == 200
    settings.ADMINAPI_IMPERSONATION_ORGANIZATION = lambda request: 8
    assert owner.get(MINE).json()["data"] == []


def test_list_takes_as_many_queries_for_many_rows(ann, customer, django_assert_num_queries):
    client = signed_in(customer)
    for count in (1, 20):
        for _ in range(count):
            requested(customer, ann)
        with django_assert_num_queries(3):
            client.get(MINE)


def test_unsafe_request_of_a_session_needs_the_csrf_token(ann, customer):
    access = requested(customer, ann)
    client = Client(enforce_csrf_checks=True)
    client.force_login(customer)
    assert client.post(f"{MINE}/{access.pk}/approve", content_type="application/json").status_code == 403
