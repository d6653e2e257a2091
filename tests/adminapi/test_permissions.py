from __future__ import annotations

import copy
import time
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from dovetail_adminapi.catalogue.permissions import create_permissions, declared_permissions, known_permissions
from dovetail_adminapi.models import AdminPermission
from dovetail_adminapi.permissions.sources import Grants
from dovetail_core.events import Event
from tests.adminapi.credentials import Key, Machine
from tests.adminapi.world import ADMIN, bearer, client, person

pytestmark = pytest.mark.django_db
ISSUER = "https://idp.example.com"
ROLES: dict[str, Any] = {
    "ADMINAPI_ROLES": {"ops": ["auth.view_group", "auth.change_group"], "none": []},
    "ADMINAPI_ROLE_CLAIM": "realm_access.roles",
    "ADMINAPI_ROLE_ISSUERS": [ISSUER],
}
GROUPS = f"{ADMIN}groups"


@pytest.mark.parametrize("roles", [["ops"], ["other", "ops"], "ops"])
@override_settings(**ROLES)
def test_role_of_listed_issuer_has_its_permissions(roles: Any, events: list[Event]) -> None:
    api = bearer(person(), realm_access={"roles": roles})
    assert api.get(GROUPS).status_code == 200
    assert api.post(GROUPS, {"name": "new"}).status_code == 403
    assert [event.data["via"] for event in events] == ["role:ops", None]


@pytest.mark.parametrize("issuer", ["https://customers.example.com", "", None, 7, ["https://idp.example.com"]])
@override_settings(**ROLES)
def test_role_of_other_issuers_counts_for_nothing(issuer: Any) -> None:
    """The attack: a customer's token has a field of the same name."""
    assert bearer(person(), iss=issuer, realm_access={"roles": ["ops"]}).get(GROUPS).status_code == 403


@pytest.mark.parametrize(
    "claims", [{}, {"realm_access": "ops"}, {"realm_access": {"roles": {"ops": 1}}}, {"realm_access": {"roles": [7]}},
               {"roles": ["ops"]}, {"realm_access": {"roles": ["none"]}}, {"realm_access": {"roles": "o"}}],
)  # fmt: skip
@override_settings(**ROLES)
def test_malformed_claims_are_no_roles(claims: dict[str, Any]) -> None:
    assert bearer(person(), **claims).get(GROUPS).status_code == 403


@override_settings(**{**ROLES, "ADMINAPI_ROLE_CLAIM": "https://example.com/roles"})
def test_claim_may_be_named_by_a_url() -> None:
    assert bearer(person(), **{"https://example.com/roles": ["ops"]}).get(GROUPS).status_code == 200


@override_settings(**{**ROLES, "ADMINAPI_ROLE_CLAIM": None})
def test_no_token_claims_roles_without_the_setting() -> None:
    assert bearer(person(), realm_access={"roles": ["ops"]}).get(GROUPS).status_code == 403


@pytest.mark.parametrize(("age", "status"), [(0, 200), (800, 200), (1000, 401), (-3600, 401), (None, 401)])
@override_settings(**ROLES)
def test_role_lives_as_long_as_a_short_token(age: int | None, status: int) -> None:
    issued = None if age is None else int(time.time()) - age
    response = bearer(person(), iat=issued, realm_access={"roles": ["ops"]}).get(GROUPS)
    assert response.status_code == status
    if status == 401:
        assert response.json()["code"] == "token_too_old"


@override_settings(**ROLES)
def test_views_see_roles_as_permissions_of_the_user() -> None:
    group = Group.objects.create(name="old")
    user = person()
    api = bearer(user, realm_access={"roles": ["ops"]})
    assert api.post(f"{GROUPS}/{group.pk}/rename", {"name": "new"}).json() == {"may_add": False}
    with override_settings(ADMINAPI_ROLES={"ops": ["auth.change_group", "auth.add_group"]}):
        assert api.post(f"{GROUPS}/{group.pk}/rename", {"name": "newer"}).json() == {"may_add": True}
    # The user object of the test client is used again, and keeps nothing.
    assert not user.has_perm("auth.change_group")
    assert bearer(user).get(GROUPS).status_code == 403


def test_superusers_may_call_what_is_declared(events: list[Event]) -> None:
    root = person("root", is_superuser=True)
    assert client(root).get(GROUPS).status_code == 200
    assert events[-1].data["via"] == "superuser"


