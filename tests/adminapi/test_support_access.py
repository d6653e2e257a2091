"""The rules of support access: request, consent, start, end."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from django.contrib.auth.models import Permission
from django.db import IntegrityError, transaction
from django.test import Client
from django.utils import timezone

from dovetail_adminapi.models import SupportAccess
from dovetail_adminapi.support import access as accesses
from dovetail_adminapi.support import exceptions, tokens
from dovetail_core.events import emit
from tests.adminapi.support_world import SETTINGS, admin, person, requested, started

pytestmark = pytest.mark.django_db


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


def names(events):
    return [event.name for event in events if event.name.startswith("support_access.")]


def age(access, **delta):
    """Let the access begin earlier."""
    rows = SupportAccess.objects.filter(pk=access.pk)
    for field in ("requested_at", "approved_at", "started_at", "expires_at"):
        if (value := getattr(access, field)) is not None:
            rows.update(**{field: value - timedelta(**delta)})
    access.refresh_from_db()


def test_access_goes_from_request_to_end(ann, customer, events):
    access = requested(customer, ann, ticket="T-1", minutes=10)
    assert (accesses.state_of(access), access.expires_at) == ("pending", None)
    accesses.approve_support_access(access, actor=customer)
    assert (accesses.state_of(access), access.approved_by) == ("approved", str(customer.pk))
    access, token = accesses.start_support_access(access, actor=ann)
    assert accesses.state_of(access) == "active"
    assert access.expires_at - access.started_at == timedelta(minutes=10)
    assert tokens.key_of(token) == access.pk
    assert accesses.end_support_access(access, actor=ann) is True
    assert accesses.state_of(access) == "ended"
    assert names(events) == [f"support_access.{name}" for name in ("requested", "approved", "started", "ended")]
    data = dict(events[0].data)
    assert data == {
        "support_access": str(access.pk),
        "user": str(customer.pk),
        "scope": "read",
        "minutes": 10,
        "reason": "Ticket 7",
        "ticket": "T-1",
    }
    assert [event.actor for event in events] == [ann, customer, ann, ann]


def test_start_without_consent_is_refused(ann, customer, events):
    access = requested(customer, ann)
    with pytest.raises(exceptions.ConsentRequired):
        accesses.start_support_access(access, actor=ann)
    assert names(events) == ["support_access.requested"]
    assert SupportAccess.objects.get().started_at is None


@pytest.mark.parametrize("consent", ["notify", "none"])
def test_access_starts_at_once_without_required_consent(settings, ann, customer, events, consent):
    settings.ADMINAPI_IMPERSONATION_CONSENT = consent
    assert accesses.state_of(requested(customer, ann)) == "active"
    assert names(events) == ["support_access.requested", "support_access.started"]


def test_request_is_refused_while_switched_off(settings, ann, customer):
    settings.ADMINAPI_IMPERSONATION = False
    with pytest.raises(exceptions.SupportAccessOff):
        requested(customer, ann)


@pytest.mark.parametrize(
    ("fields", "field", "code"),
    [
        ({"reason": "  "}, "reason", "reason_required"),
        ({"minutes": 0}, "minutes", "invalid"),
        ({"minutes": 61}, "minutes", "invalid"),
        ({"scope": "admin"}, "scope", "invalid"),
        ({"organization": "7"}, "organization_id", "organization_required"),
    ],
)
def test_invalid_values_are_refused(ann, customer, fields, field, code):
    with pytest.raises(exceptions.InvalidValue) as caught:
        requested(customer, ann, **fields)
    assert (caught.value.field, caught.value.code) == (field, code)
    assert not SupportAccess.objects.exists()


def test_database_refuses_more_than_an_hour(ann, customer):
    row = {"admin_key": str(ann.pk), "user_key": str(customer.pk), "reason": "x"}
    with pytest.raises(IntegrityError), transaction.atomic():
        SupportAccess.objects.create(minutes=61, **row)


def test_own_account_is_refused(ann):
    with pytest.raises(exceptions.OwnAccount):
        requested(ann, ann)


@pytest.mark.parametrize("fields", [{"is_staff": True}, {"is_superuser": True}])
def test_other_administrators_are_refused(ann, fields):
    with pytest.raises(exceptions.UserIsAdministrator):
        requested(person("root", **fields), ann)


def test_user_with_a_permission_that_the_administrator_lacks_is_refused(ann, customer):
    customer.user_permissions.add(Permission.objects.get(codename="change_user"))
    with pytest.raises(exceptions.UserIsAdministrator):
        requested(customer, ann)
    customer.user_permissions.set(Permission.objects.filter(codename="impersonate"))
    assert requested(type(customer).objects.get(pk=customer.pk), ann).pk


def test_inactive_user_is_refused(ann):
    with pytest.raises(exceptions.UserInactive):
        requested(person("gone", is_active=False), ann)


def test_administrator_cannot_consent(ann, customer):
    access = requested(customer, ann)
    with pytest.raises(exceptions.OwnRequest):
        accesses.approve_support_access(access, actor=ann)


def test_user_who_became_administrator_is_refused_at_the_start(ann, customer):
    access = accesses.approve_support_access(requested(customer, ann), actor=customer)
    customer.is_staff = True
    customer.save()
    with pytest.raises(exceptions.UserIsAdministrator):
        accesses.start_support_access(access, actor=ann)


def test_deleted_user_ends_the_access(ann, customer):
    access = accesses.approve_support_access(requested(customer, ann), actor=customer)
    customer.delete()
    with pytest.raises(exceptions.AccessOver):
        accesses.start_support_access(access, actor=ann)


def test_repeated_changes_are_no_further_events(ann, customer, events):
    access = requested(customer, ann)
    for _ in range(2):
        accesses.approve_support_access(access, actor=customer)
    first, second = (accesses.start_support_access(access, actor=ann) for _ in range(2))
    assert first[1] == second[1]
    assert (accesses.end_support_access(access), accesses.end_support_access(access)) == (True, False)
    assert len(names(events)) == 4


def test_stale_object_does_not_start_an_ended_access(ann, customer):
    access = accesses.approve_support_access(requested(customer, ann), actor=customer)
    stale = SupportAccess.objects.get(pk=access.pk)
    accesses.end_support_access(access)
    for change in (accesses.start_support_access, accesses.approve_support_access):
        with pytest.raises(exceptions.AccessOver):
            change(stale, actor=ann if change is accesses.start_support_access else customer)


def test_access_of_another_administrator_cannot_be_started(ann, customer):
    access = accesses.approve_support_access(requested(customer, ann), actor=customer)
    with pytest.raises(exceptions.AccessOver):
        accesses.start_support_access(access, actor=admin("ben"))


def test_request_without_an_answer_expires(ann, customer):
    access = requested(customer, ann)
    age(access, days=7)
    assert accesses.state_of(access) == "expired"
    with pytest.raises(exceptions.AccessOver):
        accesses.approve_support_access(access, actor=customer)


def test_access_expires_after_its_minutes(ann, customer):
    access, _ = started(customer, ann, minutes=5)
    age(access, minutes=5)
    assert accesses.state_of(access) == "expired"
    with pytest.raises(exceptions.AccessOver):
        accesses.start_support_access(access, actor=ann)


def test_organization_is_that_of_the_user(settings, ann, customer):
    settings.ADMINAPI_IMPERSONATION_ORGANIZATIONS = lambda user: [7] if user == customer else []
    assert requested(customer, ann).organization_key == "7"
    assert requested(customer, ann, organization="7").organization_key == "7"
    with pytest.raises(exceptions.OrganizationRequired):
        requested(customer, ann, organization="8")
    assert requested(person("dora"), ann).organization_key == ""


def test_user_of_several_organizations_needs_one(settings, ann, customer):
    settings.ADMINAPI_IMPERSONATION_ORGANIZATIONS = lambda user: [7, 8]
    with pytest.raises(exceptions.OrganizationRequired, match="7, 8"):
        requested(customer, ann)
    assert requested(customer, ann, organization=8).organization_key == "8"


def test_issuer_of_the_project_makes_the_token(settings, ann, customer):
    calls = []

    def issuer(user, **values):
        calls.append((user, values))
        return "a.b.c"

    settings.ADMINAPI_IMPERSONATION_ISSUER = issuer
    access = accesses.approve_support_access(requested(customer, ann), actor=customer)
    access, token = accesses.start_support_access(access, actor=ann)
    assert token == "a.b.c"
    assert calls == [(customer, {"actor": ann, "scope": "read", "expires": access.expires_at})]


def test_sign_out_of_the_administrator_ends_the_access(ann, customer):
    access, _ = started(customer, ann)
    client = Client()
    client.force_login(ann)
    client.logout()
    access.refresh_from_db()
    assert accesses.state_of(access) == "ended"


@pytest.mark.parametrize("name", ["session.revoked", "user.deleted"])
def test_event_about_the_administrator_ends_the_access(ann, customer, name):
    access, other = started(customer, ann)[0], started(customer, admin("ben"))[0]
    emit(name, target=ann)
    assert [accesses.state_of(SupportAccess.objects.get(pk=row.pk)) for row in (access, other)] == ["ended", "active"]


def test_tokens_are_bound_to_their_row_and_pepper(settings):
    key = uuid4()
    token = tokens.token_of(key)
    assert tokens.key_of(token) == key
    assert tokens.key_of(token.replace(key.hex, uuid4().hex)) is None
    for text in ("", "dsa_", token[:-1], token.upper(), f"{token} ", "dsa_" + "٣" * 32 + token[36:]):
        assert tokens.key_of(text) is None
    settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "another-secret-key-of-32-characters"
    assert tokens.key_of(token) == key
    settings.SECRET_KEY_FALLBACKS = []
    assert tokens.key_of(token) is None


def test_open_rows_are_those_of_the_states(ann, customer):
    rows = [requested(customer, ann), started(customer, ann)[0], started(customer, ann)[0], requested(customer, ann)]
    age(rows[2], hours=1)
    age(rows[3], days=8)
    now = timezone.now()
    assert [accesses.state_of(row, now) for row in rows] == ["pending", "active", "expired", "expired"]
    assert set(accesses.open_rows(now)) == set(rows[:2])
