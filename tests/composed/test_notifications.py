"""Domain events of the packages create notifications."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.utils import timezone
from rest_framework.test import APIClient

from background.celery import app
from billing.models import InvoiceStatus
from billing.services import update_invoice
from console.notifications import AuditLogTampered, SupportAccessRequested, SupportAccessStarted
from console.tasks import notify_invited_person
from dovetail_apikeys.contrib.celery import announce_expiring_keys
from dovetail_core.events import emit
from dovetail_identity.services import issue_tokens
from dovetail_notify.contrib.celery import deliver as deliver_by_a_worker
from dovetail_notify.outbox.worker import deliver
from dovetail_notify.testing import sent_notifications
from dovetail_notify.types import registry
from dovetail_tenancy import tenant
from dovetail_tenancy.models import Invitation
from dovetail_tenancy.services import accept_invitation, add_member, change_role, invite, remove_member
from dovetail_tenancy.services.invitations import token_of
from tests.composed import factories

pytestmark = pytest.mark.django_db


def titles(user: Any) -> list[str]:
    return [row.title for row in sent_notifications(to=user)]


@pytest.fixture
def colleague(organization: Any) -> Any:
    user = factories.user()
    add_member(organization=organization, user=user, role="admin")
    return user


def test_titles_contain_no_links_of_strangers():
    """The attack: an organization's name is a link, and our mails have it as their subject."""
    names = dict.fromkeys(("organization", "device"), "Locked, see evil.com")
    types = [cls for cls in registry.all() if cls.__module__ == "console.notifications"]
    rendered = [cls(**{**cls.example, **{name: names[name] for name in names & cls.example.keys()}}) for cls in types]
    assert [kind.key for kind in rendered if "evil.com" in kind.render().title] == []


def test_invitation_notifies_managers_and_invited_person(
    organization, owner, colleague, django_capture_on_commit_callbacks
):
    stranger = factories.user()
    with django_capture_on_commit_callbacks(execute=True):
        invite(organization=organization, email=stranger.email, role="member", actor=owner)
    notify_invited_person(str(Invitation.objects.get().pk))  # brokers may deliver twice
    assert titles(colleague) == ["A new member was invited to Initech with the role member"]
    assert titles(stranger) == ["You are invited to Initech"]
    # The actor is not notified.
    assert titles(owner) == []


def test_accepted_invitation_notifies_inviter(organization, owner, colleague):
    stranger = factories.user()
    invitation = invite(organization=organization, email=stranger.email, role="member", actor=colleague)
    assert accept_invitation(token=token_of(invitation), user=stranger)
    title = f"{stranger.email} accepted your invitation to Initech"
    assert title in titles(colleague)
    assert title not in titles(owner) + titles(stranger)


def test_accepted_invitation_of_the_system_notifies_nobody(organization, owner):
    stranger = factories.user()
    invitation = invite(organization=organization, email=stranger.email, role="member")
    assert accept_invitation(token=token_of(invitation), user=stranger)
    assert not any("accepted" in title for title in titles(owner) + titles(stranger))


def test_role_change_notifies_member(organization, owner, colleague):
    membership = colleague and _membership(organization, colleague)
    change_role(membership=membership, role="member", actor=owner)
    assert titles(colleague) == ["Your role in Initech is now member"]


def test_paid_invoice_notifies_once(organization, owner, colleague):
    invoice = factories.invoice(organization, status=InvoiceStatus.SENT)
    with tenant(organization):
        for status in (InvoiceStatus.PAID, InvoiceStatus.PAID):
            update_invoice(invoice=invoice, status=status)
    assert titles(owner) == titles(colleague) == [f"Invoice {invoice.number} was paid"]


def test_manager_who_leaves_meanwhile_is_not_notified(organization, owner, colleague, monkeypatch):
    # The query of the managers and the notification see different memberships.
    former = factories.user()
    users = type(former).objects.filter(pk__in=[colleague.pk, former.pk])
    monkeypatch.setattr("console.receivers.managers_of", lambda organization_id: users)
    with tenant(organization):
        update_invoice(invoice=factories.invoice(organization), status=InvoiceStatus.PAID)
    assert (len(titles(colleague)), titles(former)) == (1, [])


@pytest.mark.parametrize(
    ("name", "data", "title"),
    [
        ("api_key.created", {}, "The API key dvt_live_x was created"),
        ("api_key.rotated", {}, "The API key dvt_live_x was rotated"),
        ("api_key.expiring", {}, "The API key dvt_live_x expires soon"),
        ("api_key.creator_left", {}, "The API key dvt_live_x stays valid although its creator left"),
        (
            "api_key.used_from_new_network",
            {"network": "192.0.2.0/24"},
            "The API key dvt_live_x was used from a new network, 192.0.2.0/24",
        ),
    ],
)
def test_api_key_events_notify_managers(organization, owner, name, data, title):
    emit(name, organization_id=organization.pk, target="key", data={"prefix": "dvt_live_x", **data})
    assert titles(owner) == [title]


def test_new_device_notifies_and_mails_user(owner, rf):
    for agent in ("Mozilla/5.0 (Windows NT 10.0) Firefox/130.0", "Mozilla/5.0 (X11; Linux x86_64) Firefox/130.0"):
        issue_tokens(owner, request=rf.get("/", HTTP_USER_AGENT=agent))
    (title,) = titles(owner)
    assert title.startswith("New sign-in: Firefox")
    assert deliver().sent == 1
    assert mail.outbox[-1].to == [owner.email]


def scheduled(task: Any) -> None:
    assert task.name in {entry["task"] for entry in app.conf.beat_schedule.values()}
    task.apply().get()


