from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from django.test import override_settings
from rest_framework.exceptions import ErrorDetail
from rest_framework.test import APIClient

from dovetail_core.models import uuid7
from dovetail_tenancy import get_membership_model, get_organization_model, services
from dovetail_tenancy.conf import DEFAULT_ROLES
from tests.tenancy.factories import client_of, make_organization, make_user, membership_of
from tests.tenancy.lanes import NEEDS_MORE

pytestmark = pytest.mark.django_db

Membership = get_membership_model()
Organization = get_organization_model()


def members(organization: Any, membership: Any = None) -> str:
    path = f"/api/organizations/{organization.pk}/members"
    return f"{path}/{membership.pk}" if membership else path


def test_members_are_listed_newest_first() -> None:
    ada, bo = make_user(first_name="Ada"), make_user(email="bo@example.com", last_name="Burke", is_active=False)
    organization = make_organization(owner=ada, billing=bo)
    make_organization(member=bo)
    answer = client_of(ada).get(members(organization))
    assert answer.status_code == 200
    assert answer.json()["meta"] == {"next": None, "prev": None, "total": None}
    newest, oldest = answer.json()["data"]
    membership = membership_of(bo, organization)
    assert newest == {
        "id": str(membership.pk),
        "user": {"id": bo.pk, "email": "bo@example.com", "first_name": "", "last_name": "Burke"},
        "role": "billing",
        "created_at": membership.created_at.isoformat().replace("+00:00", "Z"),
    }
    assert (oldest["user"]["first_name"], oldest["role"]) == ("Ada", "owner")


@pytest.mark.parametrize("count", [1, 10, 200])
def test_listing_members_takes_two_queries(count: int, django_assert_num_queries: Any) -> None:
    ada = make_user()
    organization = make_organization(owner=ada)
    for _ in range(count - 1):
        services.add_member(organization=organization, user=make_user(), role="member")
    with django_assert_num_queries(2):  # the organization with my role, and the page
        page = client_of(ada).get(members(organization), {"limit": 200}).json()
    assert len(page["data"]) == count


def test_an_owner_changes_a_role_and_removes_a_member() -> None:
    ada, bo = make_user(), make_user()
    organization = make_organization(owner=ada, member=bo)
    path, client = members(organization, membership_of(bo, organization)), client_of(ada)
    answer = client.patch(path, {"role": "admin", "user": {"id": ada.pk}, "id": 7}, format="json")
    assert (answer.status_code, answer.json()["role"], answer.json()["user"]["id"]) == (200, "admin", bo.pk)
    assert membership_of(bo, organization).role == "admin"
    assert client.patch(path, {}, format="json").json()["role"] == "admin"
    assert client.delete(path).status_code == 204
    assert client.delete(path).status_code == 404
    assert Membership._default_manager.get(organization=organization).user == ada


@pytest.mark.parametrize(
    "role", ["", None, "boss", "Owner", ["owner"], {"role": "owner"}, 7, 1.5, True, "a\0b", "x" * 60]
)
def test_an_invalid_role_is_refused_by_field(role: Any) -> None:
    ada, bo = make_user(), make_user()
    organization = make_organization(owner=ada, member=bo)
    path = members(organization, membership_of(bo, organization))
    answer = client_of(ada).patch(path, {"role": role}, format="json")
    assert (answer.status_code, list(answer.json())) == (400, ["role"])
    assert membership_of(bo, organization).role == "member"


@override_settings(TENANCY_ROLES={**DEFAULT_ROLES, "captain": ["members.view"]})
def test_a_role_of_the_project_is_granted() -> None:
    ada, bo = make_user(), make_user()
    organization = make_organization(owner=ada, member=bo)
    path = members(organization, membership_of(bo, organization))
    assert client_of(ada).patch(path, {"role": "captain"}, format="json").json()["role"] == "captain"


def test_a_membership_of_another_organization_is_not_found() -> None:
    ada, bo = make_user(), make_user()
    mine, other = make_organization(owner=ada), make_organization(owner=ada, member=bo)
    path = members(mine, membership_of(bo, other))
    assert client_of(ada).delete(path).status_code == 404
    assert client_of(ada).patch(path, {"role": "admin"}, format="json").status_code == 404
    assert membership_of(bo, other).role == "member"


@pytest.mark.parametrize("key", ["0", "9" * 400, "a%00b", "%ff", "null", "00000000-0000-0000-0000-000000000000"])
def test_an_invalid_id_is_not_found(key: str) -> None:
    ada = make_user()
    path = f"{members(make_organization(owner=ada))}/{key}"
    assert client_of(ada).delete(path).status_code == 404
    assert client_of(ada).patch(path, {"role": "admin"}, format="json").status_code == 404


