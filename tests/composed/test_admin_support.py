"""Support access in the composed service: an owner approves, and the audit log names both people."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from dovetail_adminapi.models import SupportAccess
from dovetail_apikeys.testing import api_key_client
from dovetail_audit.models import Entry
from dovetail_contract.testing import unchecked
from dovetail_identity.services import revoke_all_sessions
from dovetail_notify.testing import sent_notifications
from dovetail_tenancy.services import add_member
from tests.composed import factories
from tests.composed.admin_world import ADMIN, bearer, staff

pytestmark = pytest.mark.django_db

MINE = "/api/v1/support-access"
SUPPORT = ["dovetail_adminapi.impersonate", "dovetail_adminapi.view_support_access"]


@pytest.fixture
def member(organization):
    person = factories.user()
    add_member(organization=organization, user=person, role="admin")
    return person


@pytest.fixture
def ann():
    return staff(*SUPPORT)


def request_access(ann, user, **fields):
    body = {"reason": "The list of invoices is empty", "ticket": "T-7", **fields}
    return bearer(ann).post(f"{ADMIN}/users/{user.pk}/support-access", body)


def started(ann, user, owner, organization, **fields):
    """Return the client of an access that the owner has approved, and the access."""
    key = request_access(ann, user, organization_id=str(organization.pk), **fields).json()["id"]
    assert factories.client(owner, organization).post(f"{MINE}/{key}/approve").status_code == 200
    answer = bearer(ann).post(f"{ADMIN}/support-access/{key}/start")
    assert answer.status_code == 200, answer.content
    client = APIClient(headers={"Authorization": f"Bearer {answer.json()['token']}"})
    return client, SupportAccess.objects.get(pk=key)


def test_owner_approves_reading_works_and_both_people_are_recorded(ann, member, owner, organization):
    factories.customer(organization, name="Milton")
    answer = request_access(ann, member)
    assert (answer.status_code, answer.json()["state"], answer.json()["token"]) == (201, "pending", None)
    key = answer.json()["id"]
    pending = bearer(ann).post(f"{ADMIN}/support-access/{key}/start")
    assert (pending.status_code, pending.json()["code"]) == (409, "consent_required")
    customer = factories.client(owner, organization)
    (row,) = customer.get(MINE).json()["data"]
    assert (row["id"], row["admin_id"], row["reason"]) == (key, str(ann.pk), "The list of invoices is empty")
    assert customer.post(f"{MINE}/{key}/approve").json()["state"] == "approved"
    token = bearer(ann).post(f"{ADMIN}/support-access/{key}/start").json()["token"]
    support = APIClient(headers={"Authorization": f"Bearer {token}"})

    page = support.get("/api/v1/customers")
    assert [row["name"] for row in page.json()["data"]] == ["Milton"]
    refused = support.post("/api/v1/customers", {"name": "Bill", "email": "bill@example.com"})
    assert (refused.status_code, refused.json()["code"]) == (403, "support_access_read_only")
    used = Entry.objects.get(action="support_access.used")
    denied = Entry.objects.get(action="support_access.denied")
    for entry in (used, denied):
        assert (entry.actor, entry.impersonator, entry.organization) == (
            str(member.pk),
            str(ann.pk),
            str(organization.pk),
        )
    assert (denied.outcome, denied.status) == ("denied", 403)
    steps = [f"support_access.{name}" for name in ("requested", "approved", "started")]
    assert list(Entry.objects.filter(action__in=steps).order_by("pk").values_list("action", "actor")) == [
        (steps[0], str(ann.pk)),
        (steps[1], str(owner.pk)),
        (steps[2], str(ann.pk)),
    ]
    SupportAccess.objects.filter(pk=key).update(expires_at=timezone.now() - timedelta(seconds=1))
    over = support.get("/api/v1/customers")
    assert (over.status_code, over.json()["code"]) == (401, "support_access_over")
    # The owner reads it in the organization's own log.
    actions = {row["action"] for row in customer.get("/api/v1/audit-log?limit=200").json()["data"]}
    assert set(steps) <= actions


def test_user_and_owners_are_notified_of_request_and_start(ann, member, owner, organization):
    colleague = factories.user()
    add_member(organization=organization, user=colleague, role="admin")
    started(ann, member, owner, organization, minutes=10)
    for person in (member, owner):
        rows = sent_notifications(to=person)
        assert [row.title for row in rows if "Support" in row.title] == [
            f"Support asks for access to the account {member.email}",
            f"Support has access to the account {member.email} for 10 minutes",
        ]
        assert {row.body for row in rows if "Support" in row.title} == {"Reason: The list of invoices is empty"}
    assert sent_notifications(to=colleague) == []


@pytest.mark.parametrize(("consent", "count"), [("notify", 1), ("none", 0)])
def test_access_without_consent_notifies_user_and_owners_if_set(settings, ann, member, owner, consent, count):
    settings.ADMINAPI_IMPERSONATION_CONSENT = consent
    assert request_access(ann, member).json()["state"] == "active"
    for person in (member, owner):
        titles = [row.title for row in sent_notifications(to=person)]
        assert titles == [f"Support has access to the account {member.email} for 30 minutes"] * count


def test_person_without_organization_is_notified(ann):
    person = factories.user()
    request_access(ann, person)
    (row,) = sent_notifications(to=person)
    assert row.title == f"Support asks for access to the account {person.email}"


def test_write_access_changes_rows_in_both_names(ann, member, owner, organization):
    support, _access = started(ann, member, owner, organization, scope="write")
    answer = support.post("/api/v1/api-keys", {"name": "CI", "scopes": []})
    assert (answer.status_code, answer.json()["code"]) == (403, "support_access_denied")
    key = factories.customer(organization)
    invoice = {"number": "S-1", "customer": str(key.pk), "issued_on": "2026-01-01", "due_on": "2026-01-31"}
    lines = [{"description": "Staplers", "quantity": "2", "unit_price": "9.95"}]
    made = support.post("/api/v1/invoices", {**invoice, "status": "paid", "lines": lines})
    assert made.status_code == 201, made.content
    entry = Entry.objects.get(action="invoice.paid")
    assert (entry.actor, entry.impersonator) == (str(member.pk), str(ann.pk))


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("patch", "/api/v1/me"),
        ("delete", "/api/v1/me"),
        ("delete", "/api/v1/me/sessions"),
        ("post", "/api/auth/password/change/"),
        ("post", "/api/v1/notifications/ticket"),
        ("post", f"{MINE}/ID/approve"),
        ("get", MINE),
        ("get", f"{ADMIN}/users"),
        ("post", f"{ADMIN}/users/ID/support-access"),
    ],
)
def test_closed_paths_stay_closed_to_write_access(ann, member, owner, organization, method, path):
    support, access = started(ann, member, owner, organization, scope="write")
    with unchecked():
        answer = getattr(support, method)(path.replace("ID", str(access.pk)))
    assert answer.status_code == 403
    assert answer.json()["code"] in {"support_access_denied", "impersonation_not_admitted"}


def test_access_shows_one_organization_only(ann, member, owner, organization):
    other = factories.organization(name="Globex")
    add_member(organization=other, user=member, role="owner")
    factories.customer(other, name="Secret")
    assert request_access(ann, member).json()["code"] == "invalid"
    support, _access = started(ann, member, owner, organization)
    assert support.get("/api/v1/customers").json()["data"] == []
    named = support.get("/api/v1/customers", HTTP_X_ORGANIZATION_ID=str(other.pk))
    assert (named.status_code, named.json()["code"]) == (403, "organization_mismatch")
    for path in ("", "/members", "/invitations"):
        assert support.get(f"/api/v1/organizations/{other.pk}{path}").status_code == 403


def test_only_owners_of_the_organization_answer(ann, member, owner, organization):
    key = request_access(ann, member).json()["id"]
    assert factories.client(member, organization).post(f"{MINE}/{key}/approve").status_code == 403
    stranger = factories.organization(name="Globex")
    assert factories.client(stranger.owner, stranger).post(f"{MINE}/{key}/approve").status_code == 404
    machine = api_key_client(organization, scopes=["customers:read"])
    assert machine.post(f"{MINE}/{key}/approve").status_code == 403
    assert SupportAccess.objects.get(pk=key).approved_at is None
    assert factories.client(owner, organization).delete(f"{MINE}/{key}").status_code == 204
    assert Entry.objects.get(action="support_access.ended").actor == str(owner.pk)


def test_person_without_organization_answers_for_the_own_account(ann):
    person = factories.user()
    key = request_access(ann, person).json()["id"]
    assert factories.client(person).post(f"{MINE}/{key}/approve").status_code == 200


def test_sign_out_of_the_administrator_ends_the_access(ann, member, owner, organization):
    support, _access = started(ann, member, owner, organization)
    assert support.get("/api/v1/customers").status_code == 200
    revoke_all_sessions(ann)
    assert support.get("/api/v1/customers").status_code == 401


@pytest.mark.parametrize("path", ["users/x/support-access", "support-access/x", "support-access/x/start"])
def test_ids_of_any_shape_are_404(ann, path):
    method = "get" if path.endswith("/x") else "post"
    assert getattr(bearer(ann), method)(f"{ADMIN}/{path}").status_code in {400, 404}
