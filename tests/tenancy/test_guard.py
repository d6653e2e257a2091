"""Accounts that any code of a project deletes or deactivates without the services."""

from __future__ import annotations

import random
from contextlib import suppress
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core import serializers
from django.db import transaction
from django.test import Client
from django.urls import reverse

from dovetail_core.events import Event, domain_event
from dovetail_tenancy import get_membership_model, get_organization_model, services
from dovetail_tenancy.conf import OWNER
from dovetail_tenancy.exceptions import LastOwner, TenancyError
from dovetail_tenancy.organizations.project_models import active_members
from tests.tenancy.factories import make_organization, make_user, membership_of
from tests.tenancy.lanes import admin_page

pytestmark = pytest.mark.django_db

User = get_user_model()
Membership = get_membership_model()
Organization = get_organization_model()


def _deactivate(user: Any) -> None:
    user.is_active = False
    user.save()


def _deactivate_field(user: Any) -> None:
    user.is_active = False
    user.save(update_fields=["is_active"])


WAYS = {
    "delete": lambda user: user.delete(),
    "delete a queryset": lambda user: User._default_manager.filter(pk=user.pk).delete(),
    "save": _deactivate,
    "save the field": _deactivate_field,
    "service": lambda user: services.deactivate_user(user),
    "update_or_create": lambda user: User._default_manager.update_or_create(pk=user.pk, defaults={"is_active": False}),
}


def by(way: str, user: Any) -> None:
    # A savepoint, because a receiver that raises leaves Django's transaction unusable.
    with transaction.atomic():
        WAYS[way](User._default_manager.get(pk=user.pk))


@pytest.mark.parametrize("way", WAYS)
def test_a_last_owner_is_kept_and_the_organizations_are_named(way: str) -> None:
    ada = make_user()
    acme, globex = make_organization("Acme", owner=ada, admin=make_user()), make_organization("Globex", owner=ada)
    make_organization("Initech", member=ada)
    with pytest.raises(LastOwner, match="Acme, Globex") as caught:
        by(way, ada)
    assert caught.value.organizations == [acme, globex]
    assert User._default_manager.get(pk=ada.pk).is_active
    assert Membership._default_manager.filter(user=ada).count() == 3


@pytest.mark.parametrize("way", WAYS)
def test_another_owner_becomes_the_contact(way: str) -> None:
    ada, bo = make_user(), make_user()
    organization = make_organization(owner=ada)
    services.add_member(organization=organization, user=bo, role=OWNER)
    by(way, ada)
    organization.refresh_from_db()
    assert organization.owner == bo
    assert active_members(organization.pk, OWNER, using="default").get().user_id == bo.pk
    with pytest.raises(LastOwner):
        by(way, bo)


@pytest.mark.parametrize("way", WAYS)
def test_a_user_without_organizations_is_deleted(way: str) -> None:
    bo = make_user()
    make_organization(member=bo)
    by(way, bo)
    assert not User._default_manager.filter(pk=bo.pk, is_active=True).exists()


def test_two_owners_deleted_by_one_queryset_are_refused_together() -> None:
    ada, bo = make_user(), make_user()
    organization = make_organization("Acme", owner=ada)
    services.add_member(organization=organization, user=bo, role=OWNER)
    with pytest.raises(LastOwner, match="Acme"), transaction.atomic():
        User._default_manager.filter(pk__in=[ada.pk, bo.pk]).delete()
    assert Membership._default_manager.filter(organization=organization).count() == 2
    organization.refresh_from_db()
    assert organization.owner == ada


def test_a_deletion_emits_an_event_for_each_membership() -> None:
    bo = make_user()
    organization = make_organization(member=bo)
    key, seen = bo.pk, []

    def record(event: Event, **kwargs: Any) -> None:
        seen.append((event.name, event.organization_id, dict(event.data)))

    domain_event.connect(record)
    try:
        bo.delete()
    finally:
        domain_event.disconnect(record)
    assert seen == [("member.removed", organization.pk, {"user_id": str(key), "role": "member"})]


