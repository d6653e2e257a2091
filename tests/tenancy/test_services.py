from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import IntegrityError, OperationalError, connection, transaction
from django.db.models.signals import post_delete, post_save
from django.test.utils import CaptureQueriesContext

from dovetail_core.events import Event, domain_event
from dovetail_tenancy import get_membership_model, get_organization_model, services, unscoped
from dovetail_tenancy.conf import membership_lookups
from dovetail_tenancy.exceptions import (
    AlreadyMember,
    Conflict,
    Gone,
    LastOwner,
    OwnerCannotSignIn,
    RoleNotAllowed,
    SlugTaken,
    TenancyError,
    UnknownRole,
)
from tests.tenancy.documents.factories import make_document
from tests.tenancy.documents.models import Document
from tests.tenancy.factories import make_organization, make_user, membership_of

pytestmark = pytest.mark.django_db

Organization = get_organization_model()
Membership = get_membership_model()


@pytest.fixture
def events() -> Iterator[list[Event]]:
    seen: list[Event] = []

    def record(event: Event, **kwargs: Any) -> None:
        seen.append(event)

    domain_event.connect(record)
    yield seen
    domain_event.disconnect(record)


def names(events: list[Event]) -> list[str]:
    return [event.name for event in events]


def roles(organization: Any) -> dict[str, str]:
    return dict(Membership._default_manager.filter(organization=organization).values_list("user__username", "role"))


# create


def test_an_organization_is_created_with_its_owner(events: list[Event]) -> None:
    ada = make_user()
    organization = services.create_organization(name="Acme & Söhne", owner=ada)
    assert (organization.name, organization.slug, organization.owner) == ("Acme & Söhne", "acme-sohne", ada)
    assert roles(organization) == {ada.username: "owner"}
    assert names(events) == ["organization.created", "member.added"]
    assert {(event.actor, event.organization_id) for event in events} == {(ada, organization.pk)}
    assert (events[0].target, events[1].target) == (organization, membership_of(ada, organization))
    assert events[1].data == {"user_id": str(ada.pk), "role": "owner"}


def test_nothing_is_created_when_a_receiver_refuses() -> None:
    def refuse(event: Event, **kwargs: Any) -> None:
        if event.name == "member.added":
            raise RuntimeError

    ada = make_user()
    domain_event.connect(refuse)
    try:
        with pytest.raises(RuntimeError):
            services.create_organization(name="Acme", owner=ada)
    finally:
        domain_event.disconnect(refuse)
    assert not Organization._default_manager.exists()
    assert not Membership._default_manager.exists()


def test_a_taken_slug_gets_a_suffix() -> None:
    slugs = [make_organization("Acme").slug for _ in range(3)]
    assert slugs[0] == "acme"
    assert len(set(slugs)) == 3
    assert all(slug.startswith("acme-") and len(slug) == 11 for slug in slugs[1:])


@pytest.mark.parametrize(
    ("name", "slug"),
    [("東京", "organization"), ("  ", "organization"), ("A" * 200, "a" * 93), ("a" * 92 + " b", "a" * 92)],
)
def test_any_name_gives_a_slug_that_fits(name: str, slug: str) -> None:
    assert make_organization(name).slug == slug
    assert len(make_organization(name).slug) <= 100


def test_a_chosen_slug_is_kept_or_refused() -> None:
    assert services.create_organization(name="Acme", slug="apex", owner=make_user()).slug == "apex"
    with pytest.raises(SlugTaken, match="'apex' belongs to another organization"):
        services.create_organization(name="Acme", slug="apex", owner=make_user())
    assert Organization._default_manager.count() == 1
    assert Membership._default_manager.count() == 1


def test_another_integrity_error_is_not_mistaken_for_a_taken_slug() -> None:
    key = make_organization().pk
    for slug in (None, "free"):
        with pytest.raises(IntegrityError), transaction.atomic():
            services.create_organization(name="Acme", slug=slug, owner=make_user(), id=key)


