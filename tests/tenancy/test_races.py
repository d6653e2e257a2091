"""Rules that must hold for concurrent requests, tested with real threads and connections."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
from django.core import mail
from django.db import connection

from dovetail_core.transactions import Vanished
from dovetail_tenancy import get_membership_model, get_organization_model, services
from dovetail_tenancy.conf import OWNER, membership_lookups
from dovetail_tenancy.exceptions import (
    AccountExists,
    AlreadyInvited,
    AlreadyMember,
    Gone,
    InvalidInvitation,
    LastOwner,
    LimitReached,
    RoleNotAllowed,
)
from dovetail_tenancy.models import Invitation
from dovetail_tenancy.organizations.project_models import active_members
from tests.parallel import at_once
from tests.tenancy.factories import make_organization, make_user, membership_of

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(
        connection.vendor != "postgresql", reason="needs row locks: set DATABASE_URL to a PostgreSQL database"
    ),
]

ROUNDS = 20
MIXED_ROUNDS = 50

Membership = get_membership_model()
Organization = get_organization_model()


def kinds(outcomes: Sequence[Any]) -> Counter[str]:
    return Counter(type(outcome).__name__ if isinstance(outcome, Exception) else "done" for outcome in outcomes)


def owned_by(*users: Any) -> Any:
    organization = make_organization(owner=users[0])
    for user in users[1:]:
        services.add_member(organization=organization, user=user, role=OWNER)
    return organization


def demotion(user: Any, organization: Any, actor: Any = None) -> Callable[[], Any]:
    membership = membership_of(user, organization)
    return lambda: services.change_role(membership=membership, role="member", actor=actor)


def removal(user: Any, organization: Any, actor: Any = None) -> Callable[[], Any]:
    membership = membership_of(user, organization)
    return lambda: services.remove_member(membership=membership, actor=actor)


def deletion(user: Any, organization: Any, actor: Any = None) -> Callable[[], Any]:
    return lambda: services.delete_user(user)


def leaving(user: Any, organization: Any, actor: Any = None) -> Callable[[], Any]:
    return lambda: services.leave_organization(organization=organization, user=user)


def deactivation(user: Any, organization: Any, actor: Any = None) -> Callable[[], Any]:
    user.is_active = False
    return user.save


def plain_deletion(user: Any, organization: Any, actor: Any = None) -> Callable[[], Any]:
    return user.delete


def joining(user: Any, organization: Any, role: str = "member") -> Callable[[], Any]:
    return lambda: services.add_member(organization=organization, user=user, role=role)


def founding(name: str) -> Callable[[], Any]:
    owner = make_user()
    return lambda: services.create_organization(name=name, owner=owner)


def closing(organization: Any) -> Callable[[], Any]:
    return lambda: services.delete_organization(organization=organization)


@pytest.mark.parametrize(
    "ways",
    [
        (demotion, demotion),
        (removal, removal),
        (deletion, deletion),
        (leaving, leaving),
        (deactivation, deactivation),
        (plain_deletion, plain_deletion),
        (demotion, removal, leaving, deactivation, plain_deletion, deletion),
    ],
    ids=lambda ways: "+".join(way.__name__ for way in ways),
)
def test_concurrent_changes_keep_an_owner(ways: Sequence[Callable[..., Any]]) -> None:
    for _ in range(MIXED_ROUNDS if len(ways) > 2 else ROUNDS // 2):
        owners = [make_user() for _ in ways]
        organization = owned_by(*owners)
        outcomes = at_once(*(way(owner, organization) for way, owner in zip(ways, owners, strict=True)))
        assert kinds(outcomes) == {"done": len(ways) - 1, LastOwner.__name__: 1}
        left = active_members(organization.pk, OWNER, using="default").get()
        organization.refresh_from_db()
        assert organization.owner_id == left.user_id


def test_owners_who_demote_each_other_do_not_both_succeed() -> None:
    for _ in range(ROUNDS):
        ada, bo = make_user(), make_user()
        organization = owned_by(ada, bo)
        outcomes = at_once(demotion(ada, organization, actor=bo), removal(bo, organization, actor=ada))
        # The second user is no longer an owner when it gets the lock.
        assert kinds(outcomes) == {"done": 1, RoleNotAllowed.__name__: 1}
        assert active_members(organization.pk, OWNER, using="default").count() == 1


def test_a_user_deactivated_while_becoming_owner_is_not_the_last() -> None:
    for _ in range(ROUNDS):
        ada, bo = make_user(), make_user()
        organization = make_organization(owner=ada, member=bo)
        at_once(
            lambda ada=ada, bo=bo, organization=organization: services.transfer_ownership(
                organization=organization, to=bo, actor=ada
            ),
            deactivation(bo, organization),
        )
        left = active_members(organization.pk, OWNER, using="default").get()
        organization.refresh_from_db()
        assert organization.owner_id == left.user_id


def test_concurrent_additions_create_one_membership() -> None:
    for _ in range(ROUNDS):
        organization, user = make_organization(), make_user()
        outcomes = at_once(*[joining(user, organization)] * 4)
        assert kinds(outcomes) == {"done": 1, AlreadyMember.__name__: 3}
        assert Membership._default_manager.filter(organization=organization, user=user).count() == 1


@pytest.mark.parametrize("way", ["addition", "acceptance"])
def test_membership_written_outside_the_services_is_refused(way: str, settings: Any) -> None:
    organization, user = make_organization(), make_user()
    services.invite(organization=organization, email=user.email, role="member")
    token = mail.outbox[-1].body.partition("#token=")[2].split()[0]

    def write_elsewhere(**kwargs: Any) -> None:
        fields = membership_lookups(organization=organization, user=user, role="member")
        at_once(Membership(**fields).save)

    settings.TENANCY_BEFORE_ADD_MEMBER = write_elsewhere
    accepting = partial(services.accept_invitation, token=token, user=user)
    with pytest.raises(AlreadyMember):
        (joining(user, organization) if way == "addition" else accepting)()


def test_concurrent_organizations_of_one_name_get_different_slugs() -> None:
    for number in range(ROUNDS):
        outcomes = at_once(*(founding(f"Acme {number}") for _ in range(4)))
        assert kinds(outcomes) == {"done": 4}
        slugs = {organization.slug for organization in outcomes}
        assert len(slugs) == 4
        assert f"acme-{number}" in slugs


def test_adding_a_member_during_deletion_succeeds_or_raises_gone() -> None:
    for _ in range(ROUNDS):
        organization, user = make_organization(), make_user()
        deleted, added = at_once(closing(organization), joining(user, organization))
        assert deleted is None
        assert isinstance(added, Gone | Membership)
        assert not Organization._default_manager.filter(pk=organization.pk).exists()
        assert not Membership._default_manager.filter(user=user).exists()


def test_a_user_who_joins_while_being_deleted_leaves_no_rows() -> None:
    for _ in range(ROUNDS):
        organization, user = make_organization(), make_user()
        owner, key = organization.owner, user.pk
        # Two instances, because deletion removes the key from one.
        deleted, joined = at_once(deletion(copy.copy(user), organization), joining(user, organization, OWNER))
        assert deleted is None
        # If the addition is late, the foreign key rejects it, twice.
        assert isinstance(joined, Membership | Vanished)
        assert not Membership._default_manager.filter(user=key).exists()
        organization.refresh_from_db()
        assert organization.owner == owner


def test_concurrent_acceptances_create_one_member() -> None:
    for _ in range(MIXED_ROUNDS):
        organization, user = make_organization(), make_user()
        services.invite(organization=organization, email=user.email, role="member")
        token = mail.outbox[-1].body.partition("#token=")[2].split()[0]
        outcomes = at_once(*[lambda token=token, user=user: services.accept_invitation(token=token, user=user)] * 8)
        assert kinds(outcomes) == {"done": 1, InvalidInvitation.__name__: 7}
        assert Membership._default_manager.filter(organization=organization, user=user).count() == 1


def test_concurrent_invitations_of_an_address_create_one() -> None:
    for _ in range(ROUNDS):
        organization = make_organization()
        inviting = partial(services.invite, organization=organization, email="bo@example.com", role="member")
        assert kinds(at_once(*[inviting] * 4)) == {"done": 1, AlreadyInvited.__name__: 3}
        assert Invitation._default_manager.filter(organization=organization).count() == 1


def test_concurrent_sign_ups_create_one_account(settings: Any) -> None:
    settings.TENANCY_TOKEN_ISSUER = lambda user, **kwargs: {}
    for number in range(ROUNDS):
        services.invite(organization=make_organization(), email=f"new{number}@example.com", role="member")
        token = mail.outbox[-1].body.partition("#token=")[2].split()[0]
        following = partial(services.sign_up_by_invitation, token=token, request=None)
        outcomes = kinds(at_once(*[following] * 4))
        # The late request learns that the link was used or that the account exists.
        assert outcomes["done"] == 1
        assert outcomes[InvalidInvitation.__name__] + outcomes[AccountExists.__name__] == 3


def test_limits_hold_for_concurrent_requests(settings: Any) -> None:
    settings.TENANCY_MAX_MEMBERS, settings.TENANCY_MAX_ORGANIZATIONS = 2, 1
    for _ in range(ROUNDS):
        organization, person = make_organization(), make_user()
        outcomes = at_once(*(joining(make_user(), organization) for _ in range(4)))
        assert kinds(outcomes) == {"done": 1, LimitReached.__name__: 3}
        outcomes = at_once(*[partial(services.create_organization, name="Mine", owner=person)] * 3)
        assert kinds(outcomes) == {"done": 1, LimitReached.__name__: 2}
