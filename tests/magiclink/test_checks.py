from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from unittest.mock import patch

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.core import mail
from django.core.checks import CheckMessage, run_checks
from django.urls import path
from rest_framework.authentication import SessionAuthentication, TokenAuthentication
from rest_framework.response import Response
from rest_framework.views import APIView

from dovetail_core import accounts
from dovetail_magiclink import checks
from tests.magiclink.test_issuers import SESSION, needs_simplejwt
from tests.magiclink.urls import urlpatterns

LOCMEM = "django.core.cache.backends.locmem.LocMemCache"
TOKEN = "rest_framework.authentication.TokenAuthentication"


def check_ids(*, deploy: bool = True) -> set[str]:
    return {str(message.id) for message in run_checks(include_deployment_checks=deploy)} & OURS


OURS = {f"dovetail_magiclink.{kind}{number:03}" for kind in "EW" for number in range(20)}


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
        ("ALLOWED", "no.such.function", "cannot be imported"),
        ("ALLOWED", True, "function"),
        ("USER_SERIALIZER", "no.such.serializer", "cannot be imported"),
        ("CREATE_USER", None, "function"),
        ("MAIL_DISPATCH", "dovetail_magiclink.mail.nothing", "cannot be imported"),
        ("UNBOUND_CODES", True, "'same_network'"),
        ("REQUESTS_PER_SITE", (1000, 3600), "pairs"),
        ("REQUESTS_PER_SITE", ((0, 3600),), "pairs"),
        ("REQUESTS_PER_SITE", "", "pairs"),
        ("RISK_BUDGET", "", "pairs"),
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


def test_missing_verify_url_is_an_error_in_production(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.MAGIC_LINK_VERIFY_URL = ""
    # Tests of a project.
    assert check_ids(deploy=False) == {"dovetail_magiclink.W002"}
    monkeypatch.delattr(mail, "outbox")
    assert check_ids(deploy=False) == {"dovetail_magiclink.E010"}
    settings.DEBUG = True
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


def test_signup_without_a_way_to_leave_out_the_password_is_an_error(settings: Any, monkeypatch: Any) -> None:
    settings.MAGIC_LINK_SIGNUP = True
    # A model that does not inherit AbstractBaseUser may have a required password of its own.
    monkeypatch.delattr(AbstractBaseUser, "set_unusable_password")
    assert "password" in _one(checks.check_signup).msg


def test_user_model_without_email_field_is_an_error(settings: Any) -> None:
    with patch.object(get_user_model(), "EMAIL_FIELD", "mail"):
        assert check_ids(deploy=False) == {"dovetail_magiclink.E006"}
        settings.MAGIC_LINK_SIGNUP = True
        assert "mail" in _one(checks.check_signup).msg


def test_session_issuer_requires_session_middleware(settings: Any) -> None:
    settings.MAGIC_LINK_TOKEN_ISSUER = SESSION
    assert check_ids(deploy=False) == set()
    settings.MIDDLEWARE = []
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "django.contrib.admin"]
    assert check_ids(deploy=False) == {"dovetail_magiclink.E007"}


def _authenticate_by(settings: Any, *paths: str) -> None:
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "DEFAULT_AUTHENTICATION_CLASSES": paths}


def test_session_that_api_does_not_accept_is_an_error(settings: Any) -> None:
    _authenticate_by(settings, TOKEN)
    assert check_ids(deploy=False) == {"dovetail_magiclink.E008"}
    message = _one(checks.check_issuer)
    assert SESSION in message.msg
    assert message.msg.endswith("DEFAULT_AUTHENTICATION_CLASSES: TokenAuthentication.")
    # The project says that the session is for its pages.
    settings.MAGIC_LINK_TOKEN_ISSUER = SESSION
    assert check_ids(deploy=False) == set()


@needs_simplejwt
@pytest.mark.parametrize(
    ("path", "ids"),
    [
        ("rest_framework_simplejwt.authentication.JWTAuthentication", set()),
        ("rest_framework_simplejwt.authentication.JWTStatelessUserAuthentication", set()),
        # Accepts tokens with a session only.
        ("tests.magiclink.test_issuers.identitys_class", {"dovetail_magiclink.E008"}),
        ("rest_framework.authentication.SessionAuthentication", {"dovetail_magiclink.E008"}),
    ],
)
def test_pair_that_api_does_not_accept_is_an_error(settings: Any, path: str, ids: set[str]) -> None:
    settings.MAGIC_LINK_TOKEN_ISSUER = "dovetail_magiclink.contrib.simplejwt.issue_tokens"
    _authenticate_by(settings, path)
    assert check_ids(deploy=False) == ids


