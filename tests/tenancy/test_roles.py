from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.test import override_settings

from dovetail_tenancy import get_membership_model, has_permission
from dovetail_tenancy.conf import DEFAULT_ROLES, validate_roles
from dovetail_tenancy.organizations.roles import rank, role_of, role_permits
from tests.tenancy.factories import make_organization, make_user

CUSTOM = {"owner": [], "captain": ["ships.steer", "members.view"], "sailor": []}


@pytest.mark.django_db
def test_checking_a_permission_takes_one_query(django_assert_num_queries: Any) -> None:
    admin = make_user()
    organization = make_organization(admin=admin)
    with django_assert_num_queries(1):
        assert has_permission(admin, organization, "members.invite")
    with django_assert_num_queries(1):
        assert not has_permission(admin, organization.pk, "organization.delete")


@pytest.mark.django_db
def test_a_demotion_takes_effect_immediately() -> None:
    admin = make_user()
    organization = make_organization(admin=admin)
    assert role_of(admin, organization) == "admin"
    get_membership_model()._default_manager.filter(user=admin).update(role="member")
    assert role_of(admin, organization) == "member"
    assert not has_permission(admin, organization, "members.invite")


@pytest.mark.django_db
def test_a_role_applies_only_to_its_organization() -> None:
    ada = make_user()
    make_organization(owner=ada)
    assert not has_permission(ada, make_organization(), "organization.view")


@pytest.mark.django_db
@pytest.mark.parametrize("permission", ["organization.delete", "a_project.names_its_own"])
def test_an_owner_has_every_permission(permission: str) -> None:
    ada = make_user()
    assert has_permission(ada, make_organization(owner=ada), permission)


@pytest.mark.django_db
def test_an_inactive_user_has_no_permission(django_assert_num_queries: Any) -> None:
    ada = make_user()
    organization = make_organization(owner=ada)
    ada.is_active = False
    machine = SimpleNamespace(pk=ada.pk, is_active=True, is_authenticated=True)
    with django_assert_num_queries(0):
        for nobody in (ada, AnonymousUser(), None, machine):
            assert not has_permission(nobody, organization, "organization.view")


def test_roles_rank_in_the_order_of_their_declaration() -> None:
    assert sorted(["billing", "gone", "owner", "member", "admin"], key=rank) == [
        "owner", "admin", "member", "billing", "gone",
    ]  # fmt: skip


@override_settings(TENANCY_ROLES=CUSTOM)
def test_a_project_can_declare_its_own_roles() -> None:
    assert role_permits("captain", "ships.steer")
    assert not role_permits("sailor", "ships.steer")
    assert not role_permits("admin", "members.view")
    assert not role_permits(None, "members.view")
    assert rank("captain") < rank("sailor")


@pytest.mark.parametrize("roles", [DEFAULT_ROLES, CUSTOM, {"owner": ()}, {"owner": frozenset({"members.view"})}])
def test_a_valid_declaration_passes(roles: Any) -> None:
    validate_roles(roles)


@pytest.mark.parametrize(
    ("roles", "complaint"),
    [
        (None, "must be a dict"),
        ([], "must be a dict"),
        ({}, "beginning with 'owner'"),
        ({"admin": []}, "beginning with 'owner'"),
        ({"admin": [], "owner": []}, "beginning with 'owner'"),
        ({"owner": [], "": []}, "1 to 50 characters"),
        ({"owner": [], "x" * 51: []}, "1 to 50 characters"),
        ({"owner": [], 7: []}, "1 to 50 characters"),
        ({"owner": [], "admin": "members.view"}, "lists of permissions; 'admin'"),
        ({"owner": [], "admin": None}, "lists of permissions; 'admin'"),
        ({"owner": [], "admin": ["members"]}, "like 'members.invite'; 'admin' has 'members'"),
        ({"owner": [], "admin": ["*"]}, "like 'members.invite'"),
        ({"owner": [], "admin": [1]}, "like 'members.invite'"),
    ],
)
def test_an_invalid_declaration_is_explained(roles: Any, complaint: str) -> None:
    with pytest.raises(ValueError, match=r"^must be a dict") as caught:
        validate_roles(roles)
    assert complaint in str(caught.value)


@override_settings(TENANCY_ROLES={"admin": []})
def test_an_invalid_declaration_fails_the_system_check() -> None:
    with pytest.raises(SystemCheckError, match=r"dovetail_tenancy\.E001\) TENANCY_ROLES is .* it must be a dict"):
        call_command("check")


@pytest.mark.django_db
def test_roles_do_not_appear_in_migrations() -> None:
    with override_settings(TENANCY_ROLES=CUSTOM):
        call_command("makemigrations", "dovetail_tenancy", check=True, dry_run=True, verbosity=0)