@override_settings(ADMINAPI_SUPERUSERS=False)
def test_superusers_can_be_ordinary_users(events: list[Event]) -> None:
    root = person("root", "auth.change_group", is_superuser=True)
    group = Group.objects.create(name="old")
    api = client(root)
    assert api.get(GROUPS).status_code == 403
    response = api.post(f"{GROUPS}/{group.pk}/rename", {"name": "new"})
    assert response.json() == {"may_add": False}
    assert events[-1].data["via"] == "permission"
    assert User.objects.get(pk=root.pk).is_superuser


@pytest.mark.parametrize(
    ("setting", "header", "status"),
    [
        (False, "Key acme admin:shop", 403),
        (True, "Key acme admin:shop", 200),
        (True, "Key acme admin:audit", 403),
        (True, "Key acme", 403),
        (["acme"], "Key acme admin:shop", 200),
        (["acme"], "Key other admin:shop", 403),
        (["acme"], "Key - admin:shop", 403),
    ],
)
def test_api_keys_need_the_setting_and_the_scope(setting: Any, header: str, status: int) -> None:
    person("owner", is_superuser=True)
    with override_settings(ADMINAPI_MACHINES=setting):
        response = client().get(GROUPS, headers={"Authorization": header})
    assert response.status_code == status
    if status == 403:
        assert response.json()["code"] == "machines_not_admitted"


@override_settings(ADMINAPI_MACHINES=True)
def test_api_keys_cannot_call_what_needs_a_recent_sign_in() -> None:
    group = Group.objects.create(name="old")
    response = client().delete(f"{GROUPS}/{group.pk}", headers={"Authorization": "Key acme admin:shop"})
    assert (response.status_code, response.json()["code"]) == (401, "reauthentication_required")


def test_scope_that_is_a_text_is_no_list() -> None:
    key = Key("acme")
    key.scopes = "admin:shopping"  # type: ignore[assignment]  # the mistake that the test is about
    with override_settings(ADMINAPI_MACHINES=True):
        assert Grants(Machine("k"), key, "shop").via("auth.view_group") is None


def test_principal_of_a_machine_can_be_copied() -> None:
    with override_settings(ADMINAPI_MACHINES=True):
        principal = Grants(Machine("key-7"), Key("acme", ("admin:shop",)), "shop").principal()
        copied = copy.copy(principal)
    for item in (principal, copied):
        assert (item.pk, str(item), item.is_staff, item.is_authenticated) == ("key-7", "key-7", False, True)
    assert copied.has_perms(["auth.view_group"])
    assert not hasattr(copied, "email")


@pytest.mark.skipif(connection.vendor != "postgresql", reason="Only PostgreSQL has the setting.")
def test_statements_of_a_call_have_a_timeout() -> None:
    api = client(person("viewer", "auth.view_group"))
    with override_settings(ADMINAPI_STATEMENT_TIMEOUT_MS=4321), CaptureQueriesContext(connection) as queries:
        assert api.get(GROUPS).status_code == 200
    assert any("statement_timeout" in query["sql"] and "4321" in query["sql"] for query in queries)


def test_guard_adds_no_query_to_the_permissions_of_the_user() -> None:
    api = client(person("viewer", "auth.view_group"))
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert api.get(GROUPS).status_code == 200
    # The session, the user, the permissions of the user and of groups, the rows.
    assert len(queries) == 5, [query["sql"] for query in queries]


def test_migrate_creates_permissions_once() -> None:
    permissions = Permission.objects.filter(content_type__model=AdminPermission._meta.model_name)
    names = set(permissions.values_list("codename", flat=True))
    assert {"view_user", "deactivate_user", "view_job", "view_metrics", "view_schema"} <= names
    permissions.filter(codename="view_user").delete()
    for _ in range(2):
        create_permissions()
    assert permissions.filter(codename="view_user").count() == 1
    assert set(permissions.values_list("codename", flat=True)) == names


def test_known_permissions_are_those_of_the_database() -> None:
    stored = {f"{app}.{code}" for app, code in Permission.objects.values_list("content_type__app_label", "codename")}
    assert stored <= known_permissions()
    assert {f"dovetail_adminapi.{codename}" for codename in declared_permissions()} <= stored