def test_other_saves_cost_no_query(django_assert_num_queries: Any) -> None:
    ada = make_user()
    make_organization(owner=ada)
    ada.first_name = "Ada"
    with django_assert_num_queries(1):
        ada.save(update_fields=["first_name"])
    ada.is_active = False
    with django_assert_num_queries(1):
        ada.save(update_fields=["first_name"])
    assert User._default_manager.get(pk=ada.pk).is_active


def test_an_inactive_user_can_be_saved() -> None:
    ada = make_user()
    make_organization(owner=ada)
    # Sends no signal, as the README says.
    User._default_manager.filter(pk=ada.pk).update(is_active=False)
    ada.refresh_from_db()
    ada.save()


def test_a_fixture_is_loaded_unchecked() -> None:
    ada = make_user()
    make_organization(owner=ada)
    ada.is_active = False
    for loaded in serializers.deserialize("json", serializers.serialize("json", [ada])):
        loaded.save()
    assert not User._default_manager.get(pk=ada.pk).is_active


def test_the_admin_lists_protected_organizations() -> None:
    client = Client()
    client.force_login(make_user(is_staff=True, is_superuser=True))
    ada, bo = make_user(), make_user()
    organization = make_organization("Acme", owner=ada)
    page = reverse(admin_page(User, "delete"), args=[ada.pk])
    assert "would require deleting the following protected" in client.get(page).content.decode()
    assert "protected" in client.post(page, {"post": "yes"}).content.decode()
    assert User._default_manager.filter(pk=ada.pk).exists()
    services.add_member(organization=organization, user=bo, role=OWNER)
    assert "protected" not in client.get(page).content.decode()
    assert client.post(page, {"post": "yes"}).status_code == 302
    organization.refresh_from_db()
    assert organization.owner == bo


def test_deleting_an_organization_with_its_users_is_allowed() -> None:
    acme, globex = make_organization("Acme", member=make_user()), make_organization("Globex")
    acme.delete()
    Organization._default_manager.filter(pk=globex.pk).delete()
    assert not Membership._default_manager.exists()


def _changes(user: Any, other: Any, organization: Any) -> list[Any]:
    membership = Membership._default_manager.filter(user=user.pk, organization=organization).first()
    if membership is None:
        return [lambda: services.add_member(organization=organization, user=user, role=OWNER)]
    return [
        lambda: services.change_role(membership=membership, role="member"),
        lambda: services.change_role(membership=membership, role=OWNER),
        lambda: services.remove_member(membership=membership),
        lambda: services.leave_organization(organization=organization, user=user),
        lambda: services.transfer_ownership(organization=organization, to=user, actor=other),
        lambda: _deactivate(user),
        lambda: user.delete(),
        lambda: services.delete_user(user, on_owned="transfer"),
    ]


def test_any_sequence_of_changes_keeps_an_owner_who_can_sign_in() -> None:
    for seed in range(50):
        draw = random.Random(seed)
        people = [make_user() for _ in range(4)]
        organizations = [make_organization(f"Acme {seed}", owner=person) for person in people[:2]]
        for _ in range(6):
            user, other, organization = draw.choice(people), draw.choice(people), draw.choice(organizations)
            with suppress(TenancyError), transaction.atomic():
                draw.choice(_changes(user, other, organization))()
            people = list(User._default_manager.filter(pk__in=[person.pk for person in people if person.pk]))
            for each in organizations:
                each.refresh_from_db()
                owners = active_members(each.pk, OWNER, using="default").values_list("user_id", flat=True)
                assert each.owner_id in set(owners), (seed, each)


def test_memberships_are_deleted_with_the_user() -> None:
    ada, bo = make_user(), make_user()
    organization = make_organization(owner=ada, member=bo)
    bo.delete()
    assert Membership._default_manager.get() == membership_of(ada, organization)
