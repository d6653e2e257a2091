"""Mails that strangers can cause: a flood of requests for one victim reaches the mailbox only within the budgets."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from django.core import mail
from django.test import Client

from dovetail_identity.services import issue_tokens
from tests.composed import factories

AUTH, API = "/api/auth", "/api/v1"
REQUESTS = 25
VICTIM = "victim@example.com"
PASSWORD = "correct horse battery 9"


@pytest.fixture
def flood(settings, django_capture_on_commit_callbacks, monkeypatch):
    """Send requests from many addresses, and return the statuses and the number of mails to the victim."""
    settings.IDENTITY_MAIL_DISPATCH = "dovetail_identity.mail.deliver"
    settings.TENANCY_INVITATION_SENDER = "dovetail_tenancy.mail.send_invitation"
    settings.NOTIFY_RUNNER = "dovetail_notify.outbox.runner.wait"
    monkeypatch.setattr("dovetail_core.mail.time", SimpleNamespace(time=lambda: 0.0))  # one clock hour

    def send(requests):
        statuses = set()
        for number, (path, body, headers) in enumerate(requests):
            address = f"203.0.{number // 250}.{number % 250}"
            with django_capture_on_commit_callbacks(execute=True):
                statuses.add(
                    Client(REMOTE_ADDR=address).post(path, body, "application/json", headers=headers).status_code
                )
        return statuses, sum(message.to[0].partition("@")[0].startswith("victim") for message in mail.outbox)

    return send


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("kind", "path", "known", "statuses", "mails"),
    [
        ("reset", f"{AUTH}/password/reset/", True, {202}, 10),
        ("register a known address", f"{AUTH}/register/", True, {202}, 10),
        ("register an unknown address", f"{AUTH}/register/", False, {202}, 10),
        ("magic link", f"{AUTH}/magic/request/", True, {202, 429}, 1),
    ],
)
def test_account_mails_of_strangers_are_limited(flood, kind, path, known, statuses, mails):
    if known:
        factories.user(email=VICTIM)
    body = {"email": VICTIM} | ({"password": PASSWORD} if "register" in path else {})
    assert flood((path, body, {}) for _ in range(REQUESTS)) == (statuses, mails)


@pytest.mark.django_db
def test_resent_invitations_are_limited(flood, owner, organization):
    headers = {"authorization": f"Bearer {issue_tokens(owner, request=None)['access']}"}
    base = f"{API}/organizations/{organization.pk}/invitations"
    created = Client().post(base, {"email": VICTIM, "role": "member"}, "application/json", headers=headers).json()
    resent = flood((f"{base}/{created['id']}/resend", {}, headers) for _ in range(REQUESTS))
    assert resent == ({200, 409}, 9)


# The attack: a stranger creates organizations without limit, and each of them invites the victim.
@pytest.mark.django_db
def test_invitations_of_many_organizations_are_limited(flood, owner):
    headers = {"authorization": f"Bearer {issue_tokens(owner, request=None)['access']}"}
    organizations = [factories.organization(owner, name=f"Evil {number}").pk for number in range(40)]
    body = {"email": VICTIM, "role": "member"}
    invited = flood((f"{API}/organizations/{key}/invitations", body, headers) for key in organizations)
    assert invited == ({201, 409}, 30)


@pytest.mark.django_db
def test_invitations_of_one_organization_are_limited(flood, owner, organization, settings):
    headers = {"authorization": f"Bearer {issue_tokens(owner, request=None)['access']}"}
    base = f"{API}/organizations/{organization.pk}/invitations"
    settings.DOVETAIL_MAIL_PER_ORGANIZATION = 10
    bodies = [{"email": f"victim{number}@example.com", "role": "member"} for number in range(15)]
    assert flood((base, body, headers) for body in bodies) == ({201, 409}, 10)
