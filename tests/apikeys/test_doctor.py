from __future__ import annotations

from typing import Any

import pytest
from django.test import override_settings
from django.urls import include, path
from rest_framework.authentication import SessionAuthentication
from rest_framework.permissions import AllowAny, BasePermission, DjangoModelPermissions, IsAdminUser, IsAuthenticated
from rest_framework.response import Response
from rest_framework.views import APIView

from dovetail_apikeys import doctor
from dovetail_apikeys.api.authentication import APIKeyAuthentication
from dovetail_apikeys.api.permissions import HasAPIKey, HasScope, IsHuman
from dovetail_core.doctor import Finding, Project
from tests.apikeys.test_authentication import TokenAuthentication

SCOPE = HasScope("orders:read")


class OwnScopes(BasePermission):
    checks_scopes = True


class OwnUsers(BasePermission):
    requires_user = True


def examine(*patterns: Any) -> list[Finding]:
    with override_settings(ROOT_URLCONF=type("URLs", (), {"urlpatterns": patterns})):
        return list(doctor.examine(Project()))


def view(*permissions: Any, **attributes: Any) -> Any:
    attributes = {"get": Response, "permission_classes": permissions, **attributes}
    return path("orders/", type("OrdersView", (APIView,), attributes).as_view())  # type: ignore[attr-defined]


def levels(*permissions: Any, **attributes: Any) -> list[str]:
    return [finding.level for finding in examine(view(*permissions, **attributes)) if finding.id == "view.open"]


@pytest.mark.parametrize(
    "permission",
    [IsAuthenticated, SCOPE | IsAuthenticated, ~SCOPE, BasePermission, IsAuthenticated & BasePermission],
)
def test_view_without_a_scope_is_open(permission: Any) -> None:
    (finding,) = examine(view(permission))
    assert (finding.id, finding.level) == ("view.open", "warning")
    assert finding.message == f"{__name__}.OrdersView accepts every API key, whatever its scopes: GET orders/."
    assert "HasScope(" in finding.next_step


@pytest.mark.parametrize(
    "permission",
    [SCOPE, IsHuman, IsAuthenticated & SCOPE, SCOPE | IsHuman, ~HasAPIKey, IsAdminUser, OwnScopes, OwnUsers],
)
def test_view_that_checks_scopes_or_rejects_keys_is_not_open(permission: Any) -> None:
    assert levels(permission) == []


def test_one_permission_that_checks_scopes_is_enough() -> None:
    assert levels(IsAuthenticated, SCOPE) == []


def test_model_permissions_reject_keys_that_write() -> None:
    (finding,) = examine(view(DjangoModelPermissions, post=Response, delete=Response))
    assert finding.message.endswith("whatever its scopes: GET orders/.")


def test_public_view_is_not_open_to_keys_only() -> None:
    assert levels() == levels(AllowAny) == []


def test_view_for_all_keys_is_an_info() -> None:
    assert levels(HasAPIKey) == ["info"]


def test_permissions_of_a_method_count() -> None:
    def get_permissions(view: Any) -> Any:
        return [IsAuthenticated()] if view.request.method == "GET" else [SCOPE()]

    (finding,) = examine(view(get_permissions=get_permissions, post=Response))
    assert finding.message.endswith(": GET orders/.")


def test_view_without_the_class_is_not_open() -> None:
    assert levels(IsAuthenticated, authentication_classes=[SessionAuthentication]) == []


@override_settings(API_KEYS_ACCEPT="declared")
@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({}, []),
        ({"authentication_classes": [APIKeyAuthentication]}, ["warning"]),
        ({"contract": {"scopes": {"read": "orders:read"}}}, ["warning"]),
    ],
)
def test_only_declaring_views_are_open_by_default(attributes: Any, expected: list[str]) -> None:
    assert levels(IsAuthenticated, **attributes) == expected


@override_settings(API_KEYS_PRINCIPAL="dovetail_apikeys.principal.creator")
@pytest.mark.parametrize("permission", [IsAdminUser, OwnUsers, DjangoModelPermissions])
def test_key_that_acts_as_a_user_passes_permissions_for_users(permission: Any) -> None:
    (finding,) = examine(view(permission, post=Response))
    assert finding.message.endswith(": GET orders/, POST orders/.")
    assert levels(SCOPE) == []


def test_views_of_the_packages_check_keys_themselves() -> None:
    endpoints = path("", include("dovetail_apikeys.api.urls"))
    with override_settings(API_KEYS_PERMISSION_CLASSES=["rest_framework.permissions.IsAuthenticated"]):
        assert examine(endpoints) == []
        with override_settings(API_KEYS_PRINCIPAL="dovetail_apikeys.principal.creator"):
            (finding,) = examine(endpoints)
    assert finding.message.startswith("dovetail_apikeys.api.views.APIKeyViewSet accepts every API key")


def test_rejecting_class_before_ours_is_named_for_views_with_own_classes() -> None:
    (finding,) = examine(view(SCOPE, authentication_classes=[TokenAuthentication, APIKeyAuthentication]))
    assert (finding.id, finding.level) == ("authentication.order", "warning")
    assert finding.next_step == "authentication_classes = [APIKeyAuthentication, TokenAuthentication]"


def test_broken_view_is_left_to_core() -> None:
    def get_permissions(view: Any) -> Any:
        raise KeyError("role")

    assert examine(view(get_permissions=get_permissions)) == []
