from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import pytest
from django.contrib.auth import get_user_model
from django.core.checks import CheckMessage, run_checks

from dovetail_magiclink import checks

LOCMEM = "django.core.cache.backends.locmem.LocMemCache"


def check_ids(*, deploy: bool = True) -> set[str]:
    return {str(message.id) for message in run_checks(include_deployment_checks=deploy)} & OURS


OURS = {f"dovetail_magiclink.{kind}00{number}" for kind in "EW" for number in range(10)}


def test_minimal_project_has_only_the_cache_warning() -> None:
    assert check_ids() == {"dovetail_magiclink.W004"}
    assert check_ids(deploy=False) == set()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("VERIFY_URL", "app.example.com", "absolute http"),
        ("VERIFY_URL", "ftp://app.example.com", "absolute http"),
        ("VERIFY_URL", None, "absolute http"),
        ("EXPIRY_MINUTES", 0, "at least 1"),
        ("EXPIRY_MINUTES", "15", "at least 1"),
        ("DEBUG_ECHO_TOKEN", "false", "True or False"),
        ("MODEL", "MagicLink", "app_label.ModelName"),
        ("TOKEN_ISSUER", "no.such.function", "cannot be imported"),
        ("TOKEN_ISSUER", 7, "function"),
        ("USER_SERIALIZER", "no.such.serializer", "cannot be imported"),
        ("CREATE_USER", None, "function"),
        ("MAIL_DISPATCH", "dovetail_magiclink.mail.nothing", "cannot be imported"),
        ("UNBOUND_CODES", True, "'same_network'"),
        ("REQUESTS_PER_SITE", (1000, 3600), "pairs"),
        ("REQUESTS_PER_SITE", ((0, 3600),), "pairs"),
        ("REQUESTS_PER_ADDRESS", ((1, 90_000),), "86400"),
        ("RISK_BUDGET", ((1, 900),), "probability"),
        ("RISK_BUDGET", ((0.0, 900),), "probability"),
        ("RETENTION_HOURS", 1, "at least 24"),
        ("SIGNUP", "yes", "True or False"),
    ],
)
def test_invalid_setting_is_an_error(settings: Any, name: str, value: Any, message: str) -> None:
    setattr(settings, f"MAGIC_LINK_{name}", value)
    (error,) = checks.check_settings()
    assert error.id == "dovetail_magiclink.E001"
    assert error.msg.startswith(f"MAGIC_LINK_{name} ")
    assert message in error.msg
    check_ids()  # the other checks must not raise


def test_misspelled_setting_is_a_warning(settings: Any) -> None:
    settings.MAGIC_LINK_EXPIRY_MINUTE = 5
    assert "dovetail_magiclink.W001" in check_ids()


def _one(check: Callable[..., Any], **changed: Any) -> CheckMessage:
    (message,) = check()
    return message  # type: ignore[no-any-return]


def test_missing_verify_url_is_a_warning(settings: Any) -> None:
    settings.MAGIC_LINK_VERIFY_URL = ""
    assert check_ids(deploy=False) == {"dovetail_magiclink.W002"}


def test_long_expiry_is_a_warning(settings: Any) -> None:
    settings.MAGIC_LINK_EXPIRY_MINUTES = 16
    assert check_ids(deploy=False) == {"dovetail_magiclink.W003"}
    settings.MAGIC_LINK_EXPIRY_MINUTES = 10
    assert check_ids(deploy=False) == set()


@pytest.mark.parametrize(
    "backend",
    [
        "django.core.cache.backends.db.DatabaseCache",
        "django.core.cache.backends.filebased.FileBasedCache",
        "django.core.cache.backends.dummy.DummyCache",
    ],
)
def test_cache_without_atomic_increment_is_an_error(settings: Any, backend: str) -> None:
    settings.CACHES = {"default": {"BACKEND": LOCMEM}, "other": {"BACKEND": backend, "LOCATION": "/tmp/x"}}
    assert check_ids(deploy=False) == set()
    settings.MAGIC_LINK_CACHE = "other"
    assert check_ids(deploy=False) == {"dovetail_magiclink.E003"}
    message = _one(checks.check_cache)
    assert backend.rpartition(".")[2] in message.msg


def test_shared_cache_has_no_warning(settings: Any) -> None:
    pytest.importorskip("redis", reason="redis is not installed")
    settings.CACHES = {
        "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://127.0.0.1:6379/3"}
    }
    assert check_ids() == set()


@pytest.mark.parametrize("alias", ["nowhere", None, []])
def test_unknown_cache_alias_is_an_error(settings: Any, alias: Any) -> None:
    settings.MAGIC_LINK_CACHE = alias
    assert check_ids() == {"dovetail_magiclink.E002"}


def test_debug_echo_is_a_deployment_error(settings: Any) -> None:
    settings.MAGIC_LINK_DEBUG_ECHO_TOKEN = True
    assert "dovetail_magiclink.E004" in check_ids()
    assert check_ids(deploy=False) == set()


def test_signup_with_unfillable_required_field_is_an_error(settings: Any) -> None:
    settings.MAGIC_LINK_SIGNUP = True
    assert check_ids(deploy=False) == set()
    first_name = get_user_model()._meta.get_field("first_name")
    with patch.object(first_name, "blank", False):
        assert check_ids(deploy=False) == {"dovetail_magiclink.E005"}
        assert "first_name" in _one(checks.check_signup).msg
        settings.MAGIC_LINK_CREATE_USER = lambda **kwargs: None
        assert check_ids(deploy=False) == set()


def test_user_model_without_email_field_is_an_error(settings: Any) -> None:
    with patch.object(get_user_model(), "EMAIL_FIELD", "mail"):
        assert check_ids(deploy=False) == {"dovetail_magiclink.E006"}
        settings.MAGIC_LINK_SIGNUP = True
        assert "mail" in _one(checks.check_signup).msg


def test_session_issuer_requires_session_middleware(settings: Any) -> None:
    settings.MAGIC_LINK_TOKEN_ISSUER = "dovetail_magiclink.issuers.django_session"
    assert check_ids(deploy=False) == set()
    settings.MIDDLEWARE = []
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "django.contrib.admin"]
    assert check_ids(deploy=False) == {"dovetail_magiclink.E007"}


def test_disabled_limits_are_a_deployment_warning(settings: Any) -> None:
    settings.MAGIC_LINK_RISK_BUDGET = settings.MAGIC_LINK_REQUESTS_PER_SITE = ()
    assert "dovetail_magiclink.W005" in check_ids()
    assert check_ids(deploy=False) == set()
    message = _one(checks.check_limits)
    assert message.msg.startswith("MAGIC_LINK_RISK_BUDGET, MAGIC_LINK_REQUESTS_PER_SITE: ")