def test_an_organization_needs_an_owner_who_can_sign_in() -> None:
    for owner in (make_user(is_active=False), get_user_model()(username="unsaved"), None):
        with pytest.raises(OwnerCannotSignIn):
            services.create_organization(name="Acme", owner=owner)


# update


def test_an_update_writes_only_the_named_fields(events: list[Event]) -> None:
    organization = make_organization("Acme")
    before = organization.updated_at
    Organization._default_manager.filter(pk=organization.pk).update(slug="moved-meanwhile")
    events.clear()
    services.update_organization(organization=organization, name="Apex")
    organization.refresh_from_db()
    assert (organization.name, organization.slug) == ("Apex", "moved-meanwhile")
    assert organization.updated_at > before
    assert names(events) == ["organization.updated"]
    assert events[0].data == {"fields": ["name"]}


def test_an_update_without_fields_writes_nothing(events: list[Event], django_assert_num_queries: Any) -> None:
    organization = make_organization()
    events.clear()
    with django_assert_num_queries(2):  # the savepoint and its release
        services.update_organization(organization=organization)
    assert not events


def test_an_update_refuses_a_taken_slug_and_the_owner() -> None:
    make_organization("Acme")
    organization = make_organization("Apex")
    with pytest.raises(SlugTaken):
        services.update_organization(organization=organization, slug="acme")
    with pytest.raises(TypeError, match="change_role"):
        services.update_organization(organization=organization, owner=make_user())
    organization.refresh_from_db()
    assert organization.slug == "apex"


def test_an_update_by_a_member_without_the_permission_is_refused() -> None:
    bo = make_user()
    organization = make_organization("Acme", member=bo)
    with pytest.raises(RoleNotAllowed, match=r"'organization.update'\. Your role is member"):
        services.update_organization(organization=organization, actor=bo, name="Mine")


# members


def test_a_member_is_added_once(events: list[Event]) -> None:
    organization, bo = make_organization(), make_user()
    events.clear()
    membership = services.add_member(organization=organization, user=bo, role="member")
    assert (membership.user, membership.organization, membership.role) == (bo, organization, "member")
    assert names(events) == ["member.added"]
    with pytest.raises(AlreadyMember):
        services.add_member(organization=organization, user=bo, role="admin")
    assert roles(organization)[bo.username] == "member"
    assert len(events) == 1


def test_a_role_is_changed(events: list[Event]) -> None:
    bo = make_user()
    organization = make_organization(member=bo)
    events.clear()
    membership = membership_of(bo, organization)
    assert services.change_role(membership=membership, role="admin").role == "admin"
    assert roles(organization)[bo.username] == "admin"
    assert names(events) == ["member.role_changed"]
    assert events[0].data == {"user_id": str(bo.pk), "role": "admin", "previous_role": "member"}
    services.change_role(membership=membership, role="admin")
    assert len(events) == 1


def test_an_unknown_role_is_refused_and_the_roles_are_named() -> None:
    bo = make_user()
    organization = make_organization(member=bo)
    with pytest.raises(UnknownRole, match=r"'boss' is not a role\. The roles are: owner, admin, member, billing"):
        services.change_role(membership=membership_of(bo, organization), role="boss")
    with pytest.raises(UnknownRole):
        services.add_member(organization=organization, user=make_user(), role="boss")


def test_a_member_is_removed(events: list[Event]) -> None:
    bo = make_user()
    organization = make_organization(member=bo)
    membership = membership_of(bo, organization)
    events.clear()
    services.remove_member(membership=membership)
    assert bo.username not in roles(organization)
    assert names(events) == ["member.removed"]
    assert (events[0].target.pk, events[0].organization_id) == (membership.pk, organization.pk)
    assert events[0].data == {"user_id": str(bo.pk), "role": "member"}


