from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from django.core import checks as django_checks
from django.core.checks import CheckMessage
from django.db import connection, models
from django.test.utils import isolate_apps
from rest_framework.authentication import BaseAuthentication, SessionAuthentication

from dovetail_apikeys import checks
from dovetail_apikeys.api import permissions
from dovetail_apikeys.api.authentication import APIKeyAuthentication
from dovetail_apikeys.api.permissions import HasScope
from dovetail_apikeys.api.throttling import APIKeyRateThrottle
from dovetail_apikeys.base import AbstractAPIKey
from tests.apikeys.test_authentication import TokenAuthentication


class RaisingAuthentication(BaseAuthentication):
    """Requires more attributes than the request of the check has."""

    def authenticate_header(self, request: Any) -> str:
        raise RuntimeError


def paths(*classes: type) -> list[str]:
    return [f"{path.__module__}.{path.__qualname__}" for path in classes]


def ids(messages: Iterable[CheckMessage]) -> dict[str, str]:
    messages = list(messages)
    assert all(message.hint for message in messages)
    return {str(message.id).partition(".")[2]: message.msg for message in messages}


@pytest.mark.django_db
def test_settings_of_this_lane_pass_all_checks() -> None:
    messages = django_checks.run_checks(databases=["default"], include_deployment_checks=True)
    assert [message for message in messages if str(message.id).startswith("dovetail_apikeys")] == []


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
        ("PRINCIPAL", 7),
        ("PRINCIPAL", "nowhere.at_all"),
        ("ORGANIZATION_RESOLVER", None),
        ("PERMISSION_CLASSES", ["nowhere.AtAll"]),
        ("ORGANIZATION_MODEL", "Firm"),
    ],
)
def test_invalid_setting_is_an_error(settings: Any, name: str, value: Any) -> None:
    setattr(settings, f"API_KEYS_{name}", value)
    assert f"API_KEYS_{name} is {value!r}" in ids(checks.check_settings())["E001"]


def test_missing_or_misspelt_setting_is_reported(settings: Any) -> None:
    del settings.API_KEYS_ORGANIZATION_MODEL
    settings.API_KEYS_CACHE_TLL = 5
    messages = list(checks.check_settings())
    assert ids(messages) == {
        "E001": "API_KEYS_ORGANIZATION_MODEL is required and not set.",
        "W001": "The setting API_KEYS_CACHE_TLL is unknown.",
    }
    assert "dovetail_tenancy.Organization" in str(messages[0].hint)


@isolate_apps("tests.apikeys.firms")
def test_key_model_without_required_fields_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Key(models.Model):
        name = models.CharField(max_length=10)

        class Meta:
            app_label = "firms"

    monkeypatch.setattr(checks, "get_api_key_model", lambda: Key)
    assert "lacks the fields allowed_networks" in ids(checks.check_model())["E002"]


def test_owner_principal_requires_keys_owned_by_users(settings: Any) -> None:
    settings.API_KEYS_PRINCIPAL = "dovetail_apikeys.principal.owner"
    assert "the owner is a row of firms.Firm" in ids(checks.check_principal())["E003"]
    settings.API_KEYS_ORGANIZATION_MODEL = "auth.User"
    assert ids(checks.check_principal()) == {}


def test_undeclared_scope_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(permissions, "required_scopes", set())
    assert ids(checks.check_scopes()) == {}
    HasScope("orders:red")
    assert "orders:red" in ids(checks.check_scopes())["E004"]
    with pytest.raises(ValueError, match="'orders' is not such a name"):
        HasScope("orders")


def test_default_resolver_is_reported_unless_users_own_keys(settings: Any) -> None:
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
def test_prefix_of_stripe_keys_is_a_warning(settings: Any, brand: str, environment: str) -> None:
    settings.API_KEYS_BRAND, settings.API_KEYS_ENVIRONMENT = brand, environment
    assert f"{brand}_{environment}_" in ids(checks.check_format())["W002"]
    settings.API_KEYS_ENVIRONMENT = "staging"
    assert ids(checks.check_format()) == {}


def test_bearer_authentication_before_api_keys_is_a_warning(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def order(*classes: type) -> dict[str, str]:
        settings.REST_FRAMEWORK = {"DEFAULT_AUTHENTICATION_CLASSES": paths(*classes)}
        return ids(checks.check_order())

    assert (
        "test_authentication.TokenAuthentication comes before"
        in order(TokenAuthentication, APIKeyAuthentication)["W003"]
    )
    assert order(SessionAuthentication, RaisingAuthentication, APIKeyAuthentication, TokenAuthentication) == {}
    classes = [SessionAuthentication, TokenAuthentication, APIKeyAuthentication]
    settings.REST_FRAMEWORK = {"DEFAULT_AUTHENTICATION_CLASSES": paths(*classes)}
    (message,) = checks.check_order()
    assert str(paths(SessionAuthentication, APIKeyAuthentication, TokenAuthentication)) in str(message.hint)
    monkeypatch.setattr(TokenAuthentication, "leaves_other_tokens", True, raising=False)
    assert order(TokenAuthentication, APIKeyAuthentication) == {}
    # Without APIKeyAuthentication, single views may still list it.
    assert order(TokenAuthentication) == {}


@pytest.mark.parametrize("backend", ["db.DatabaseCache", "dummy.DummyCache", "filebased.FileBasedCache"])
def test_cache_without_atomic_increment_is_a_warning(settings: Any, backend: str) -> None:
    settings.CACHES = {"default": {"BACKEND": f"django.core.cache.backends.{backend}", "LOCATION": "x"}}
    assert ids(checks.check_throttle()) == {}
    settings.REST_FRAMEWORK = {"DEFAULT_THROTTLE_CLASSES": paths(APIKeyRateThrottle)}
    assert backend in ids(checks.check_throttle())["W004"]
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    assert ids(checks.check_throttle()) == {}


@pytest.mark.django_db
def test_foreign_key_to_another_table_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ids(checks.check_database(databases=["default"])) == {}
    monkeypatch.setattr(checks.get_api_key_model()._meta.get_field("organization").related_model._meta, "db_table", "x")
    assert "references firms_firm" in ids(checks.check_database(databases=["default"]))["E005"]
    assert ids(checks.check_database(databases=[])) == {}
    monkeypatch.setattr(connection.introspection, "table_names", lambda cursor: [])
    assert ids(checks.check_database(databases=["default"])) == {}


@isolate_apps("django.contrib.auth")
def test_model_of_keys_may_have_a_primary_key_of_another_name() -> None:
    class Credential(AbstractAPIKey):
        id = None
        number = models.BigAutoField(primary_key=True)

        class Meta(AbstractAPIKey.Meta):
            app_label = "auth"

    (index,) = Credential._meta.indexes
    assert index.fields == ["organization", "-number"]
