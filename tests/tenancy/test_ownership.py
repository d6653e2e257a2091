"""Transferring the ownership of an organization, and leaving it."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db.models.signals import post_save
from django.test import override_settings

from dovetail_core.events import Event, domain_event
from dovetail_tenancy import get_membership_model, services
from dovetail_tenancy.conf import membership_lookups
from dovetail_tenancy.exceptions import Gone, LastOwner, OwnerCannotSignIn, RoleNotAllowed
from tests.tenancy.factories import client_of, make_organization, make_user, membership_of

pytestmark = pytest.mark.django_db

Membership = get_membership_model()


def path(organization: Any, action: str) -> str:
    return f"/api/organizations/{organization.pk}/{action}"


def role(user: Any, organization: Any) -> str:
    return str(membership_of(user, organization).role)


def test_ownership_is_transferred() -> None:
    ada, bo = make_user(), make_user()
    organization, seen = make_organization(owner=ada, member=bo), []

    def record(event: Event, **kwargs: Any) -> None:
        seen.append((event.name, event.actor))

    domain_event.connect(record)
    try:
        heir = services.transfer_ownership(organization=organization, to=bo, actor=ada)
    finally:
        domain_event.disconnect(record)
    organization.refresh_from_db()
    assert (organization.owner, heir.role) == (bo, "owner")
    assert (role(ada, organization), role(bo, organization)) == ("admin", "owner")
    assert seen == [
        ("member.role_changed", ada), ("member.role_changed", ada), ("organization.ownership_transferred", ada),
    ]  # fmt: skip


def test_a_transfer_by_the_system_demotes_the_contact_only() -> None:
    ada, bo, cy = make_user(), make_user(), make_user()
    organization = make_organization(owner=ada, member=bo)
    services.add_member(organization=organization, user=cy, role="owner")
    services.transfer_ownership(organization=organization, to=bo)
    assert [role(user, organization) for user in (ada, bo, cy)] == ["admin", "owner", "owner"]


@pytest.mark.parametrize("change", ["demotes", "deletes"])
def test_a_receiver_may_change_the_previous_owner_itself(change: str) -> None:
    ada, bo = make_user(), make_user()
    organization = make_organization(owner=ada, member=bo)

    def allow_one_owner(instance: Any, **kwargs: Any) -> None:
        if instance.role == "owner":
            others = Membership._base_manager.filter(**membership_lookups(organization=organization, role="owner"))
            others = others.exclude(pk=instance.pk)
            _ = others.update(**membership_lookups(role="member")) if change == "demotes" else others.delete()

    post_save.connect(allow_one_owner, sender=Membership)
    try:
        services.transfer_ownership(organization=organization, to=bo, actor=ada)
    finally:
        post_save.disconnect(allow_one_owner, sender=Membership)
    remaining = Membership._base_manager.filter(**membership_lookups(organization=organization, user=ada))
    assert [membership.role for membership in remaining] == (["member"] if change == "demotes" else [])
    assert role(bo, organization) == "owner"


def test_an_owner_can_become_the_contact() -> None:
    ada, bo = make_user(), make_user()
    organization = make_organization(owner=ada)
    services.add_member(organization=organization, user=bo, role="owner")
    services.transfer_ownership(organization=organization, to=bo, actor=bo)
    organization.refresh_from_db()
    assert (organization.owner, role(ada, organization), role(bo, organization)) == (bo, "owner", "owner")


@override_settings(TENANCY_ROLES={"owner": []})
def test_without_other_roles_both_stay_owners() -> None:
    ada, bo = make_user(), make_user()
    organization = make_organization(owner=ada)
    services.add_member(organization=organization, user=bo, role="owner")
    services.transfer_ownership(organization=organization, to=bo, actor=ada)
    assert role(ada, organization) == "owner"


def test_a_forbidden_transfer_writes_nothing() -> None:
    ada, admin, gone = make_user(), make_user(), make_user()
    organization = make_organization(owner=ada, admin=admin, member=gone)
    with pytest.raises(RoleNotAllowed):
        services.transfer_ownership(organization=organization, to=admin, actor=admin)
    with pytest.raises(Gone):
        services.transfer_ownership(organization=organization, to=make_user(), actor=ada)
    # The instance is active, but its row is not.
    get_user_model()._default_manager.filter(pk=gone.pk).update(is_active=False)
    with pytest.raises(OwnerCannotSignIn):
        services.transfer_ownership(organization=organization, to=gone, actor=ada)
    organization.refresh_from_db()
    assert (organization.owner, role(ada, organization)) == (ada, "owner")


def test_members_can_leave_but_the_last_owner_cannot() -> None:
    ada, bo = make_user(), make_user()
    organization = make_organization(owner=ada, member=bo)
    services.leave_organization(organization=organization, user=bo)
    with pytest.raises(Gone):
        services.leave_organization(organization=organization, user=bo)
    with pytest.raises(LastOwner):
        services.leave_organization(organization=organization, user=ada)
    assert Membership._default_manager.get().user == ada


def test_the_api_transfers_ownership() -> None:
    ada, bo = make_user(), make_user()
    organization = make_organization(owner=ada, member=bo)
    body = {"member": str(membership_of(bo, organization).pk)}
    refused = client_of(bo).post(path(organization, "transfer-ownership"), body, format="json")
    assert refused.status_code == 403
    answer = client_of(ada).post(path(organization, "transfer-ownership"), body, format="json")
    assert (answer.status_code, answer.json()["owner"], answer.json()["role"]) == (200, bo.pk, "admin")


@pytest.mark.parametrize("member", [None, "", "x", 7, [], {}, "a\0b", "01a20752-286b-7e33-be29-0fe5408e5556", "other"])
def test_the_api_transfers_only_to_members_of_the_organization(member: Any) -> None:
    ada, bo = make_user(), make_user()
    organization, other = make_organization(owner=ada), make_organization(owner=bo)
    member = str(membership_of(bo, other).pk) if member == "other" else member
    answer = client_of(ada).post(path(organization, "transfer-ownership"), {"member": member}, format="json")
    assert (answer.status_code, list(answer.json())) == (400, ["member"])


def test_the_api_does_not_transfer_to_inactive_members() -> None:
    ada, bo = make_user(), make_user(is_active=False)
    organization = make_organization(owner=ada, member=bo)
    body = {"member": str(membership_of(bo, organization).pk)}
    answer = client_of(ada).post(path(organization, "transfer-ownership"), body, format="json")
    assert (answer.status_code, answer.data["detail"].code) == (409, "owner_inactive")


@override_settings(TENANCY_ROLES={"owner": [], "member": []})
def test_the_api_lets_every_member_leave() -> None:
    ada, bo = make_user(), make_user()
    organization = make_organization(owner=ada, member=bo)
    assert client_of(make_user()).post(path(organization, "leave")).status_code == 404
    assert client_of(bo).post(path(organization, "leave")).status_code == 204
    assert client_of(bo).post(path(organization, "leave")).status_code == 404
    last = client_of(ada).post(path(organization, "leave"))
    assert (last.status_code, last.data["detail"].code) == (409, "last_owner")


class Key:
    def __init__(self, organization_id: Any) -> None:
        self.organization_id = organization_id
        self.scopes = ["members:*", "organization:*"]


def test_an_organization_credential_cannot_leave() -> None:
    bo = make_user()
    organization = make_organization(member=bo)
    assert client_of(bo, auth=Key(organization.pk)).post(path(organization, "leave")).status_code == 403
    assert role(bo, organization) == "member"
