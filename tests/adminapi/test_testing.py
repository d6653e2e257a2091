from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import override_settings
from django.urls import include, path

from dovetail_adminapi.api.wrapping import guarded
from dovetail_adminapi.testing import admin_client, assert_admin_closed, permission_matrix
from tests.adminapi import shop
from tests.adminapi.test_checks import urls
from tests.adminapi.world import ADMIN

pytestmark = pytest.mark.django_db
ROLES: dict[str, Any] = {
    "ADMINAPI_ROLES": {"ops": ["auth.view_group"], "admins": ["auth.view_group", "auth.delete_group"]},
    "ADMINAPI_ROLE_CLAIM": "roles",
    "ADMINAPI_ROLE_ISSUERS": ["https://idp.example.com"],
}


@override_settings(**ROLES)
def test_matrix_names_permissions_and_roles() -> None:
    matrix = permission_matrix()
    assert matrix["DELETE /admin/v1/groups/{pk}"] == {
        "operation": "group.destroy",
        "permission": "auth.delete_group",
        "reauthenticate": True,
        "roles": ["admins"],
    }
    assert matrix["GET /admin/v1/"]["roles"] == ["admins", "ops"]
    assert matrix["PUT /admin/v1/groups/{pk}"]["permission"] is None
    assert list(matrix) == sorted(matrix)


def test_client_has_exactly_its_permissions() -> None:
    assert admin_client().get(f"{ADMIN}groups").status_code == 403
    assert admin_client(permissions=["auth.view_group"]).get(f"{ADMIN}groups").status_code == 200
    with pytest.raises(ValueError, match=r"'auth\.nothing' does not exist"):
        admin_client(permissions=["auth.nothing"])


def test_client_has_the_age_of_its_sign_in(adminapi_client: Callable[..., Any]) -> None:
    for age, status in ((0, 404), (10_000, 401), (None, 401)):
        client = adminapi_client(permissions=["auth.delete_group"], auth_age=age)
        assert client.delete(f"{ADMIN}groups/1").status_code == status


def test_client_has_roles_only_with_their_settings() -> None:
    with override_settings(**ROLES):
        assert admin_client(roles=["ops"]).get(f"{ADMIN}groups").status_code == 200
        assert admin_client(roles=["ops"]).delete(f"{ADMIN}groups/1").status_code == 403
    with pytest.raises(ValueError, match="ADMINAPI_ROLE_CLAIM"):
        admin_client(roles=["ops"])


def test_closed_admin_api_passes() -> None:
    assert_admin_closed()


def test_route_beside_the_guard_fails() -> None:
    beside = path("admin/v1/beside", shop.report)
    with (
        override_settings(ROOT_URLCONF=urls(shop.urlpatterns, beside)),
        pytest.raises(AssertionError, match="/admin/v1/beside is below /admin/v1/"),
    ):
        assert_admin_closed()


def test_missing_include_fails() -> None:
    with override_settings(ROOT_URLCONF=urls(None)), pytest.raises(AssertionError, match="No route is guarded"):
        assert_admin_closed()


def test_open_operation_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    from dovetail_adminapi.api.guard import AdminGuard

    monkeypatch.setattr(AdminGuard, "admit", lambda self, request, call: setattr(self, "_is_admitted", True))
    with pytest.raises(AssertionError, match="GET /admin/v1/groups is 200 to anonymous callers"):
        assert_admin_closed()


def test_namespaces_and_names_are_kept() -> None:
    from django.urls import reverse

    assert reverse("dovetail_adminapi:group-detail", args=[1]) == "/admin/v1/groups/1"
    inner = guarded([path("nested/", include((shop.urlpatterns, "shop")))], "shop")
    assert (inner[0].app_name, inner[0].namespace) == ("shop", "shop")
