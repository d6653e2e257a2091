from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import Group, User
from django.test import AsyncClient, override_settings
from django.urls import resolve

from dovetail_adminapi.api.operations import Operation
from dovetail_core.events import Event
from tests.adminapi import forgotten
from tests.adminapi.world import ADMIN, bearer, client, person

pytestmark = pytest.mark.django_db
METHODS = ("get", "post", "put", "patch", "delete", "options", "head", "trace")


@pytest.mark.parametrize("path", forgotten.PATHS)
@override_settings(ROOT_URLCONF="tests.adminapi.forgotten")
def test_forgotten_views_are_closed_only_inside_the_include(path: str) -> None:
    assert b"open" in client().get(f"/open/{path}").content
    anonymous, staff = client(), client(person("staff", "auth.view_group", is_staff=True))
    for method in METHODS:
        assert anonymous.generic(method.upper(), ADMIN + path).status_code == 401, method
        response = staff.generic(method.upper(), ADMIN + path)
        assert response.status_code == 403, method
        assert b"open" not in response.content


@override_settings(ROOT_URLCONF="tests.adminapi.forgotten")
def test_undeclared_operations_are_closed_to_superusers() -> None:
    root = client(person("root", is_superuser=True, is_staff=True))
    assert {root.get(ADMIN + path).status_code for path in forgotten.PATHS} == {403}