def test_a_former_member_cannot_be_changed_or_removed() -> None:
    bo = make_user()
    organization = make_organization(member=bo)
    membership = membership_of(bo, organization)
    membership.__class__._default_manager.filter(pk=membership.pk).delete()
    with pytest.raises(Gone, match="This membership no longer exists"):
        services.change_role(membership=membership, role="admin")
    with pytest.raises(Gone):
        services.remove_member(membership=membership)
    services.delete_organization(organization=organization)
    with pytest.raises(Gone, match="This organization"):
        services.add_member(organization=organization, user=bo, role="member")


# the last owner


def test_the_last_owner_cannot_be_demoted_or_removed(events: list[Event]) -> None:
    ada = make_user()
    organization = make_organization("Acme", owner=ada, admin=make_user())
    membership = membership_of(ada, organization)
    events.clear()
    with pytest.raises(LastOwner, match="Acme") as caught:
        services.change_role(membership=membership, role="admin")
    assert caught.value.organizations == [organization]
    with pytest.raises(LastOwner):
        services.remove_member(membership=membership)
    assert roles(organization)[ada.username] == "owner"
    assert not events


def test_an_inactive_owner_does_not_count() -> None:
    ada = make_user()
    organization = make_organization(owner=ada)
    services.add_member(organization=organization, user=make_user(is_active=False), role="owner")
    with pytest.raises(LastOwner):
        services.remove_member(membership=membership_of(ada, organization))


def test_a_stale_membership_is_read_again() -> None:
    ada, bo = make_user(), make_user()
    organization = make_organization(owner=ada, member=bo)
    stale = membership_of(bo, organization)
    services.change_role(membership=membership_of(bo, organization), role="owner")
    services.remove_member(membership=membership_of(ada, organization))
    with pytest.raises(LastOwner):
        services.remove_member(membership=stale)


@pytest.mark.parametrize("way", ["demoted", "removed"])
def test_the_contact_moves_to_another_owner(way: str) -> None:
    ada, bo, cy = make_user(), make_user(), make_user()
    organization = make_organization(owner=ada, admin=make_user())
    for user in (make_user(is_active=False), bo, cy):
        services.add_member(organization=organization, user=user, role="owner")
    membership = membership_of(ada, organization)
    if way == "demoted":
        services.change_role(membership=membership, role="member")
    else:
        services.remove_member(membership=membership)
    organization.refresh_from_db()
    assert organization.owner == bo


def test_the_contact_stays_when_another_owner_leaves() -> None:
    ada, bo = make_user(), make_user()
    organization = make_organization(owner=ada)
    services.remove_member(membership=services.add_member(organization=organization, user=bo, role="owner"))
    organization.refresh_from_db()
    assert organization.owner == ada


