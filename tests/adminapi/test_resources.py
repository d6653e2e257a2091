from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.core.exceptions import ValidationError as InvalidValue
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import include, path
from rest_framework import serializers
from rest_framework.exceptions import MethodNotAllowed

from dovetail_adminapi.api.wrapping import guarded
from dovetail_adminapi.resources.configuration import problems, resources, secret_fields
from dovetail_core.events import Event
from tests.adminapi.world import ADMIN, client, person

pytestmark = pytest.mark.django_db
VIEW, DEACTIVATE = "dovetail_adminapi.view_user", "dovetail_adminapi.deactivate_user"


def support(*permissions: str, **fields: Any) -> Any:
    return client(person("support", *(permissions or (VIEW, DEACTIVATE, "dovetail_adminapi.activate_user")), **fields))


def test_users_show_only_known_fields() -> None:
    user = person("grace", email="grace@example.com")
    row = support().get(f"{ADMIN}users/{user.pk}").json()
    assert row.keys() == {"id", "username", "email", "is_active", "is_staff", "last_login", "date_joined"}
    assert (row["id"], row["email"]) == (user.pk, "grace@example.com")


def test_users_are_filtered_and_searched() -> None:
    person("grace", email="grace@example.com"), person("alan", is_active=False), person("hopper", email="GRACE2@x.org")
    api = support()

    def listed(query: str) -> set[str]:
        response = api.get(f"{ADMIN}users?{query}")
        assert response.status_code == 200, response.content
        return {row["username"] for row in response.json()["data"]}

    assert listed("") == {"grace", "alan", "hopper", "support"}
    assert listed("filter[is_active]=false") == {"alan"}
    assert listed("search=grace") == {"grace", "hopper"}
    assert listed("search=grace&filter[is_staff]=true") == set()


@pytest.mark.parametrize(
    "query",
    [
        "filter[password]=x",
        "filter[is_active]=1",
        "filter[is_active]=true&filter[is_active]=false",
        "filter[is_active",
        "filter=x",
        "search=a",
        "search=a%00bcd",
        "search=ab&search=cd",
        "limit=5000",
        "limit=x",
        "cursor=x",
    ],
)
def test_invalid_queries_are_400(query: str) -> None:
    assert support().get(f"{ADMIN}users?{query}").status_code == 400


@pytest.mark.parametrize("key", ["4711", "x", "9" * 40, "-1", "1.5", "%00", "1%20", "true", "٣"])
def test_keys_of_no_row_are_404(key: str) -> None:
    assert support().get(f"{ADMIN}users/{key}").status_code == 404


def test_lists_cost_the_same_queries_for_any_number_of_rows() -> None:
    api = support()

    def statements() -> int:
        with CaptureQueriesContext(connection) as queries:
            assert api.get(f"{ADMIN}users?limit=100").status_code == 200
        return len(queries)

    before = statements()
    User.objects.bulk_create(User(username=f"u{number}") for number in range(50))
    assert statements() == before == 5


def test_deactivation_is_idempotent_and_emits_one_event(events: list[Event]) -> None:
    user = person("grace")
    api = support()
    for _ in range(2):
        response = api.post(f"{ADMIN}users/{user.pk}/deactivate", {"reason": "left"})
        assert (response.status_code, response.content) == (204, b"")
    user.refresh_from_db()
    assert not user.is_active
    changed = [event for event in events if event.name == "user.deactivated"]
    assert [(event.target, event.data["reason"]) for event in changed] == [(user, "left")]
    assert [event.name for event in events].count("admin.succeeded") == 2
    assert api.post(f"{ADMIN}users/{user.pk}/activate").status_code == 204
    user.refresh_from_db()
    assert user.is_active


def test_permission_of_an_action_is_its_own() -> None:
    user = person("grace")
    api = support(VIEW)
    assert api.get(f"{ADMIN}users").status_code == 200
    assert api.post(f"{ADMIN}users/{user.pk}/deactivate").status_code == 403
    # Also before it is known whether the user exists.
    assert api.post(f"{ADMIN}users/4711/deactivate").status_code == 403


def test_administrators_cannot_deactivate_themselves() -> None:
    admin = person("admin", DEACTIVATE)
    response = client(admin).post(f"{ADMIN}users/{admin.pk}/deactivate")
    assert (response.status_code, response.json()["code"]) == (409, "own_account")


