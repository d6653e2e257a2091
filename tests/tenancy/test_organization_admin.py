from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib import admin, messages
from django.db import IntegrityError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from dovetail_core.events import Event, domain_event
from dovetail_core.transactions import Vanished
from dovetail_tenancy import get_membership_model, get_organization_model, services
from tests.tenancy.documents.factories import make_document
from tests.tenancy.factories import make_organization, make_user, membership_of
from tests.tenancy.lanes import admin_page

pytestmark = pytest.mark.django_db

Organization = get_organization_model()
Membership = get_membership_model()

CHANGES = admin_page(Organization, "change")


@pytest.fixture
def staff() -> Any:
    return make_user(username="root", is_staff=True, is_superuser=True)


@pytest.fixture
def client(staff: Any) -> Client:
    signed_in = Client()
    signed_in.force_login(staff)
    return signed_in


@pytest.fixture
def seen() -> Iterator[list[Event]]:
    events: list[Event] = []

    def record(event: Event, **kwargs: Any) -> None:
        events.append(event)

    domain_event.connect(record)
    yield events
    domain_event.disconnect(record)


def form(organization: Any, *rows: dict[str, Any], **values: Any) -> dict[str, Any]:
    """What the browser sends from the organization's page; ``rows`` change or add memberships, in their order."""
    memberships = list(Membership._default_manager.filter(organization=organization).order_by("pk"))
    data = {"name": organization.name, "slug": organization.slug, **values}
    total = max(len(rows), len(memberships))
    data |= {"members-TOTAL_FORMS": total, "members-INITIAL_FORMS": len(memberships)}
    for index in range(total):
        known = memberships[index] if index < len(memberships) else None
        row = {"id": known.pk, "user": known.user_id, "role": known.role} if known else {}
        row |= {"organization": organization.pk} | (rows[index] if index < len(rows) else {})
        data |= {f"members-{index}-{name}": value for name, value in row.items()}
    return data


def complaints(response: Any) -> list[str]:
    return [str(message) for message in response.context["messages"] if message.level == messages.ERROR]


def test_adding_an_organization_creates_its_owner_membership(client: Client, seen: list[Event]) -> None:
    ada = make_user()
    client.post(reverse(admin_page(Organization, "add")), {"name": "Acme", "owner": ada.pk})
    organization = Organization._default_manager.get()
    assert (organization.slug, organization.owner) == ("acme", ada)
    assert membership_of(ada, organization).role == "owner"
    assert [event.name for event in seen] == ["organization.created", "member.added"]


