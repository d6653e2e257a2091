"""What is configured wrongly is told by a check with a hint."""

from __future__ import annotations

from typing import Any

import pytest
from django.core import checks as django_checks
from django.db import connection, models
from django.test.utils import isolate_apps
from rest_framework.authentication import BaseAuthentication, SessionAuthentication

from dovetail_apikeys import checks
from dovetail_apikeys.api import permissions
from dovetail_apikeys.api.authentication import APIKeyAuthentication
from dovetail_apikeys.api.permissions import HasScope
from dovetail_apikeys.api.throttling import APIKeyRateThrottle
from tests.apikeys.test_authentication import Token


class Touchy(BaseAuthentication):
    """It needs more of a request than there is."""

    def authenticate_header(self, request: Any) -> str:
        raise RuntimeError


def paths(*classes: type) -> list[str]:
    return [f"{each.__module__}.{each.__qualname__}" for each in classes]


def ids(found: Any) -> dict[str, str]:
    messages = list(found)
    assert all(message.hint for message in messages)
    return {str(message.id).partition(".")[2]: message.msg for message in messages}


@pytest.mark.django_db
def test_the_lane_itself_has_nothing_to_complain_of() -> None:
    found = django_checks.run_checks(databases=["default"], include_deployment_checks=True)
    assert [each for each in found if str(each.id).startswith("dovetail_apikeys")] == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BRAND", ""),
        ("BRAND", "Acme"),
        ("BRAND", "a_b"),
        ("BRAND", "a" * 13),
        ("BRAND", 7),
        ("ENVIRONMENT", "live-1"),
        ("FORMER_BRANDS", "dvt"),
        ("FORMER_BRANDS", ["DVT"]),
        ("HEADER", "X API Key"),
        ("HEADER", None),
        ("SCOPES", ["orders:read"]),
        ("SCOPES", {"orders": "All"}),
        ("SCOPES", {"orders:*": "All"}),
        ("CACHE_TTL", -1),
        ("CACHE_TTL", True),
        ("LAST_USED_INTERVAL", "60"),
        ("ROTATION_GRACE", 604_801),
        ("RATE", "many"),
        ("RATE", "10/fortnight"),
        ("ORGANIZATION_RATE", 7),
        ("VERIFIERS", "dovetail_apikeys.verification.verifiers.Knox"),
        ("VERIFIERS", ["dovetail_apikeys.verification.verifiers.Nothing"]),
        ("CONDITION", 7),
        ("PRINCIPAL", None),
        ("PRINCIPAL", "nowhere.at_all"),
        ("ORGANIZATION_RESOLVER", None),
        ("PERMISSION_CLASSES", ["nowhere.AtAll"]),
        ("ORGANIZATION_MODEL", "Firm"),
    ],
)
def test_a_value_that_is_not_allowed(settings: Any, name: str, value: Any) -> None:
    setattr(settings, f"API_KEYS_{name}", value)
    assert f"API_KEYS_{name} is {value!r}" in ids(checks.check_settings())["E001"]


def test_a_setting_that_is_missing_or_misspelt(settings: Any) -> None:
    del settings.API_KEYS_ORGANIZATION_MODEL
    settings.API_KEYS_CACHE_TLL = 5
    found = list(checks.check_settings())
    assert ids(found) == {
        "E001": "API_KEYS_ORGANIZATION_MODEL is required and not set.",
        "W001": "The setting API_KEYS_CACHE_TLL is unknown.",
    }
    assert "dovetail_tenancy.Organization" in str(found[0].hint)


@isolate_apps("tests.apikeys.firms")
def test_a_model_without_our_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    class Key(models.Model):
        name = models.CharField(max_length=10)

        class Meta:
            app_label = "firms"

    monkeypatch.setattr(checks, "get_api_key_model", lambda: Key)
    assert "has no field allowed_networks" in ids(checks.check_model())["E002"]


def test_an_owner_that_is_no_user(settings: Any) -> None:
    settings.API_KEYS_PRINCIPAL = "dovetail_apikeys.principal.owner"
    assert "keys belong to firms.Firm" in ids(checks.check_principal())["E003"]
    settings.API_KEYS_ORGANIZATION_MODEL = "auth.User"
    assert ids(checks.check_principal()) == {}


def test_a_scope_that_no_key_can_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(permissions, "asked_scopes", set())
    assert ids(checks.check_scopes()) == {}
    HasScope("orders:red")
    assert "orders:red" in ids(checks.check_scopes())["E004"]
    with pytest.raises(ValueError, match="'orders' is none"):
        HasScope("orders")


def test_people_whom_nothing_gives_an_organization(settings: Any) -> None:
    assert ids(checks.check_resolver()) == {}
    del settings.API_KEYS_ORGANIZATION_RESOLVER
    assert "I001" in ids(checks.check_resolver())
    settings.API_KEYS_ORGANIZATION_MODEL = "auth.User"
    assert ids(checks.check_resolver()) == {}
    settings.API_KEYS_ORGANIZATION_MODEL = "firms.Firm"
    settings.ROOT_URLCONF = "tests.apikeys.firms.urls"
    assert ids(checks.check_resolver()) == {}
    del settings.ROOT_URLCONF
    assert ids(checks.check_resolver()) == ids(checks.check_scopes()) == {}


@pytest.mark.parametrize(("brand", "environment"), [("sk", "live"), ("rk", "test"), ("pk", "live")])
def test_keys_that_scanners_take_for_stripes(settings: Any, brand: str, environment: str) -> None:
    settings.API_KEYS_BRAND, settings.API_KEYS_ENVIRONMENT = brand, environment
    assert f"{brand}_{environment}_" in ids(checks.check_format())["W002"]
    settings.API_KEYS_ENVIRONMENT = "staging"
    assert ids(checks.check_format()) == {}


def test_a_class_before_ours_that_refuses_other_bearer_tokens(settings: Any) -> None:
    def order(*classes: type) -> dict[str, str]:
        settings.REST_FRAMEWORK = {"DEFAULT_AUTHENTICATION_CLASSES": paths(*classes)}
        return ids(checks.check_order())

    assert "test_authentication.Token stands before" in order(Token, APIKeyAuthentication)["W003"]
    assert order(SessionAuthentication, Touchy, APIKeyAuthentication, Token) == {}
    # Named on single views, or not at all.
    assert order(Token) == {}


@pytest.mark.parametrize("backend", ["db.DatabaseCache", "dummy.DummyCache", "filebased.FileBasedCache"])
def test_a_cache_that_does_not_count(settings: Any, backend: str) -> None:
    settings.CACHES = {"default": {"BACKEND": f"django.core.cache.backends.{backend}", "LOCATION": "x"}}
    assert ids(checks.check_throttle()) == {}
    settings.REST_FRAMEWORK = {"DEFAULT_THROTTLE_CLASSES": paths(APIKeyRateThrottle)}
    assert backend in ids(checks.check_throttle())["W004"]
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    assert ids(checks.check_throttle()) == {}


@pytest.mark.django_db
def test_a_database_whose_keys_belong_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ids(checks.check_database(databases=["default"])) == {}
    monkeypatch.setattr(checks.get_api_key_model()._meta.get_field("organization").related_model._meta, "db_table", "x")
    assert "keys belong to firms_firm" in ids(checks.check_database(databases=["default"]))["E005"]
    assert ids(checks.check_database(databases=[])) == {}
    monkeypatch.setattr(connection.introspection, "table_names", lambda cursor: [])
    assert ids(checks.check_database(databases=["default"])) == {}