def test_superusers_are_out_of_reach_of_others() -> None:
    root = person("root", is_superuser=True)
    assert support().post(f"{ADMIN}users/{root.pk}/deactivate").status_code == 403
    other = client(person("root2", is_superuser=True))
    assert other.post(f"{ADMIN}users/{root.pk}/deactivate").status_code == 204


def test_administrators_with_more_permissions_are_out_of_reach_of_others() -> None:
    """The attack: support staff locks out the administrators who could stop it."""
    equal, above = person("equal", DEACTIVATE), person("above", DEACTIVATE, "auth.change_group")
    api = client(person("support", DEACTIVATE))
    response = api.post(f"{ADMIN}users/{above.pk}/deactivate")
    assert (response.status_code, response.json()["code"]) == (403, "user_is_administrator")
    above.refresh_from_db()
    assert above.is_active
    assert api.post(f"{ADMIN}users/{equal.pk}/deactivate").status_code == 204


@pytest.mark.parametrize("body", [{"raeson": "x"}, {"actor": "x"}, {"reason": "x" * 3000}, {"reason": []}, ["x"], "x"])
def test_invalid_bodies_of_actions_are_400(body: Any) -> None:
    user = person("grace")
    assert support().post(f"{ADMIN}users/{user.pk}/deactivate", body, format="json").status_code == 400
    user.refresh_from_db()
    assert user.is_active


class Refused(Exception):
    code = "last_owner"


class Unmapped(Exception):
    pass


def rename(*, group: Group, actor: Any, reason: str) -> dict[str, Any]:
    Group.objects.filter(pk=group.pk).update(name=reason)
    if reason == "refused":
        raise Refused("The group has one owner.")
    if reason == "unmapped":
        raise Unmapped("It does not work.")
    return {"name": reason, "by": actor.username}


class Prefix(serializers.Serializer[Any]):
    prefix = serializers.CharField(max_length=5)


def prepend(group: Group, *, prefix: str, reason: str) -> None:
    if prefix == "none":
        raise InvalidValue("There is no such prefix.")
    if prefix == "many":
        raise MethodNotAllowed("POST")
    if prefix == "break":
        raise RuntimeError("It does not work.")
    Group.objects.filter(pk=group.pk).update(name=f"{prefix}{group.name} ({reason})")


RESOURCES: dict[str, Any] = {
    "groups": {
        "model": "auth.Group",
        "fields": ["pk", "name"],
        "filters": ["pk", "name"],
        "actions": {
            "rename": {
                "call": "tests.adminapi.test_resources.rename",
                "reason": True,
                "refusals": {"tests.adminapi.test_resources.Unmapped": 422},
            },
            "prepend": {"call": prepend, "serializer": Prefix, "permission": "dovetail_adminapi.rename_group"},
        },
    },
    "types": {
        "model": "contenttypes.ContentType",
        "fields": ["id", "app_label"],
        "lists": {"permissions": {"model": "auth.Permission", "lookup": "content_type", "fields": ["id", "codename"]}},
    },
}


@pytest.fixture
def groups(settings: Any) -> Any:
    from types import ModuleType

    from dovetail_adminapi.catalogue.permissions import create_permissions
    from dovetail_adminapi.resources.urls import patterns

    settings.ADMINAPI_RESOURCES = RESOURCES
    create_permissions()
    urls = ModuleType("groups_urls")
    inner = [pattern for resource in resources() for pattern in patterns(resource)]
    urls.urlpatterns = [path("admin/v1/", include((guarded(inner, "resources"), "adminapi")))]  # type: ignore[attr-defined]
    settings.ROOT_URLCONF = urls
    return client(
        person("admin", "dovetail_adminapi.view_group", "dovetail_adminapi.rename_group",
               "dovetail_adminapi.view_contenttype")
    )  # fmt: skip


def test_any_model_can_be_a_resource(groups: Any) -> None:
    group = Group.objects.create(name="old")
    assert groups.get(f"{ADMIN}groups?filter[name]=old").json()["data"] == [{"pk": group.pk, "name": "old"}]
    assert groups.get(f"{ADMIN}groups?filter[pk]={group.pk}").json()["data"][0]["name"] == "old"
    assert groups.get(f"{ADMIN}groups?filter[pk]={'9' * 40}").status_code == 400
    assert groups.get(f"{ADMIN}groups?search=old").status_code == 400
    assert groups.get(f"{ADMIN}users").status_code == 404


