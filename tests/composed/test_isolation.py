"""No endpoint, task, socket or page of the composed service reads or changes rows of another organization."""

from __future__ import annotations

from dataclasses import replace

import pytest
from django.test import Client
from django.urls import re_path

from billing.models import Customer
from billing.tasks import mark_overdue_invoices
from console.notifications import MemberInvited
from dovetail_adminapi.models import Job, SupportAccess
from dovetail_apikeys.services import create_api_key
from dovetail_audit.models import Entry
from dovetail_contract.testing import held_to_schema
from dovetail_notify import get_notification_model, notify
from dovetail_notify.services import set_organization_preference, set_preference
from dovetail_tenancy import get_membership_model, services, tenant
from dovetail_tenancy.contrib.celery import TenantTask
from dovetail_tenancy.models import Invitation
from dovetail_tenancy.testing import assert_admin_isolated, assert_isolated
from example_project import routing
from tests.composed import factories
from tests.composed.processes import RULES
from tests.composed.test_sockets import knock

pytestmark = pytest.mark.django_db

ORGANIZATION = "api/v1/organizations/<str:organization_id>"
SKIP = {
    "django-admin/*": "test_admin_site_is_isolated opens its pages",
    "api/auth/*": "accounts and sessions, which belong to no organization",
    "api/v1/me/sessions/<uuid:session_id>": "a person's own, in whichever organization",
    "api/schema/": "the API's description",
    "api/docs/": "the API's description",
    "POST api/v1/invitations/accept": "by the token of an e-mail, for who is no member yet",
    "POST api/v1/invitations/decline": "by the token of an e-mail, for who is no member yet",
    "api/v1/notifications/<str:notification_id>*": "a person's own, in whichever organization",
    "api/v1/push-devices/<str:device_id>": "a person's own, in whichever organization",
    "api/v1/push-devices/web-push-key": "the server's own public key, the same for everybody",
    "api/v1/notifications/stream": "needs ASGI: the package's own tests drive it",
    "api/v1/notifications/unsubscribe/<str:token>": "by the token of an e-mail, for its reader",
    "api/v1/features/<str:key>": "the flags of the project, which belong to no organization",
    "ofrep/*": "the flags of the project, which belong to no organization",
    "problems/*": "what the codes of errors mean",
    "admin/v1/*": "administrators see the rows of all organizations; test_admin_access.py says who they are",
    # Entries and support accesses have no foreign keys, by which this test finds rows.
    "api/v1/audit-log/*": "test_organization_never_sees_the_entries_of_another in test_audit.py",
    "api/v1/support-access/*": "test_only_owners_of_the_organization_answer in test_admin_support.py",
}


def rows(organization):
    """Create rows with unique texts, including a customer without invoices, which can be deleted."""
    name = f"of {organization.name}"
    factories.customer(organization, name=f"Idle {name}", email=f"idle@{organization.slug}.example.com")
    customer = factories.customer(organization, name=f"Busy {name}", email=f"busy@{organization.slug}.example.com")
    lines = [factories.line(description=f"Staplers {name}")]
    factories.invoice(organization, number=f"Number {name}", customer=customer, lines=lines)
    # The last owner could not leave.
    services.add_member(organization=organization, user=factories.user(), role="owner")
    services.invite(organization=organization, email=f"new@{organization.slug}.example.com", role="member")
    create_api_key(organization=organization, name=f"Key {name}")
    notify(MemberInvited(organization=name, role="member"), to=organization.owner, organization=organization)


def another_member(organization):
    return {"member": str(get_membership_model()._default_manager.filter(organization=organization).last().pk)}


def first_notification(organization):
    rows = get_notification_model()._default_manager.filter(recipient=organization.owner)
    return {"ids": [rows.order_by("pk")[:1].get().pk]}


BODIES = {
    f"POST {ORGANIZATION}/transfer-ownership": another_member,
    f"POST {ORGANIZATION}/invitations": lambda organization: {"email": "you@example.com", "role": "member"},
    f"PATCH {ORGANIZATION}/members/<str:membership_id>": lambda organization: {"role": "admin"},
    "POST api/v1/notifications/read": first_notification,
    "PATCH api/v1/notification-preferences": lambda organization: {"type": "*", "channel": "email", "mode": "off"},
}


