from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
from django.core.checks import CheckMessage, run_checks
from django.core.checks.registry import registry
from django.test import override_settings
from django.urls import include, path
from django.views.decorators.cache import never_cache

from dovetail_adminapi import checks
from dovetail_adminapi.api import operations
from dovetail_adminapi.api.root import RootView
from dovetail_adminapi.api.wrapping import guarded
from dovetail_adminapi.conf import conf
from dovetail_core.events import domain_event
from tests.adminapi import forgotten, shop

# Checks of models ask the database for its features.
pytestmark = pytest.mark.django_db


def messages(identifier: str, **kwargs: Any) -> list[CheckMessage]:
    return [item for item in run_checks(**kwargs) if item.id == f"dovetail_adminapi.{identifier}"]


def urls(patterns: list[Any] | None, *others: Any) -> ModuleType:
    """Return a URLconf with an admin API of these patterns, or without one."""
    module = ModuleType("check_urls")
    inner = [] if patterns is None else guarded([path("", RootView.as_view(), name="root"), *patterns], "shop")
    module.urlpatterns = [path("admin/v1/", include((inner, "dovetail_adminapi"))), *others]  # type: ignore[attr-defined]
    return module


def test_operation_without_permission_is_an_error_that_names_the_view() -> None:
    reported = {message.msg for message in messages("E002")}
    lacking = {
        "GroupViewSet": "'update' (PUT /admin/v1/groups/{pk})",
        "report": "'post' (POST /admin/v1/report)",
    }
    assert reported == {
        f"tests.adminapi.shop.{name} declares no permission for {operation}, so nobody may call it."
        for name, operation in lacking.items()
    }


@override_settings(ROOT_URLCONF="tests.adminapi.forgotten")
def test_each_forgotten_view_is_one_error() -> None:
    text = "\n".join(message.msg for message in messages("E002"))
    for view in forgotten.VIEWS:
        assert text.count(f"tests.adminapi.forgotten.{view.__name__} ") == 1
    for name in ("ActionIsOpen", "function_is_open"):
        assert f"tests.adminapi.forgotten.{name} " in text


@override_settings(ROOT_URLCONF="tests.adminapi.forgotten")
def test_views_of_other_kinds_and_decorated_ones_are_errors() -> None:
    text = "\n".join(message.msg for message in messages("E003"))
    assert "tests.adminapi.forgotten.plain_view in the section 'forgotten'" in text
    assert "tests.adminapi.forgotten.Open is decorated in the URLconf" in text
    assert "tests.adminapi.forgotten.ViewIsCached is decorated" in text
    assert len(messages("E003")) == 3
    assert all(message.hint for message in messages("E003"))


def test_decorators_of_rest_framework_are_no_errors() -> None:
    assert messages("E003") == []


@override_settings(ROOT_URLCONF="tests.adminapi.forgotten")
def test_open_permissions_are_errors() -> None:
    text = "\n".join(message.msg for message in messages("E005"))
    assert "rest_framework.permissions.AllowAny'> as the permission for 'get'" in text
    assert "declares '' as the permission for 'post'" in text


def test_permission_that_does_not_exist_is_an_error() -> None:
    class Typo(shop.GroupViewSet):
        admin = {"permissions": {"list": "auth.veiw_group"}}

    with override_settings(ROOT_URLCONF=urls([path("groups", Typo.as_view({"get": "list"}), name="group-list")])):
        (message,) = messages("E004")
    assert "Typo requires the permission 'auth.veiw_group', which does not exist." in message.msg


@pytest.mark.parametrize(
    ("settings", "identifier", "words"),
    [
        ({"ADMINAPI_ROLES": {"ops": ["auth.view_user", "auth.nothing"]}}, "E006", "auth.nothing"),
        ({"ADMINAPI_ROLE_CLAIM": "roles"}, "E007", "ADMINAPI_ROLE_ISSUERS is empty"),
        ({"ADMINAPI_THROTTLE": True}, "E009", "has no rate 'admin'"),
        ({"ADMINAPI_RESOURCES": {"users": {"fields": ["id", "password"]}}}, "E010", "'password'"),
        ({"ADMINAPI_RESOURCES": {"orders": {}}}, "E001", "ADMINAPI_RESOURCES['orders']"),
        ({"ADMINAPI_RESOURCES": ["users"]}, "E001", "ADMINAPI_RESOURCES is ['users']"),
        ({"ADMINAPI_RESOURCES": {"users": "all"}}, "E001", "'all' is not a dict"),
        ({"ADMINAPI_RESOURCES": {"users": {"lists": {"keys": {"fields": ["secret"]}}}}}, "E010", "'secret'"),
        ({"ADMINAPI_SECTIONS": ["tests.adminapi.shop"]}, "E001", "ADMINAPI_SECTIONS"),
        ({"ADMINAPI_NETWORKS": ["10.0.0.1/8"]}, "E001", "ADMINAPI_NETWORKS"),
        ({"ADMINAPI_ROLES": {"ops": "auth.view_user"}}, "E001", "ADMINAPI_ROLES"),
        ({"ADMINAPI_ROLES": {"ops": 5}}, "E001", "'ops' is 5"),
        ({"ADMINAPI_ROLES": {"ops": [["auth.view_user"]]}}, "E001", "'ops' is [['auth.view_user']]"),
        ({"ADMINAPI_RESOURCES": {"users": {"fields": 5}}}, "E001", "ADMINAPI_RESOURCES['users']"),
        ({"ADMINAPI_MACHINES": "acme"}, "E001", "ADMINAPI_MACHINES"),
        ({"ADMINAPI_AUTHENTICATION_CLASSES": ["shop.Nothing"]}, "E001", "ADMINAPI_AUTHENTICATION_CLASSES"),
        ({"ADMINAPI_ROLE_CLAIM": 7}, "E001", "ADMINAPI_ROLE_CLAIM"),
        ({"ADMINAPI_IMPERSONATION": True, "ADMINAPI_IMPERSONATION_CONSENT": "none"}, "W006", "'none'"),
        ({"ADMINAPI_TROTTLE": True}, "W001", "ADMINAPI_TROTTLE"),
    ],
)
def test_mistakes_in_settings_are_reported(settings: dict[str, Any], identifier: str, words: str) -> None:
    with override_settings(**settings):
        (message,) = messages(identifier)
    assert words in message.msg
    assert message.hint