@pytest.mark.parametrize("path", ["cached", "ViewIsCached", "DispatchIsCached"])
@override_settings(ROOT_URLCONF="tests.adminapi.forgotten")
def test_cached_response_is_not_shown_to_others(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The attack: somebody asks after an administrator, whose response is in the cache of the view."""
    view = resolve(ADMIN + path).func.cls  # type: ignore[attr-defined]  # of a view of REST framework
    declared = Operation("open.get", "forgotten", "GET", "get", "auth.view_group")
    monkeypatch.setattr(view, "admin_operations", {"GET": declared})
    assert client(person("viewer", "auth.view_group")).get(ADMIN + path).json() == "open"
    assert client().get(ADMIN + path).status_code == 401
    assert client(person("other")).get(ADMIN + path).status_code == 403


def test_one_permission_opens_one_operation() -> None:
    group = Group.objects.create(name="support")
    viewer = client(person("viewer", "auth.view_group"))
    assert viewer.get(f"{ADMIN}groups").status_code == 200
    assert viewer.get(f"{ADMIN}groups/{group.pk}").json()["name"] == "support"
    assert viewer.post(f"{ADMIN}groups", {"name": "new"}).status_code == 403
    assert viewer.post(f"{ADMIN}groups/{group.pk}/rename", {"name": "new"}).status_code == 403
    assert viewer.delete(f"{ADMIN}groups/{group.pk}").status_code == 403
    assert list(Group.objects.values_list("name", flat=True)) == ["support"]


def test_action_without_entry_is_refused_to_superusers() -> None:
    """``update`` of the mixin is routed, and nobody declared it."""
    group = Group.objects.create(name="support")
    root = client(person("root", is_superuser=True))
    assert root.put(f"{ADMIN}groups/{group.pk}", {"name": "x"}).status_code == 403
    assert root.post(f"{ADMIN}report").status_code == 403
    assert root.get(f"{ADMIN}report").json() == {"ready": True}


def test_permissions_of_groups_count() -> None:
    from django.contrib.auth.models import Permission

    support = Group.objects.create(name="support")
    support.permissions.add(Permission.objects.get(codename="view_group"))
    user = person()
    assert client(user).get(f"{ADMIN}groups").status_code == 403
    user.groups.add(support)
    assert client(User.objects.get(pk=user.pk)).get(f"{ADMIN}groups").status_code == 200


def test_inactive_users_are_refused() -> None:
    inactive = person("gone", "auth.view_group", is_active=False, is_superuser=True)
    assert bearer(inactive).get(f"{ADMIN}groups").json()["code"] == "user_inactive"
    assert client(inactive).get(f"{ADMIN}groups").status_code == 401


@pytest.mark.parametrize("method", METHODS[2:])
def test_methods_are_revealed_only_to_permitted_callers(method: str) -> None:
    path, verb = f"{ADMIN}groups", method.upper()
    if method == "head":
        assert client(person("viewer", "auth.view_group")).head(path).status_code == 200
        assert client(person("other")).head(path).status_code == 403
        return
    assert client().generic(verb, path).status_code == 401
    assert client(person("other", "auth.view_permission")).generic(verb, path).status_code == 403
    assert client(person("viewer", "auth.view_group")).generic(verb, path).status_code == 405


def test_rules_about_objects_still_apply() -> None:
    hidden = Group.objects.create(name="hidden")
    viewer = client(person("viewer", "auth.view_group", "auth.change_group"))
    assert viewer.get(f"{ADMIN}groups/{hidden.pk}").status_code == 403
    assert viewer.post(f"{ADMIN}groups/{hidden.pk}/rename", {"name": "seen"}).status_code == 403


def test_only_staff_learns_the_missing_permission() -> None:
    staff = client(person("staff", is_staff=True)).get(f"{ADMIN}groups").json()
    assert (staff["code"], staff["permission"]) == ("permission_denied", "auth.view_group")
    assert "permission" not in client(person("customer")).get(f"{ADMIN}groups").json()


def test_unknown_paths_are_404_only_to_administrators() -> None:
    for path in ("nothing", "groups/1/nothing", "groups/", "%00"):
        assert client().get(ADMIN + path).status_code == 401
        assert client(person(f"customer{path}"[:20])).post(ADMIN + path).status_code == 403
        assert client(person(f"admin{path}"[:20], "auth.view_group")).get(ADMIN + path).status_code == 404


def test_root_lists_what_the_caller_may_do() -> None:
    assert client().get(ADMIN).status_code == 401
    assert client(person("customer", "auth.view_permission")).get(ADMIN).status_code == 403
    answer = client(viewer := person("viewer", "auth.view_group")).get(ADMIN).json()
    rows = {row["operation"]: row for row in answer["operations"]}
    assert rows["group.list"] == {
        "operation": "group.list",
        "section": "shop",
        "method": "GET",
        "path": "/admin/v1/groups",
        "allowed": True,
        "reauthenticate": False,
    }
    assert rows["group.destroy"]["path"] == "/admin/v1/groups/{pk}"
    assert (rows["group.destroy"]["allowed"], rows["group.destroy"]["reauthenticate"]) == (False, True)
    assert {name for name, row in rows.items() if row["allowed"] and row["section"] == "shop"} == {
        "group.list", "group.retrieve", "report.get",
    }  # fmt: skip
    assert answer["principal"] == {"id": str(viewer.pk), "label": "viewer", "superuser": False, "roles": []}


def test_failed_action_is_rolled_back_and_recorded(events: list[Event]) -> None:
    group = Group.objects.create(name="whole")
    api = client(person("editor", "auth.change_group"), raise_request_exception=False)
    assert api.post(f"{ADMIN}groups/{group.pk}/broken").status_code == 500
    group.refresh_from_db()
    assert group.name == "whole"
    assert [(event.name, event.data["problem"], event.data["status"]) for event in events] == [
        ("admin.failed", "RuntimeError", 500)
    ]


def test_asynchronous_server_gets_the_same_answers(events: list[Event]) -> None:
    api = AsyncClient()
    refused = async_to_sync(api.get)(f"{ADMIN}groups")
    assert (refused.status_code, refused.headers["Cache-Control"]) == (401, "no-store")
    api.force_login(person("viewer", "auth.view_group"))
    assert async_to_sync(api.get)(f"{ADMIN}groups").status_code == 200
    assert [event.name for event in events] == ["admin.denied", "admin.succeeded"]
    assert async_to_sync(api.get)("/admin/login/").headers.get("Cross-Origin-Resource-Policy") is None


def test_guard_decides_before_the_body_is_read() -> None:
    response: Any = client(person()).generic("POST", f"{ADMIN}groups", b"{" * 10, content_type="application/json")
    assert response.status_code == 403


@pytest.mark.parametrize(
    "media_type", ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=x"]
)
def test_bodies_that_pages_of_other_sites_can_send_are_415(media_type: str) -> None:
    group = Group.objects.create(name="old")
    editor = client(person("editor", "auth.change_group"))
    for body in (b"name=new", b""):
        response: Any = editor.generic("POST", f"{ADMIN}groups/{group.pk}/broken", body, content_type=media_type)
        assert response.status_code == 415