def test_http_requests_trigger_every_notification_type(
    api, organization, colleague, django_capture_on_commit_callbacks
):
    inside = {"HTTP_X_ORGANIZATION_ID": str(organization.pk)}
    member = factories.user()
    add_member(organization=organization, user=member, role="member")
    stranger = factories.user()

    def done(method: str, path: str, body: Any = None, client: Any = api, **more: Any) -> Any:
        answer = getattr(client, method)(f"/api/{path}", body, **more)
        assert 200 <= answer.status_code < 300, answer.content
        return answer.json()

    def key(name: str, **fields: Any) -> Any:
        return done("post", "v1/api-keys", {"name": name, "scopes": ["invoices:read"], **fields}, **inside)

    here = f"v1/organizations/{organization.pk}"
    with django_capture_on_commit_callbacks(execute=True):
        done("post", f"{here}/invitations", {"email": stranger.email, "role": "member"})
    invited = factories.user(email="new@example.com")
    # Not by a request: a sign-in of the colleague would be another device.
    invitation = invite(organization=organization, email=invited.email, role="member", actor=colleague)
    done("post", "v1/invitations/accept", {"token": token_of(invitation)}, client=factories.client(invited))
    membership = _membership(organization, member)
    done("patch", f"{here}/members/{membership.pk}", {"role": "admin"})
    shop = key("Shop", expires_at=(timezone.now() + timedelta(days=300)).isoformat())
    successor = done("post", f"v1/api-keys/{shop['id']}/rotate", **inside)
    till = key("Till", expires_at=(timezone.now() + timedelta(days=2)).isoformat())
    for _ in range(2):
        scheduled(announce_expiring_keys)
    machine = APIClient(HTTP_AUTHORIZATION=f"Bearer {till['key']}")
    for address in ("192.0.2.1", "198.51.100.1", "198.51.100.2"):
        done("get", "v1/invoices", client=machine, REMOTE_ADDR=address)
    invoice = factories.invoice(organization, status=InvoiceStatus.SENT, number="A-7")
    done("patch", f"v1/invoices/{invoice.pk}", {"status": "paid"}, **inside)
    for browser in ("Firefox/130.0", "Chrome/130.0.0.0 Safari/537.36", "Firefox/130.0"):
        agent = f"Mozilla/5.0 (X11; Linux x86_64) {browser}"
        body = {"email": colleague.email, "password": factories.PASSWORD}
        done("post", "auth/jwt/token/", body, client=APIClient(), HTTP_USER_AGENT=agent)

    by_http = {
        user: done("get", "v1/notifications", client=factories.client(user))["data"]
        for user in (colleague, member, stranger)
    }
    heard = [(row["type"], row["title"]) for row in reversed(by_http[colleague])]
    # The last one is caused by the sign-in of this test.
    assert heard[:-1] == [
        ("members.invited", "A new member was invited to Initech with the role member"),
        ("members.invitation_accepted", "new@example.com accepted your invitation to Initech"),
        ("api_keys.changed", f"The API key {shop['prefix']} was created"),
        ("api_keys.changed", f"The API key {shop['prefix']} was rotated"),
        ("api_keys.changed", f"The API key {till['prefix']} was created"),
        ("api_keys.changed", f"The API key {till['prefix']} expires soon"),
        ("api_keys.new_network", f"The API key {till['prefix']} was used from a new network, 198.51.100.0/24"),
        ("invoices.paid", "Invoice A-7 was paid"),
        ("security.new_device", "New sign-in: Chrome on Linux"),
    ]
    assert successor["rotated_from"] == shop["id"]
    assert ("members.role_changed", "Your role in Initech is now admin") in {
        (row["type"], row["title"]) for row in by_http[member]
    }
    assert [row["title"] for row in by_http[stranger]] == ["You are invited to Initech"]
    received = {row["type"] for rows in by_http.values() for row in rows}
    # No request tampers with the audit log: test_superusers_are_notified_of_tampering in test_audit.py. Requests for
    # support access are those of administrators: test_admin_support.py.
    others = {AuditLogTampered.key, SupportAccessRequested.key, SupportAccessStarted.key}
    assert received == {cls.key for cls in registry.all() if cls.__module__ == "console.notifications"} - others

    mail.outbox.clear()
    scheduled(deliver_by_a_worker)
    mailed = [message.subject for message in mail.outbox if message.to == [colleague.email]]
    only_in_app = {"members.invited", "members.invitation_accepted"}
    assert sorted(mailed) == sorted(title for kind, title in heard if kind not in only_in_app)


def test_former_members_see_no_notifications(organization, owner, colleague):
    invoice = factories.invoice(organization, status=InvoiceStatus.SENT)
    with tenant(organization):
        update_invoice(invoice=invoice, status=InvoiceStatus.PAID)
    client: APIClient = factories.client(colleague)
    inside = {"HTTP_X_ORGANIZATION_ID": str(organization.pk)}
    assert len(client.get("/api/v1/notifications", **inside).json()["data"]) == 1
    remove_member(membership=_membership(organization, colleague), actor=owner)
    assert client.get("/api/v1/notifications").json()["data"] == []
    assert client.get("/api/v1/notifications", **inside).status_code == 404


def test_notification_list_follows_contract(api, owner):
    answer = api.get("/api/v1/notifications")
    assert answer.status_code == 200
    assert answer.json() == {"data": [], "meta": {"next": None, "prev": None, "total": None}}


def _membership(organization: Any, user: Any) -> Any:
    from dovetail_tenancy import get_membership_model

    return get_membership_model()._default_manager.get(organization=organization, user=user)