def test_endpoints_are_isolated():
    user = factories.user()
    # The bodies contain ids of other organizations.
    with held_to_schema(replace(RULES, requests=False)):
        report = assert_isolated(
            mine=factories.organization(user, name="Initech"),
            theirs=factories.organization(name="Umbrella"),
            user=user,
            make=rows,
            bodies=BODIES,
            skip=SKIP,
        )
    assert {f"{method} {ORGANIZATION}" for method in ("GET", "PATCH", "DELETE")} <= report.tested
    resources = {"customers", "invoices"}
    assert {f"{method} api/v1/api-keys/<str:api_key_id>" for method in ("GET", "PATCH", "DELETE")} <= report.tested
    for method in ("GET", "PUT", "PATCH", "DELETE"):
        assert {f"{method} api/v1/{name}/<uuid:pk>" for name in resources} <= report.tested
    assert len(report.tested) >= 31
    assert not Invitation.objects.exists()


def rows_of_admin_site(organization):
    rows(organization)
    key = str(organization.pk)
    set_preference(user=organization.owner, channel="email", mode="off", organization_key=key)
    set_organization_preference(organization_key=key, channel="email", mode="off")
    # The people of both organizations are in the list of users.
    Entry._base_manager.filter(organization=key).update(actor_label=f"Actor of {organization.name}")
    reason = f"Reason of {organization.name}"
    Job.objects.create(name="purge", requested_by=reason, reason=reason, organization_key=key)
    owner = str(organization.owner.pk)
    SupportAccess.objects.create(admin_key=reason, user_key=owner, organization_key=key, reason=reason, minutes=5)


def test_admin_site_is_isolated():
    user = factories.user()
    report = assert_admin_isolated(
        mine=factories.organization(user, name="Initech"),
        theirs=factories.organization(name="Umbrella"),
        user=user,
        make=rows_of_admin_site,
    )
    assert {
        "dovetail_apikeys.APIKey: action rotate",
        "dovetail_apikeys.APIKey: add",
        "dovetail_notify.Delivery: action resend",
        "dovetail_notify.Preference: change",
        "dovetail_tenancy.Invitation: action resend",
        "dovetail_tenancy.Membership: delete",
        "dovetail_tenancy.Organization: history",
        "billing.Invoice: autocomplete",
        "dovetail_audit.Entry: list",
        "dovetail_adminapi.Job: change",
        "dovetail_adminapi.SupportAccess: list",
    } <= report.tested


def test_tasks_run_for_their_organization():
    assert isinstance(mark_overdue_invoices, TenantTask)


def test_socket_has_organization(monkeypatch):
    owner = factories.user()
    organization = factories.organization(owner)
    factories.customer(organization)
    factories.customer(factories.organization())
    seen = []

    async def consumer(scope, receive, send):
        seen.append((scope["organization_id"], await Customer.objects.acount()))
        await receive()
        await send({"type": "websocket.accept"})

    monkeypatch.setattr(routing, "websocket_urlpatterns", [re_path(r"^ws/here/$", consumer)])
    # Channels would close the connection of the test's transaction.
    monkeypatch.setattr("channels.db.close_old_connections", lambda: None)
    client = Client()
    client.force_login(owner)
    cookie = f"sessionid={client.cookies['sessionid'].value}".encode()
    assert knock(routing.websockets(), "/ws/here/", headers=[(b"cookie", cookie)]) == "websocket.accept"
    assert seen == [(organization.pk, 1)]


def test_admin_site_selects_one_organization():
    initech, umbrella = factories.organization(name="Initech"), factories.organization(name="Umbrella")
    for organization in (initech, umbrella):
        factories.invoice(organization, number=f"N-{organization.name}")
    staff = Client()
    staff.force_login(factories.user(is_staff=True, is_superuser=True))
    page = "/django-admin/billing/invoice/"
    staff.post(f"{page}organization/", {"organization": str(initech.pk)})
    assert "N-Initech" in (shown := staff.get(page).content.decode())
    assert "<strong>Initech</strong>" in shown
    assert "N-Umbrella" not in shown
    customers = staff.get("/django-admin/autocomplete/?app_label=billing&model_name=invoice&field_name=customer&term=")
    assert len(customers.json()["results"]) == 1
    with tenant(initech):
        customer = Customer.objects.get()
    sent = {"number": "N-1", "customer": customer.pk, "status": "draft", "currency": "EUR", "issued_on": "2026-01-01"}
    lines = {"lines-TOTAL_FORMS": 1, "lines-INITIAL_FORMS": 0, "lines-0-description": "x", "lines-0-quantity": 1}
    answer = staff.post(f"{page}add/", {**sent, **lines, "due_on": "2026-01-31", "lines-0-unit_price": 1})
    assert answer.status_code == 302
    with tenant(initech):
        assert customer.invoices.get(number="N-1").lines.get().description == "x"