@pytest.mark.parametrize("error", [Vanished("x"), IntegrityError("FOREIGN KEY constraint failed")])
def test_the_admin_site_reports_a_row_that_was_deleted_meanwhile(
    client: Client, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def vanish(**kwargs: Any) -> None:
        raise error

    monkeypatch.setattr(services, "create_organization", vanish)
    data = {"name": "Acme", "owner": make_user().pk}
    answer = client.post(reverse(admin_page(Organization, "add")), data, follow=True)
    assert "was deleted meanwhile" in complaints(answer)[0]


def test_an_organization_cannot_be_added_for_an_inactive_owner(client: Client) -> None:
    path, owner = reverse(admin_page(Organization, "add")), make_user(is_active=False)
    answer = client.post(path, {"name": "Acme", "owner": owner.pk}, follow=True)
    assert answer.status_code == 200
    assert "inactive" in complaints(answer)[0]
    assert not Organization._default_manager.exists()


def test_the_organization_page_adds_changes_and_removes_members(client: Client, staff: Any, seen: list[Event]) -> None:
    ada, bo, cy = make_user(), make_user(), make_user()
    organization = make_organization(owner=ada, member=bo)
    seen.clear()
    data = form(organization, {"role": "admin"}, {"DELETE": "on"}, {"user": cy.pk, "role": "owner"}, name="Apex")
    answer = client.post(reverse(CHANGES, args=[organization.pk]), data, follow=True)
    assert not complaints(answer)
    organization.refresh_from_db()
    assert (organization.name, organization.owner) == ("Apex", cy)
    roles = Membership._default_manager.filter(organization=organization).values_list("user", "role")
    assert dict(roles) == {ada.pk: "admin", cy.pk: "owner"}
    assert [event.name for event in seen] == [
        "organization.updated", "member.added", "member.role_changed", "member.removed",
    ]  # fmt: skip
    assert {event.actor for event in seen} == {staff}


def test_one_save_of_the_page_transfers_ownership(client: Client) -> None:
    ada, bo = make_user(), make_user()
    organization = make_organization(owner=ada, member=bo)
    data = form(organization, {"role": "member"}, {"role": "owner"})
    client.post(reverse(CHANGES, args=[organization.pk]), data)
    organization.refresh_from_db()
    assert organization.owner == bo
    assert membership_of(ada, organization).role == "member"


@pytest.mark.parametrize("row", [{"role": "admin"}, {"DELETE": "on"}])
def test_removing_the_last_owner_shows_a_message_and_writes_nothing(client: Client, row: dict[str, Any]) -> None:
    organization = make_organization("Acme", member=make_user())
    data = form(organization, row, {"role": "admin"}, slug="apex")
    answer = client.post(reverse(CHANGES, args=[organization.pk]), data, follow=True)
    assert answer.status_code == 200
    assert [complaint.partition(".")[0] for complaint in complaints(answer)] == [
        "No owner who can sign in would remain in: Acme"
    ]
    organization.refresh_from_db()
    assert organization.slug == "acme"
    assert sorted(Membership._default_manager.values_list("role", flat=True)) == ["member", "owner"]


def test_the_user_of_a_membership_cannot_change(client: Client) -> None:
    ada, bo = make_user(), make_user()
    organization = make_organization(owner=ada)
    page = reverse(CHANGES, args=[organization.pk])
    (field,) = re.findall(r'<select name="members-0-user"[^>]*>', client.get(page).content.decode())
    assert " disabled " in field
    client.post(page, form(organization, {"user": bo.pk}))
    assert Membership._default_manager.get().user == ada


def test_the_membership_page_changes_the_role_and_removes_it(client: Client) -> None:
    organization, bo = make_organization("Acme"), make_user()
    membership = services.add_member(organization=organization, user=bo, role="member")
    page = reverse(admin_page(Membership, "change"), args=[membership.pk])
    client.post(page, {"role": "owner"})
    organization.refresh_from_db()
    assert membership_of(bo, organization).role == "owner"
    client.post(reverse(admin_page(Membership, "delete"), args=[membership.pk]), {"post": "yes"})
    assert not Membership._default_manager.filter(user=bo).exists()
    last = Membership._default_manager.get()
    refused = client.post(reverse(admin_page(Membership, "delete"), args=[last.pk]), {"post": "yes"}, follow=True)
    assert "Acme" in complaints(refused)[0]
    assert client.get(reverse(admin_page(Membership, "add"))).status_code == 403


def test_deleting_several_rows_is_atomic(client: Client) -> None:
    organization, other = make_organization("Acme", member=make_user()), make_organization("Globex")
    make_document(organization, "ours")
    memberships = Membership._default_manager.filter(organization=organization)
    selected = {"action": "delete_selected", "post": "yes", "_selected_action": [m.pk for m in memberships]}
    answer = client.post(reverse(admin_page(Membership, "changelist")), selected, follow=True)
    assert "Acme" in complaints(answer)[0]
    assert memberships.count() == 2
    selected["_selected_action"] = [organization.pk, other.pk]
    answer = client.post(reverse(admin_page(Organization, "changelist")), selected, follow=True)
    assert not complaints(answer)
    assert not Organization._default_manager.exists()


def test_an_organization_is_deleted_with_its_rows(client: Client) -> None:
    organization = make_organization(member=make_user())
    make_document(organization, "ours")
    page = reverse(admin_page(Organization, "delete"), args=[organization.pk])
    assert "ours" in client.get(page).content.decode()
    client.post(page, {"post": "yes"})
    assert not Organization._default_manager.exists()


@pytest.mark.parametrize("model", [Organization, Membership])
def test_queries_of_the_lists_do_not_grow_with_rows(client: Client, model: Any, django_assert_num_queries: Any) -> None:
    page = reverse(admin_page(model, "changelist"))
    make_organization()
    client.get(page)
    with CaptureQueriesContext(connection) as one:
        client.get(page)
    for _ in range(20):
        make_organization()
    with django_assert_num_queries(len(one)):
        assert client.get(page).status_code == 200


def test_pages_render_and_search(client: Client) -> None:
    organization = make_organization("Acme")
    for page in (
        reverse(admin_page(Organization, "add")),
        reverse(CHANGES, args=[organization.pk]),
        reverse(admin_page(Organization, "changelist")) + "?q=acm",
        reverse(admin_page(Membership, "changelist")) + "?q=acm",
        reverse(admin_page(Membership, "change"), args=[Membership._default_manager.get().pk]),
    ):
        assert client.get(page).status_code == 200
    assert "admin-autocomplete" in client.get(reverse(CHANGES, args=[organization.pk])).content.decode()


def test_users_without_an_admin_class_are_chosen_by_key(client: Client) -> None:
    site = admin.AdminSite()
    site.register(Organization, type(admin.site._registry[Organization]))
    page = site._registry[Organization]
    assert page.get_autocomplete_fields(None) == ()
    assert page.inlines[0](Organization, site).get_autocomplete_fields(None) == ()
    assert page.raw_id_fields == ("owner",)
