"""What happens in the packages, told to whom it concerns."""

from __future__ import annotations

from typing import Any

import pytest
from django.core import mail
from rest_framework.test import APIClient

from billing.models import InvoiceStatus
from billing.services import update_invoice
from dovetail_core.events import emit
from dovetail_identity.services import issue_tokens
from dovetail_notify.delivery import deliver
from dovetail_notify.testing import sent_notifications
from dovetail_tenancy import tenant
from dovetail_tenancy.services import add_member, change_role, invite, remove_member
from tests.composed import factories

pytestmark = pytest.mark.django_db


def titles(user: Any) -> list[str]:
    return [row.title for row in sent_notifications(to=user)]


@pytest.fixture
def colleague(organization: Any) -> Any:
    user = factories.user()
    add_member(organization=organization, user=user, role="admin")
    return user


def test_who_manages_hears_of_an_invitation_and_who_is_invited_too(organization, owner, colleague):
    stranger = factories.user()
    invite(organization=organization, email=stranger.email, role="member", actor=owner)
    assert titles(colleague) == ["Somebody was invited to Initech as member"]
    assert titles(stranger) == ["You are invited to Initech"]
    # Whoever did it knows.
    assert titles(owner) == []


def test_whose_role_changes_is_told(organization, owner, colleague):
    membership = colleague and _membership(organization, colleague)
    change_role(membership=membership, role="member", actor=owner)
    assert titles(colleague) == ["You are now member of Initech"]


def test_a_paid_invoice_is_told_once(organization, owner, colleague):
    invoice = factories.invoice(organization, status=InvoiceStatus.SENT)
    with tenant(organization):
        for status in (InvoiceStatus.PAID, InvoiceStatus.PAID):
            update_invoice(invoice=invoice, status=status)
    assert titles(owner) == titles(colleague) == [f"Invoice {invoice.number} was paid"]


@pytest.mark.parametrize(
    ("name", "data", "title"),
    [
        ("api_key.created", {}, "The API key dvt_live_x was created"),
        ("api_key.rotated", {}, "The API key dvt_live_x was rotated"),
        ("api_key.expiring", {}, "The API key dvt_live_x expires soon"),
        (
            "api_key.used_from_new_network",
            {"network": "192.0.2.0/24"},
            "The API key dvt_live_x was used from a new network, 192.0.2.0/24",
        ),
    ],
)
def test_what_happens_to_keys_is_told_to_who_manages(organization, owner, name, data, title):
    emit(name, organization_id=organization.pk, target="key", data={"prefix": "dvt_live_x", **data})
    assert titles(owner) == [title]


def test_a_sign_in_from_a_new_device_is_told_and_mailed(owner, rf):
    for agent in ("Mozilla/5.0 (Windows NT 10.0) Firefox/130.0", "Mozilla/5.0 (X11; Linux x86_64) Firefox/130.0"):
        issue_tokens(owner, request=rf.get("/", HTTP_USER_AGENT=agent))
    (title,) = titles(owner)
    assert title.startswith("New sign-in: Firefox")
    assert deliver().sent == 1
    assert mail.outbox[-1].to == [owner.email]


def test_nobody_sees_matters_of_an_organization_they_have_left(organization, owner, colleague):
    invoice = factories.invoice(organization, status=InvoiceStatus.SENT)
    with tenant(organization):
        update_invoice(invoice=invoice, status=InvoiceStatus.PAID)
    client: APIClient = factories.client(colleague)
    inside = {"HTTP_X_ORGANIZATION_ID": str(organization.pk)}
    assert len(client.get("/api/v1/notifications", **inside).json()["data"]) == 1
    remove_member(membership=_membership(organization, colleague), actor=owner)
    assert client.get("/api/v1/notifications").json()["data"] == []
    assert client.get("/api/v1/notifications", **inside).status_code == 404


def test_the_list_is_as_all_lists_of_the_service_are(api, owner):
    answer = api.get("/api/v1/notifications")
    assert answer.status_code == 200
    assert answer.json() == {"data": [], "meta": {"next": None, "prev": None, "total": None}}


def _membership(organization: Any, user: Any) -> Any:
    from dovetail_tenancy import get_membership_model

    return get_membership_model()._default_manager.get(organization=organization, user=user)