def test_actions_call_services_and_translate_their_exceptions(groups: Any, events: list[Event]) -> None:
    group = Group.objects.create(name="old")
    url = f"{ADMIN}groups/{group.pk}/rename"
    missing = groups.post(url, {"reason": " "})
    assert (missing.status_code, missing.json()["code"]) == (400, "reason_required")
    assert groups.post(url, {"reason": "new"}).json() == {"name": "new", "by": "admin"}
    refused, unmapped = groups.post(url, {"reason": "refused"}), groups.post(url, {"reason": "unmapped"})
    assert (refused.status_code, refused.json()["code"]) == (409, "last_owner")
    assert unmapped.status_code == 422
    group.refresh_from_db()
    assert group.name == "new"
    assert [event.name for event in events] == ["admin.failed", "admin.succeeded", "admin.failed", "admin.failed"]


def test_actions_validate_the_fields_of_their_serializer(groups: Any) -> None:
    group = Group.objects.create(name="old")
    url = f"{ADMIN}groups/{group.pk}/prepend"
    for body in ({}, {"prefix": "too long"}, {"prefix": "a", "name": "b"}, {"prefix": "a", "reason": "x" * 2001}):
        assert groups.post(url, body).status_code == 400, body
    assert groups.post(url, {"prefix": "very-", "reason": "age"}).status_code == 204
    group.refresh_from_db()
    assert group.name == "very-old (age)"


@pytest.mark.parametrize(("prefix", "status"), [("none", 400), ("many", 405), ("break", 500)])
def test_other_exceptions_of_actions_keep_their_meaning(groups: Any, prefix: str, status: int) -> None:
    groups.raise_request_exception = False
    group = Group.objects.create(name="old")
    assert groups.post(f"{ADMIN}groups/{group.pk}/prepend", {"prefix": prefix}).status_code == status


def test_related_rows_belong_to_one_row(groups: Any) -> None:
    permission = Permission.objects.select_related("content_type").first()
    rows = groups.get(f"{ADMIN}types/{permission.content_type_id}/permissions?limit=200").json()["data"]
    assert {row["id"] for row in rows} == set(
        Permission.objects.filter(content_type=permission.content_type_id).values_list("pk", flat=True)
    )
    assert groups.get(f"{ADMIN}types/4711/permissions").status_code == 404


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"model": "auth.Group"}, "'fields' is missing"),
        ({"fields": ["id"]}, "'model' is missing"),
        ({"model": "auth.Nothing", "fields": ["id"]}, "auth"),
        ({"model": "auth.Group", "fields": ["nothing"]}, "has no field 'nothing'"),
        ({"model": "auth.Group", "fields": ["permissions"]}, "is a relation"),
        ({"model": "auth.Group", "fields": "id"}, "must be a list"),
        ({"model": "auth.Group", "fields": ["id"], "writable": True}, "writable is unknown"),
        ({"model": "auth.Group", "fields": ["id"], "actions": {"x": {"call": "nothing.at.all"}}}, "nothing"),
        ({"model": "auth.Group", "fields": ["id"], "actions": {"x": {}}}, "Name a function"),
        ({"model": "auth.Group", "fields": ["id"], "actions": {"x": {"call": lambda: None}}}, "no parameter"),
        ({"model": "auth.Group", "fields": ["id"], "actions": {"x/y": {"call": rename}}}, "must consist of"),
        ("auth.Group", "is not a dict"),
    ],
)
def test_mistakes_in_resources_are_reported(declared: Any, message: str) -> None:
    with override_settings(ADMINAPI_RESOURCES={"things": declared}):
        (problem,) = problems()
        assert message in problem
        assert resources() == ()


def test_secret_fields_are_reported_and_not_shown() -> None:
    declared = {"users": {"fields": ["id", "password"], "actions": {}}}
    with override_settings(ADMINAPI_RESOURCES=declared):
        assert secret_fields() == [("users", "password")]
        assert resources()[0].fields == ("id",)
