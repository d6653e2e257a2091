"""The administrators' side of support access."""

from __future__ import annotations

from uuid import uuid4

import pytest
from rest_framework.test import APIClient

from dovetail_adminapi.models import SupportAccess
from dovetail_adminapi.support.access import approve_support_access, start_support_access
from tests.adminapi.support_world import SETTINGS, admin, person, requested

pytestmark = pytest.mark.django_db

USERS, ACCESSES = "/admin/v1/users", "/admin/v1/support-access"


@pytest.fixture(autouse=True)
def _switched_on(settings):
    for name, value in SETTINGS.items():
        setattr(settings, name, value)


@pytest.fixture
def ann():
    return admin()


@pytest.fixture
def customer():
    return person("carl")


def client_of(user):
    client = APIClient()
    client.force_login(user)
    return client


def post(client, user_id, **body):
    return client.post(f"{USERS}/{user_id}/support-access", {"reason": "Ticket 7", **body})


def test_request_waits_for_consent_and_starts_with_a_token(ann, customer):
    client = client_of(ann)
    answer = post(client, customer.pk, minutes=5)
    assert (answer.status_code, answer.json()["state"], answer.json()["token"]) == (201, "pending", None)
    key = answer.json()["id"]
    answer = client.post(f"{ACCESSES}/{key}/start")
    assert (answer.status_code, answer.json()["code"]) == (409, "consent_required")
    approve_support_access(SupportAccess.objects.get(), actor=customer)
    tokens = {client.post(f"{ACCESSES}/{key}/start").json()["token"] for _ in range(2)}
    (token,) = tokens
    assert token.startswith("dsa_")
    for answer in (client.get(f"{ACCESSES}/{key}"), client.get(ACCESSES)):
        assert answer.status_code == 200
        assert token not in answer.content.decode()
    assert client.delete(f"{ACCESSES}/{key}").status_code == 204
    assert client.get(f"{ACCESSES}/{key}").json()["state"] == "ended"


def test_token_is_in_the_first_answer_without_consent(settings, ann, customer):
    settings.ADMINAPI_IMPERSONATION_CONSENT = "none"
    assert post(client_of(ann), customer.pk).json()["token"].startswith("dsa_")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"reason": ""}, 400, "blank"),
        ({"minutes": 61}, 400, "max_value"),
        ({"minutes": "5"}, 400, "invalid"),
        ({"scope": "admin"}, 400, "invalid_choice"),
        ({"organization_id": "7"}, 400, "organization_required"),
    ],
)
def test_wrong_bodies_are_400(ann, customer, body, status, code):
    answer = post(client_of(ann), customer.pk, **body)
    assert answer.status_code == status
    assert code in answer.content.decode()
    assert not SupportAccess.objects.exists()


@pytest.mark.parametrize("key", ["0", "x", "9" * 30, "%00", str(uuid4())])
def test_unknown_users_are_404(ann, key):
    assert post(client_of(ann), key).status_code == 404


def test_administrators_and_oneself_are_refused(ann):
    client = client_of(ann)
    answer = post(client, person("root", is_superuser=True).pk)
    assert (answer.status_code, answer.json()["code"]) == (403, "user_is_administrator")
    answer = post(client, ann.pk)
    assert (answer.status_code, answer.json()["code"]) == (409, "own_account")


def test_accesses_of_others_are_read_and_not_used(ann, customer):
    access = requested(customer, ann)
    approve_support_access(access, actor=customer)
    ben = client_of(admin("ben"))
    assert ben.get(f"{ACCESSES}/{access.pk}").status_code == 200
    assert ben.post(f"{ACCESSES}/{access.pk}/start").status_code == 403
    assert ben.delete(f"{ACCESSES}/{access.pk}").status_code == 403
    assert ben.post(f"{ACCESSES}/{access.pk}/end").status_code == 403
    assert client_of(admin("eve", "end_support_access")).post(f"{ACCESSES}/{access.pk}/end").status_code == 204
    access.refresh_from_db()
    assert access.ended_at is not None


@pytest.mark.parametrize(
    ("permission", "method", "path"),
    [
        ("view_support_access", "post", "{users}/{user}/support-access"),
        ("view_support_access", "post", "{accesses}/{access}/start"),
        ("view_support_access", "delete", "{accesses}/{access}"),
        ("impersonate", "get", "{accesses}"),
        ("impersonate", "get", "{accesses}/{access}"),
        ("impersonate", "post", "{accesses}/{access}/end"),
    ],
)
def test_each_operation_needs_its_own_permission(customer, permission, method, path):
    person_of_staff = admin("staff", permission)
    access = requested(customer, person_of_staff)
    url = path.format(users=USERS, accesses=ACCESSES, user=customer.pk, access=access.pk)
    assert getattr(client_of(person_of_staff), method)(url).status_code == 403


def test_support_access_never_enters_the_admin_api(ann, customer):
    access = approve_support_access(requested(customer, ann, scope="write"), actor=customer)
    _access, token = start_support_access(access, actor=ann)
    client = APIClient(headers={"Authorization": f"Bearer {token}"})
    for answer in (client.get(ACCESSES), post(client, customer.pk)):
        assert (answer.status_code, answer.json()["code"]) == (403, "support_access_denied")


def test_list_takes_as_many_queries_for_many_rows(ann, customer, django_assert_num_queries):
    client = client_of(ann)
    # The session, the user, two for permissions, and the page.
    for _ in range(2):
        with django_assert_num_queries(5):
            assert client.get(ACCESSES).status_code == 200
        for _ in range(20):
            requested(customer, ann)