def test_valid_settings_are_not_reported() -> None:
    assert list(conf.check()) == []
    for identifier in ("E004", "E006", "E007", "E008", "E009", "E010", "W002", "W005", "W006", "W007"):
        assert messages(identifier) == [], identifier


def test_checks_run_once_although_apps_are_loaded_again(settings: Any) -> None:
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "django.contrib.humanize"]
    with override_settings(ADMINAPI_ROLE_CLAIM="roles"):
        assert len(messages("E007")) == 1


def test_checks_of_the_module_are_registered() -> None:
    registered = {check.__name__ for check in registry.get_checks(include_deployment_checks=True)}
    assert {name for name in vars(checks) if name.startswith("check_")} <= registered


def test_checks_walk_the_routes_once_for_many_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    patterns = [path(f"groups-{n}", shop.GroupViewSet.as_view({"get": "list"}), name=f"g{n}") for n in range(200)]
    walks: list[str] = []

    def count(module: ModuleType, name: str) -> None:
        original = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *args: (walks.append(name), original(*args))[1])

    count(operations, "get_resolver")
    count(checks, "routes")
    with override_settings(ROOT_URLCONF=urls(patterns)):
        run_checks(include_deployment_checks=True)
        assert len(operations.registry()) == 201
    assert sorted(walks) == ["get_resolver", "routes"]


def test_missing_middleware_is_a_warning(settings: Any) -> None:
    present = list(settings.MIDDLEWARE)
    settings.MIDDLEWARE = [name for name in present if "adminapi" not in name]
    assert "is not in MIDDLEWARE" in messages("W002")[0].msg
    settings.MIDDLEWARE = sorted(present, key=lambda name: "adminapi" not in name)
    assert "comes before django.contrib.auth.middleware.AuthenticationMiddleware" in messages("W002")[0].msg
    settings.ROOT_URLCONF = urls(None)
    assert messages("W002") == []


def test_missing_listener_is_a_warning() -> None:
    assert messages("W004") == []
    (message,) = messages("W004", include_deployment_checks=True)
    assert "Nobody listens" in message.msg

    def listen(**kwargs: Any) -> None:
        pass

    domain_event.connect(listen)
    try:
        assert messages("W004", include_deployment_checks=True) == []
    finally:
        domain_event.disconnect(listen)


def test_second_route_without_the_guard_is_a_warning() -> None:
    second = path("open/groups", shop.GroupViewSet.as_view({"get": "list"}))
    with override_settings(ROOT_URLCONF=urls(shop.urlpatterns, second)):
        (message,) = messages("W005")
    assert "tests.adminapi.shop.GroupViewSet of the section 'shop' is also at open/groups" in message.msg


@pytest.mark.parametrize("superusers", [True, False])
def test_public_host_and_undecided_superusers_are_reported_at_deployment(superusers: bool) -> None:
    assert messages("W003", include_deployment_checks=True)
    assert messages("I001", include_deployment_checks=True)
    with override_settings(ADMINAPI_HOSTS=["admin.example.com"], ADMINAPI_SUPERUSERS=superusers):
        assert not messages("W003", include_deployment_checks=True)
        assert not messages("I001", include_deployment_checks=True)


@pytest.mark.parametrize(
    ("cors", "reported"),
    [
        ({"CORS_ALLOW_ALL_ORIGINS": True}, True),
        ({"CORS_ALLOWED_ORIGINS": ["https://app.example.com"]}, True),
        ({"CORS_ALLOWED_ORIGINS": ["https://portal.example.com"]}, False),
        ({"CORS_ALLOW_ALL_ORIGINS": True, "CORS_URLS_REGEX": r"^/api/.*$"}, False),
        ({}, False),
    ],
)
def test_cors_for_the_admin_api_is_a_warning(cors: dict[str, Any], reported: bool, settings: Any) -> None:
    pytest.importorskip("corsheaders")
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "corsheaders"]
    with override_settings(ADMINAPI_ORIGINS=["https://portal.example.com"], **cors):
        assert bool(messages("W007")) is reported


def test_decorated_view_loses_its_decorator() -> None:
    view = never_cache(shop.report)
    with override_settings(ROOT_URLCONF=urls([path("report", view, name="report")])):
        (message,) = messages("E003")
    assert "tests.adminapi.shop.report is decorated" in message.msg


@override_settings(ROOT_URLCONF="tests.adminapi.nothing")
def test_broken_urlconf_is_left_to_django() -> None:
    assert list(checks.check_operations()) == []
    assert list(checks.check_deployment()) == []