class _View(APIView):
    authentication_classes: Any = ()

    def get(self, request: Any) -> Response:
        return Response()


class _SessionView(_View):
    authentication_classes = (TokenAuthentication, SessionAuthentication)


class _HiddenView(_SessionView):
    schema = None


class _PropertyView(_View):
    authentication_classes = property(lambda view: ())


def test_authentication_classes_may_be_a_property(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _authenticate_by(settings, TOKEN)
    monkeypatch.setattr("tests.magiclink.urls.urlpatterns", [*urlpatterns, path("view/", _PropertyView.as_view())])
    assert check_ids(deploy=False) == {"dovetail_magiclink.E008"}


@pytest.mark.parametrize(
    "view",
    [_SessionView.as_view(), _HiddenView.as_view(), _View.as_view(authentication_classes=(SessionAuthentication,))],
)
def test_issuer_of_single_view_is_accepted(settings: Any, view: Any) -> None:
    _authenticate_by(settings, TOKEN)
    settings.ROOT_URLCONF = type("URLs", (), {"urlpatterns": [*urlpatterns, path("view/", view)]})
    assert check_ids(deploy=False) == set()


def test_custom_issuer_is_accepted(settings: Any) -> None:
    _authenticate_by(settings, TOKEN)
    settings.MAGIC_LINK_TOKEN_ISSUER = "tests.magiclink.test_issuers.issue"
    assert check_ids(deploy=False) == set()
    settings.MAGIC_LINK_TOKEN_ISSUER = partial(print)
    assert check_ids(deploy=False) == set()


@needs_simplejwt
@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        (("RS256", "random-text-of-at-least-32-characters", "also-no-key"), "signing with RS256 fails"),
        (("RS256", None, ""), "signing with RS256 fails"),
        ((None, None, None), "SlidingToken: Token has wrong type"),
    ],
)
def test_pair_that_simplejwt_rejects_is_an_error(
    settings: Any, monkeypatch: pytest.MonkeyPatch, keys: Any, problem: str
) -> None:
    from rest_framework_simplejwt import settings as simplejwt
    from rest_framework_simplejwt import state
    from rest_framework_simplejwt.backends import TokenBackend
    from rest_framework_simplejwt.tokens import SlidingToken

    _authenticate_by(settings, "rest_framework_simplejwt.authentication.JWTAuthentication")
    if keys[0]:
        pytest.importorskip("cryptography")
        monkeypatch.setattr(state, "token_backend", TokenBackend(*keys))
        monkeypatch.setattr(simplejwt.api_settings, "ALGORITHM", keys[0])
    else:
        monkeypatch.setattr(simplejwt.api_settings, "AUTH_TOKEN_CLASSES", (SlidingToken,))
    assert check_ids(deploy=False) == {"dovetail_magiclink.E009"}
    assert problem in _one(checks.check_issuer).msg


def test_app_of_second_factor_without_hook_is_a_warning(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "SECOND_FACTOR_APPS", ("allauth.mfa", "rest_framework"))
    assert check_ids(deploy=False) == {"dovetail_magiclink.W006"}
    assert _one(checks.check_second_factor).msg.startswith("rest_framework is installed")
    settings.MAGIC_LINK_ALLOWED = lambda user, *, request: True
    assert check_ids(deploy=False) == set()


def test_disabled_limits_are_a_deployment_warning(settings: Any) -> None:
    settings.MAGIC_LINK_RISK_BUDGET = settings.MAGIC_LINK_REQUESTS_PER_SITE = ()
    assert "dovetail_magiclink.W005" in check_ids()
    assert check_ids(deploy=False) == set()
    message = _one(checks.check_limits)
    assert message.msg.startswith("MAGIC_LINK_RISK_BUDGET, MAGIC_LINK_REQUESTS_PER_SITE: ")