def code_of(answer: Any) -> str | None:
    detail = answer.data.get("detail") if answer.data else None
    return detail.code if isinstance(detail, ErrorDetail) else None


def test_the_last_owner_cannot_be_demoted_or_removed() -> None:
    ada = make_user()
    organization = make_organization("Acme", owner=ada)
    path, client = members(organization, membership_of(ada, organization)), client_of(ada)
    for answer in (client.patch(path, {"role": "member"}, format="json"), client.delete(path)):
        assert (answer.status_code, code_of(answer)) == (409, "last_owner")
        assert "Acme" in answer.json()["detail"]
    assert membership_of(ada, organization).role == "owner"


def test_actors_cannot_exceed_their_own_role() -> None:
    admin, bo = make_user(), make_user()
    organization = make_organization(admin=admin, member=bo)
    owner, member = membership_of(organization.owner, organization), membership_of(bo, organization)
    client = client_of(admin)
    for answer in (
        client.patch(members(organization, owner), {"role": "member"}, format="json"),
        client.delete(members(organization, owner)),
        client.patch(members(organization, member), {"role": "owner"}, format="json"),
    ):
        assert (answer.status_code, code_of(answer)) == (403, "role_not_allowed")
    assert (membership_of(bo, organization).role, membership_of(organization.owner, organization).role) == (
        "member", "owner",
    )  # fmt: skip


# One row for each endpoint, one column for each person.
PEOPLE = ("owner", "admin", "member", "billing", "outsider", "inactive", "anonymous")
TABLE = {
    ("get", "/api/organizations"): (200, 200, 200, 200, 200, 200, 403),
    ("post", "/api/organizations"): (*[405 if NEEDS_MORE else 201] * 5, 403, 403),
    ("get", "/api/organizations/{organization}"): (200, 200, 200, 200, 404, 404, 403),
    ("patch", "/api/organizations/{organization}"): (200, 200, 403, 403, 404, 404, 403),
    ("delete", "/api/organizations/{organization}"): (204, 403, 403, 403, 404, 404, 403),
    ("get", "/api/organizations/{organization}/members"): (200, 200, 200, 200, 404, 404, 403),
    ("patch", "/api/organizations/{organization}/members/{member}"): (200, 200, 403, 403, 404, 404, 403),
    ("delete", "/api/organizations/{organization}/members/{member}"): (204, 204, 403, 403, 404, 404, 403),
    ("patch", "/api/organizations/{organization}/members/{absent}"): (404, 404, 403, 403, 404, 404, 403),
    ("get", "/api/organizations/{absent}/members"): (404, 404, 404, 404, 404, 404, 403),
    ("delete", "/api/organizations/{absent}"): (404, 404, 404, 404, 404, 404, 403),
}
BODIES = {"post": {"name": "Another"}, "patch": {"name": "Renamed", "role": "member"}}


@pytest.mark.parametrize("person", PEOPLE)
@pytest.mark.parametrize(("method", "path"), TABLE)
def test_each_role_gets_the_expected_status(method: str, path: str, person: str) -> None:
    people = {name: make_user() for name in PEOPLE if name != "anonymous"}
    organization = make_organization(**{role: people[role] for role in ("owner", "admin", "member", "billing")})
    services.add_member(organization=organization, user=people["inactive"], role="owner")
    people["inactive"].is_active = False
    target = services.add_member(organization=organization, user=make_user(), role="billing")
    client = APIClient() if person == "anonymous" else client_of(people[person])

    where = path.format(organization=organization.pk, member=target.pk, absent=uuid7())
    answer = getattr(client, method)(where, BODIES.get(method), format="json")

    expected = TABLE[method, path][PEOPLE.index(person)]
    assert answer.status_code == expected
    if expected == 403:
        assert code_of(answer) == ("not_authenticated" if person == "anonymous" else "permission_denied")
    if expected == 404:
        assert code_of(answer) == "not_found"
    if method != "get" and expected >= 400:
        target.refresh_from_db()
        organization.refresh_from_db()
        assert (target.role, organization.name, Organization._default_manager.count()) == ("billing", "Acme", 1)


@override_settings(TENANCY_ROLES={**DEFAULT_ROLES, "member": []})
def test_a_role_without_view_permission_gets_403() -> None:
    bo = make_user()
    organization = make_organization(member=bo)
    assert client_of(bo).get(members(organization)).status_code == 403
    assert client_of(bo).get(f"/api/organizations/{organization.pk}").status_code == 403


def test_ids_are_time_ordered_uuids() -> None:
    organization = make_organization()
    assert {
        UUID(str(key)).version for key in (organization.pk, membership_of(organization.owner, organization).pk)
    } == {7}
