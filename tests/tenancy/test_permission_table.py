"""A table of every permission, role and endpoint."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from rest_framework.test import APIClient

from dovetail_tenancy.api import urls
from dovetail_tenancy.conf import DEFAULT_ROLES, PERMISSIONS
from tests.tenancy.factories import client_of, invite, make_organization, make_user, membership_of

pytestmark = pytest.mark.django_db

NEW = {"email": "new@example.com", "role": "member"}
Target = tuple[Any, Any, Any]
# Method, path, body of (organization, a member's membership, an invitation); permission; status if it is granted.
ENDPOINTS: dict[str, tuple[str, str, Callable[[Target], Any], str | None, int]] = {
    "organization-detail get": ("get", "", lambda t: None, "organization.view", 200),
    "organization-detail patch": ("patch", "", lambda t: {"name": "Apex"}, "organization.update", 200),
    "organization-detail delete": ("delete", "", lambda t: None, "organization.delete", 204),
    "organization-transfer-ownership post": (
        "post", "/transfer-ownership", lambda t: {"member": str(t[1].pk)}, "organization.transfer", 200,
    ),
    "organization-leave post": ("post", "/leave", lambda t: None, None, 204),
    "member-list get": ("get", "/members", lambda t: None, "members.view", 200),
    "member-detail patch": ("patch", "/members/{1.pk}", lambda t: {"role": "billing"}, "members.change_role", 200),
    "member-detail delete": ("delete", "/members/{1.pk}", lambda t: None, "members.remove", 204),
    "invitation-list get": ("get", "/invitations", lambda t: None, "members.invite", 200),
    "invitation-list post": ("post", "/invitations", lambda t: NEW, "members.invite", 201),
    "invitation-resend post": ("post", "/invitations/{2.pk}/resend", lambda t: None, "members.invite", 200),
    "invitation-revoke post": ("post", "/invitations/{2.pk}/revoke", lambda t: None, "members.invite", 204),
}  # fmt: skip
# Endpoints that do not depend on a role in one organization.
ELSEWHERE = {"organization-list", "invitation-accept", "invitation-decline"}
CALLERS = [*DEFAULT_ROLES, "outsider", "nobody"]


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("caller", CALLERS)
def test_each_role_has_its_permissions(endpoint: str, caller: str) -> None:
    method, suffix, body, permission, granted = ENDPOINTS[endpoint]
    person, other = make_user(), make_user()
    members = {caller: person} if caller in DEFAULT_ROLES and caller != "owner" else {}
    organization = make_organization(owner=person if caller == "owner" else make_user(), **members)
    if caller == "owner" and endpoint.startswith("organization-leave"):
        _join(organization, make_user(), "owner")
    target = (organization, _join(organization, other, "member"), invite(organization, "bo@example.com")[0])
    client = APIClient() if caller == "nobody" else client_of(person)
    path = f"/api/organizations/{organization.pk}" + suffix.format(*target)
    answer = getattr(client, method)(path, body(target), format="json")
    if caller == "nobody":
        expected = 403  # session authentication has no WWW-Authenticate challenge
    elif caller == "outsider":
        expected = 404
    else:
        expected = granted if permission is None or permission in DEFAULT_ROLES[caller] else 403
    assert answer.status_code == expected, answer.content


def _join(organization: Any, user: Any, role: str) -> Any:
    from dovetail_tenancy import services

    services.add_member(organization=organization, user=user, role=role)
    return membership_of(user, organization)


def test_the_table_has_every_endpoint_and_permission() -> None:
    served = {pattern.name for pattern in urls.urlpatterns} - ELSEWHERE
    assert {key.split()[0] for key in ENDPOINTS} == served
    methods = {
        f"{pattern.name} {method}"
        for pattern in urls.urlpatterns
        if pattern.name not in ELSEWHERE
        for method in pattern.callback.actions
        if method != "head"  # added by Django to every view with get
    }
    assert set(ENDPOINTS) == methods
    asked = {permission for *_, permission, _ in ENDPOINTS.values() if permission}
    # Only a project's own views check this permission.
    assert set(PERMISSIONS) - asked == {"billing.manage"}


@pytest.mark.parametrize("members", [1, 10, 1000])
def test_queries_do_not_grow_with_members(members: int, django_assert_num_queries: Any) -> None:
    from django.contrib.auth import get_user_model

    from dovetail_tenancy import get_membership_model

    ada = make_user()
    organization = make_organization(owner=ada)
    users = get_user_model()._default_manager.bulk_create(
        get_user_model()(username=f"crowd{number}", email=f"crowd{number}@example.com") for number in range(members - 1)
    )
    memberships = get_membership_model()
    memberships._default_manager.bulk_create(
        memberships(organization=organization, user=user, role="member") for user in users
    )
    client, path = client_of(ada), f"/api/organizations/{organization.pk}"
    for queries, url in ((1, "/api/organizations"), (1, path), (2, f"{path}/members"), (2, f"{path}/invitations")):
        with django_assert_num_queries(queries):
            assert client.get(url).status_code == 200
