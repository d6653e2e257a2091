from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from django.core import mail
from django.core.cache import cache
from django.db import connection
from django.test import Client, TestCase
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from dovetail_tenancy import get_membership_model, services
from dovetail_tenancy.models import Invitation
from tests.tenancy.factories import invite, make_organization, make_user, membership_of
from tests.tenancy.lanes import admin_page

pytestmark = pytest.mark.django_db

LIST = "admin:dovetail_tenancy_invitation_changelist"


@pytest.fixture
def client() -> Client:
    signed_in = Client()
    signed_in.force_login(make_user(is_staff=True, is_superuser=True))
    return signed_in


@pytest.fixture(autouse=True)
def _same_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mails are counted by clock hours. A test may begin in one and end in the next."""
    monkeypatch.setattr("dovetail_core.mail.time", SimpleNamespace(time=lambda: 0.0))


def act(client: Client, action: str, *rows: Any, page: str = LIST) -> list[str]:
    data = {"action": action, "_selected_action": [row.pk for row in rows]}
    with TestCase.captureOnCommitCallbacks(execute=True):
        answer: Any = client.post(reverse(page), data, follow=True)
    return [str(message) for message in answer.context["messages"]]


def test_adding_an_invitation_sends_its_message(client: Client) -> None:
    organization = make_organization("Acme")
    add = reverse("admin:dovetail_tenancy_invitation_add")
    assert client.get(add).status_code == 200
    body = {"organization": organization.pk, "email": "Bo@example.com", "role": "admin"}
    with TestCase.captureOnCommitCallbacks(execute=True):
        client.post(add, body)
    invitation = Invitation._default_manager.get()
    assert (invitation.email, invitation.role, invitation.bounded) == ("bo@example.com", "admin", False)
    assert mail.outbox[0].to == ["bo@example.com"]
    refused: Any = client.post(add, body, follow=True)
    assert "pending" in [str(message) for message in refused.context["messages"]][-1]
    assert Invitation._default_manager.count() == 1


def test_actions_resend_and_revoke_invitations(client: Client) -> None:
    organization = make_organization()
    invitation, _ = invite(organization, "bo@example.com")
    before = Invitation._default_manager.get().token_hash
    assert act(client, "resend", invitation) == ["Sent: 1."]
    assert Invitation._default_manager.get().token_hash != before
    assert len(mail.outbox) == 1
    assert act(client, "revoke", invitation) == ["Revoked."]
    assert Invitation._default_manager.get().status == "revoked"
    assert "already revoked" in act(client, "resend", invitation)[0]


def test_refused_resend_does_not_stop_the_others(client: Client, settings: Any) -> None:
    settings.DOVETAIL_MAIL_PER_ORGANIZATION = 2
    cache.clear()
    organization = make_organization()
    pairs = [invite(organization, f"p{number}@example.com") for number in range(2)]
    revoked, _ = invite(make_organization("Globex"), "q@example.com")
    services.revoke_invitation(invitation=revoked)
    cache.clear()
    settings.DOVETAIL_MAIL_PER_ORGANIZATION = 1
    sent, *refused = act(client, "resend", revoked, *(invitation for invitation, _ in pairs))
    assert sent == "Sent: 1."
    assert len(refused) == 2
    assert any("already revoked" in text for text in refused)
    assert any(text.startswith("Not sent: 1. The limit of 1 invitation mails") for text in refused)
    assert len(mail.outbox) == 1


@pytest.mark.django_db(transaction=True)
def test_each_resend_is_a_transaction(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    invitation, _ = invite(make_organization(), "bo@example.com")
    resend, inside = services.resend_invitation, []

    def record(**arguments: Any) -> Any:
        inside.append(connection.in_atomic_block)
        return resend(**arguments)

    monkeypatch.setattr(services, "resend_invitation", record)
    act(client, "resend", invitation)
    assert inside == [False]


def test_the_page_of_an_invitation_is_read_only_and_shows_no_secret(client: Client) -> None:
    invitation, _ = invite(make_organization("Acme"), "bo@example.com")
    page = client.get(reverse("admin:dovetail_tenancy_invitation_change", args=[invitation.pk]))
    text = page.content.decode()
    assert "bo@example.com" in text
    assert "pending" in text
    assert 'name="role"' not in text
    assert Invitation._default_manager.get().token_hash not in text
    assert client.get(reverse(LIST) + "?q=bo").status_code == 200


def test_queries_of_the_list_do_not_grow_with_rows(client: Client, django_assert_num_queries: Any) -> None:
    organization, ada = make_organization(), make_user()
    invite(organization, "bo@example.com")
    client.get(reverse(LIST))
    with CaptureQueriesContext(connection) as one:
        client.get(reverse(LIST))
    for number in range(9):
        invite(make_organization(owner=ada), f"p{number}@example.com", actor=ada)
    with django_assert_num_queries(len(one)):
        client.get(reverse(LIST))


def test_an_action_transfers_ownership(client: Client) -> None:
    ada, bo = make_user(), make_user()
    organization = make_organization(owner=ada, member=bo)
    members = admin_page(get_membership_model(), "changelist")
    assert act(client, "transfer", membership_of(bo, organization), page=members) == ["Ownership transferred."]
    organization.refresh_from_db()
    assert organization.owner == bo
    assert membership_of(ada, organization).role == "admin"