@pytest.mark.parametrize("way", ["demoted", "removed"])
@pytest.mark.parametrize("by", ["hook", "signal", "model"])
def test_owners_that_a_project_changes_are_read_again(
    way: str, by: str, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, bo = make_user(), make_user()
    organization = make_organization(owner=ada)
    services.add_member(organization=organization, user=bo, role="owner")
    membership = membership_of(ada, organization)
    other = Membership._base_manager.filter(pk=membership_of(bo, organization).pk)

    def demote_other(**kwargs: Any) -> None:
        other.update(**membership_lookups(role="member"))

    if by == "hook":
        settings.TENANCY_BEFORE_REMOVE_MEMBER = settings.TENANCY_BEFORE_CHANGE_ROLE = demote_other
    elif by == "model":  # of the project, whose methods change other rows, as a trigger or a cascade would
        monkeypatch.setattr(Membership, "__module__", "own.models")
        for method in (Membership.save, Membership.delete):

            def own(self: Any, *, method: Any = method, **options: Any) -> None:
                demote_other()
                method(self, **options)

            monkeypatch.setattr(Membership, method.__name__, own)
    else:
        post_delete.connect(demote_other, sender=Membership)
        post_save.connect(demote_other, sender=Membership)
    change = partial(services.change_role, role="member") if way == "demoted" else services.remove_member
    try:
        with pytest.raises(LastOwner):
            change(membership=membership)
    finally:
        post_delete.disconnect(demote_other, sender=Membership)
        post_save.disconnect(demote_other, sender=Membership)


def test_changes_of_plain_members_do_not_read_the_owners() -> None:
    ada, bo, cy = make_user(), make_user(), make_user()
    organization = make_organization(owner=ada, member=bo)
    leaving = services.add_member(organization=organization, user=cy, role="member")
    with CaptureQueriesContext(connection) as queries:
        services.change_role(membership=membership_of(bo, organization), role="admin")
        services.remove_member(membership=leaving)
        services.leave_organization(organization=organization, user=bo)
    # No index finds the owners of a large organization.
    assert not [query["sql"] for query in queries if "'owner'" in query["sql"]]


# rank


@pytest.mark.parametrize(
    ("actor", "target", "role", "allowed"),
    [
        ("owner", "owner", "member", True),
        ("owner", "member", "owner", True),
        ("admin", "admin", "member", True),
        ("admin", "member", "admin", True),
        ("admin", "member", "owner", False),
        ("admin", "owner", "member", False),
        ("member", "member", "billing", False),
        ("billing", "member", "billing", False),
        (None, "billing", "member", False),
    ],
)
def test_actors_cannot_exceed_their_own_role(actor: str | None, target: str, role: str, allowed: bool) -> None:
    organization, person, other = make_organization(), make_user(), make_user()
    if actor:
        services.add_member(organization=organization, user=person, role=actor)
    membership = services.add_member(organization=organization, user=other, role=target)
    before = roles(organization)

    def attempts() -> Iterator[Any]:
        yield lambda: services.change_role(membership=membership, role=role, actor=person)
        yield lambda: services.add_member(organization=organization, user=make_user(), role=role, actor=person)

    if allowed:
        for attempt in attempts():
            attempt()
        services.remove_member(membership=membership, actor=person)
        assert other.username not in roles(organization)
        return
    change, add = attempts()
    with pytest.raises(RoleNotAllowed):
        change()
    if (actor, role) != ("admin", "member"):
        with pytest.raises(RoleNotAllowed):
            add()
    if (actor, target) != ("admin", "member"):
        with pytest.raises(RoleNotAllowed):
            services.remove_member(membership=membership, actor=person)
    assert {user: roles(organization)[user] for user in before} == before


def test_an_actor_who_was_demoted_meanwhile_is_refused() -> None:
    admin, bo = make_user(), make_user()
    organization = make_organization(admin=admin, member=bo)
    services.change_role(membership=membership_of(admin, organization), role="member")
    with pytest.raises(RoleNotAllowed, match=r"'members.remove'\. Your role is member"):
        services.remove_member(membership=membership_of(bo, organization), actor=admin)


# delete an organization


def test_deleting_an_organization_deletes_its_rows(events: list[Event]) -> None:
    organization, other = make_organization("Acme"), make_organization("Globex")
    make_document(organization, "ours")
    make_document(other, "theirs")
    key = organization.pk
    events.clear()
    services.delete_organization(organization=organization)
    assert [event.name for event in events] == ["organization.deleted"]
    assert (events[0].organization_id, events[0].target.pk, events[0].target.name) == (key, key, "Acme")
    assert list(Organization._default_manager.all()) == [other]
    assert Membership._default_manager.count() == 1
    with unscoped(reason="test"):
        assert [document.title for document in Document.objects.all()] == ["theirs"]


def test_deleting_an_organization_requires_the_permission() -> None:
    admin = make_user()
    organization = make_organization(admin=admin)
    with pytest.raises(RoleNotAllowed):
        services.delete_organization(organization=organization, actor=admin)
    services.delete_organization(organization=organization, actor=organization.owner)
    with pytest.raises(Gone):
        services.delete_organization(organization=organization)


# delete a user


def test_a_user_who_is_no_sole_owner_is_deleted(events: list[Event]) -> None:
    ada, bo = make_user(), make_user()
    mine, shared = make_organization("Acme", member=ada), make_organization("Globex", owner=ada)
    services.add_member(organization=shared, user=bo, role="owner")
    events.clear()
    services.delete_user(ada)
    assert not get_user_model()._default_manager.filter(username=ada.username).exists()
    assert names(events) == ["member.removed", "member.removed"]
    assert {event.organization_id for event in events} == {mine.pk, shared.pk}
    shared.refresh_from_db()
    assert shared.owner == bo


def test_deleting_a_last_owner_names_the_organizations(events: list[Event]) -> None:
    ada = make_user()
    acme, globex = make_organization("Acme", owner=ada, admin=make_user()), make_organization("Globex", owner=ada)
    make_organization("Initech", member=ada)
    events.clear()
    with pytest.raises(LastOwner, match="Acme, Globex") as caught:
        services.delete_user(ada)
    assert caught.value.organizations == [acme, globex]
    assert Membership._default_manager.filter(user=ada).count() == 3
    assert not events


def test_deletion_can_transfer_to_the_highest_longest_standing_member(events: list[Event]) -> None:
    ada, first, second = make_user(), make_user(), make_user()
    organization = make_organization(owner=ada, member=make_user())
    for user, role in ((make_user(is_active=False), "admin"), (first, "admin"), (second, "admin")):
        services.add_member(organization=organization, user=user, role=role)
    events.clear()
    services.delete_user(ada, on_owned="transfer")
    organization.refresh_from_db()
    assert organization.owner == first
    assert roles(organization)[first.username] == "owner"
    assert roles(organization)[second.username] == "admin"
    assert names(events) == ["member.role_changed", "member.removed"]


def test_a_transfer_without_an_heir_is_refused_and_writes_nothing() -> None:
    ada = make_user()
    acme, globex = make_organization("Acme", owner=ada, member=make_user()), make_organization("Globex", owner=ada)
    services.add_member(organization=globex, user=make_user(is_active=False), role="admin")
    before = roles(acme)
    with pytest.raises(LastOwner, match="in: Globex") as caught:
        services.delete_user(ada, on_owned="transfer")
    assert caught.value.organizations == [globex]
    assert roles(acme) == before


def test_deletion_can_delete_the_organizations_as_well(events: list[Event]) -> None:
    ada, bo = make_user(), make_user()
    acme, shared = make_organization("Acme", owner=ada, member=bo), make_organization("Globex", owner=bo)
    services.add_member(organization=shared, user=ada, role="owner")
    make_document(acme, "ours")
    events.clear()
    services.delete_user(ada, on_owned="delete")
    assert list(Organization._default_manager.all()) == [shared]
    assert roles(shared) == {bo.username: "owner"}
    assert names(events) == ["organization.deleted", "member.removed"]


@pytest.mark.django_db(transaction=True)
def test_deletion_is_repeated_if_the_commit_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    ada = make_user()
    make_organization(member=ada)
    commit, failures = connection.commit, [OperationalError(1213, "Deadlock found")]

    def fail_once() -> None:
        if failures:
            raise failures.pop()
        commit()

    monkeypatch.setattr(connection, "commit", fail_once)
    services.delete_user(ada)
    assert (failures, ada.pk) == ([], None)
    assert not get_user_model()._default_manager.filter(username=ada.username).exists()


def test_on_owned_rejects_other_values() -> None:
    with pytest.raises(ValueError, match="'refuse', 'transfer' or 'delete'"):
        services.delete_user(make_user(), on_owned="orphan")  # type: ignore[arg-type]  # that is the test


def test_every_exception_has_a_unique_code() -> None:
    classes = [TenancyError, *TenancyError.__subclasses__(), *Conflict.__subclasses__()]
    # Conflict is never raised itself.
    codes = [error.code for error in classes if error is not Conflict]
    assert len(set(codes)) == len(codes) >= 8
