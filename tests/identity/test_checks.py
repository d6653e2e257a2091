from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.backends import BaseBackend
from django.core.checks import CheckMessage, run_checks
from django.db import connections, models
from django.db.models.functions import Length, Lower, Upper
from django.test import override_settings
from django.test.utils import isolate_apps
from rest_framework.authentication import TokenAuthentication
from rest_framework_simplejwt import state
from rest_framework_simplejwt.backends import TokenBackend
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import AccessToken, SlidingToken

from dovetail_core import accounts
from dovetail_identity import checks
from dovetail_identity.fields import NormalizedEmailField


@pytest.fixture(autouse=True)
def _shared_cache(settings: Any) -> None:
    settings.IDENTITY_CACHE = "database"


def _messages(*, deploy: bool = False) -> list[CheckMessage]:
    messages = run_checks(include_deployment_checks=deploy)
    return [message for message in messages if str(message.id).startswith("dovetail_identity.")]


def test_minimal_project_has_no_messages() -> None:
    assert _messages() == []


@pytest.mark.parametrize(
    ("value", "problem"),
    [("tests.identity.nowhere.delete", "cannot be imported"), (7, "must be a function"), (None, "must be a function")],
)
def test_e001_for_an_invalid_setting(value: Any, problem: str) -> None:
    with override_settings(IDENTITY_DELETE_USER=value):
        (message,) = _messages()
    assert message.id == "dovetail_identity.E001"
    assert message.msg.startswith("IDENTITY_DELETE_USER is ")
    assert problem in message.msg
    assert message.hint


def test_e009_names_django_contrib_auth_at_startup() -> None:
    code = """
import django
from django.conf import settings

settings.configure(INSTALLED_APPS=["rest_framework", "dovetail_identity"])
django.setup()
"""
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    *_, message, hint = finished.stderr.strip().splitlines()
    assert message.startswith("django.core.exceptions.ImproperlyConfigured: dovetail_identity needs "), message
    assert message.endswith(" (dovetail_identity.E009)")
    assert "Add django.contrib.auth" in hint


def test_w001_for_a_misspelled_setting() -> None:
    with override_settings(IDENTITY_DELETE_USERS="x"):
        (message,) = _messages()
    assert message.id == "dovetail_identity.W001"
    assert message.hint == "Did you mean IDENTITY_DELETE_USER?"


def test_e002_for_blacklisting_without_its_app(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_settings, "BLACKLIST_AFTER_ROTATION", True)
    (message,) = _messages()
    assert message.id == "dovetail_identity.E002"
    assert "'rest_framework_simplejwt.token_blacklist'" in str(message.hint)


def test_e003_for_a_missing_user_id_field(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_settings, "USER_ID_FIELD", "uuid")
    (message,) = _messages()
    assert message.id == "dovetail_identity.E003"
    assert (
        message.msg == "SIMPLE_JWT['USER_ID_FIELD'] is 'uuid', which is not a unique field of dovetail_identity.User."
    )
    assert message.hint == "Set it to one of: 'id', 'email'."


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return a function that sets the user model for the checks, with an e-mail field and constraints."""

    def make(email: models.Field[Any, Any] | None, *constraints: models.BaseConstraint, by: str = "email") -> None:
        class Meta:
            app_label = "own"

        Meta.constraints = list(constraints)  # type: ignore[attr-defined]  # set dynamically
        fields = {"email": email} if email else {}
        body = {"__module__": __name__, "Meta": Meta, "EMAIL_FIELD": "email", "USERNAME_FIELD": by, **fields}
        model = type("Account", (models.Model,), body)
        monkeypatch.setattr(checks, "get_user_model", lambda: model)

    with isolate_apps():
        yield make


def _unique(*expressions: Any) -> models.UniqueConstraint:
    return models.UniqueConstraint(*expressions, name="own_email")


@pytest.mark.parametrize(
    ("email", "constraints"),
    [
        (NormalizedEmailField(unique=True), []),
        (models.EmailField(unique=True, db_collation="nocase"), []),
        (models.EmailField(), [_unique(Lower("email"))]),
        (models.EmailField(), [_unique(Upper("email"))]),
        (None, []),
    ],
)
def test_no_message_if_email_is_unique_regardless_of_case_or_missing(
    account: Any, email: Any, constraints: Any
) -> None:
    account(email, *constraints)
    assert [*checks.check_sign_in_email(), *checks.check_other_email()] == []


@pytest.mark.parametrize(
    ("email", "constraints"),
    [
        (models.EmailField(), []),
        (models.EmailField(unique=True), []),
        (NormalizedEmailField(), []),
        (models.EmailField(), [models.UniqueConstraint(fields=["email"], name="own_email")]),
        (models.EmailField(), [_unique(Length("email"))]),
        (models.EmailField(), [_unique(Lower(Upper("email")))]),
        (models.EmailField(), [_unique(Lower("email"), "id")]),
        (models.EmailField(), [models.CheckConstraint(condition=models.Q(email=Lower("email")), name="own_lower")]),
    ],
)
def test_w002_if_the_address_is_the_username(account: Any, email: Any, constraints: Any) -> None:
    account(email, *constraints)
    (message,) = [*checks.check_sign_in_email(), *checks.check_other_email()]
    assert (message.id, message.level) == ("dovetail_identity.W002", 30)
    assert "NormalizedEmailField" in str(message.hint)


def test_i001_if_the_address_is_not_the_username(account: Any) -> None:
    account(models.EmailField(), by="id")
    (message,) = [*checks.check_sign_in_email(), *checks.check_other_email()]
    assert (message.id, message.level) == ("dovetail_identity.I001", 20)
    assert "treated as unknown" in message.msg


@pytest.fixture
def reset_page(settings: Any) -> None:
    settings.IDENTITY_PASSWORD_RESET_URL = "https://app.example.com/reset"


def test_w004_in_deployment_without_a_reset_url(settings: Any) -> None:
    settings.SECRET_KEY = "another"
    (message,) = _messages(deploy=True)
    assert message.id == "dovetail_identity.W004"
    assert "IDENTITY_PASSWORD_RESET_URL" in message.msg


def test_e005_for_registration_without_a_verification_url(settings: Any) -> None:
    settings.IDENTITY_REGISTRATION = True
    (message,) = _messages()
    assert message.id == "dovetail_identity.E005"
    settings.IDENTITY_EMAIL_VERIFICATION_URL = "https://app.example.com/verify"
    assert _messages() == []


def test_e004_for_registration_with_more_required_fields(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.IDENTITY_REGISTRATION = True
    settings.IDENTITY_EMAIL_VERIFICATION_URL = "https://app.example.com/verify"
    monkeypatch.setattr("dovetail_identity.models.User.REQUIRED_FIELDS", ["phone_number", "first_name"])
    (message,) = _messages()
    assert message.id == "dovetail_identity.E004"
    assert message.msg.endswith(": phone_number.")
    settings.IDENTITY_CREATE_USER = "tests.identity.test_me.note_deletion"
    assert _messages() == []


@pytest.mark.parametrize("url", ["/reset", "ftp://example.com", "https://", "javascript:x", "https://a/#/x", 7, None])
def test_e001_for_an_invalid_url(settings: Any, url: Any) -> None:
    settings.IDENTITY_PASSWORD_RESET_URL = url
    (message,) = _messages()
    assert message.id == "dovetail_identity.E001"
    assert "absolute http:// or https:// address" in message.msg


@pytest.mark.usefixtures("reset_page")
def test_w003_in_deployment_if_the_signing_key_is_the_secret_key(monkeypatch: pytest.MonkeyPatch) -> None:
    (message,) = _messages(deploy=True)
    assert message.id == "dovetail_identity.W003"
    assert "SIMPLE_JWT['SIGNING_KEY']" in str(message.hint)
    with override_settings(SECRET_KEY="rotated", SECRET_KEY_FALLBACKS=[api_settings.SIGNING_KEY]):
        assert [message.id for message in _messages(deploy=True)] == ["dovetail_identity.W003"]
    with override_settings(SECRET_KEY="another"):
        assert _messages(deploy=True) == []
    monkeypatch.setattr(api_settings, "ALGORITHM", "RS256")
    assert _messages(deploy=True) == []


@pytest.mark.parametrize("name", ["ROTATE_REFRESH_TOKENS", "BLACKLIST_AFTER_ROTATION"])
def test_i002_in_deployment_for_rotation_without_effect(
    monkeypatch: pytest.MonkeyPatch, settings: Any, name: str
) -> None:
    settings.SECRET_KEY = "another"
    monkeypatch.setattr(api_settings, name, True)
    message = next(message for message in _messages(deploy=True) if message.id == "dovetail_identity.I002")
    assert name in message.msg
    assert name in str(message.hint)
    assert "dovetail_identity.I002" not in [message.id for message in _messages()]


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that sets the algorithm and the keys. simplejwt reads them when it is imported."""

    def change(algorithm: str, *values: Any) -> None:
        pytest.importorskip("cryptography")
        monkeypatch.setattr(state, "token_backend", TokenBackend(algorithm, *values))
        monkeypatch.setattr(api_settings, "ALGORITHM", algorithm)

    return change


def _key_pair() -> tuple[str, str]:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    plain = serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return private.decode(), public.decode()


def test_e007_for_a_key_that_does_not_suit_the_algorithm(keys: Any) -> None:
    keys("RS256", "random-text-of-at-least-32-characters", "")
    (message,) = _messages()
    assert message.id == "dovetail_identity.E007"
    assert "signing with RS256" in message.msg
    assert "PEM format" in str(message.hint)


def test_e007_for_a_pair_of_keys_that_does_not_match(keys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("cryptography")
    (private, public), (_, other) = _key_pair(), _key_pair()
    keys("ES256", private, public)
    assert _messages() == []
    for key in ("", other):
        keys("ES256", private, key)
        (message,) = _messages()
        assert message.id == "dovetail_identity.E007"
        assert "verification with ES256" in message.msg
    # The key for verification is on another server.
    monkeypatch.setattr(api_settings, "JWK_URL", "https://keys.example.com")
    assert _messages() == []


def test_e007_not_for_projects_without_tokens(keys: Any, settings: Any) -> None:
    keys("RS256", "random-text-of-at-least-32-characters", "")
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "DEFAULT_AUTHENTICATION_CLASSES": []}
    # The project includes the endpoints.
    assert [message.id for message in _messages()] == ["dovetail_identity.E007"]
    settings.ROOT_URLCONF = "tests.identity.urls_without_tokens"
    assert _messages() == []


def test_e008_for_token_classes_without_access_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_settings, "AUTH_TOKEN_CLASSES", (SlidingToken,))
    (message,) = _messages()
    assert message.id == "dovetail_identity.E008"
    assert message.msg.endswith("SIMPLE_JWT['AUTH_TOKEN_CLASSES'] is SlidingToken.")
    monkeypatch.setattr(api_settings, "AUTH_TOKEN_CLASSES", (SlidingToken, AccessToken))
    assert _messages() == []


def test_e006_for_a_cache_that_is_missing(settings: Any) -> None:
    settings.IDENTITY_CACHE = "missing"
    (message,) = _messages()
    assert message.id == "dovetail_identity.E006"
    assert str(message.hint).startswith("Set it to one of: 'default', 'database'")


def _deployment() -> dict[str, CheckMessage]:
    return {str(message.id).partition(".")[2]: message for message in _messages(deploy=True)}


@pytest.mark.parametrize("backend", ["locmem.LocMemCache", "dummy.DummyCache", "filebased.FileBasedCache"])
def test_w005_in_deployment_if_each_process_counts_for_itself(settings: Any, backend: str, tmp_path: Path) -> None:
    settings.CACHES = {"default": {"BACKEND": f"django.core.cache.backends.{backend}", "LOCATION": str(tmp_path)}}
    settings.IDENTITY_CACHE = "default"
    message = _deployment()["W005"]
    assert f"a {backend.partition('.')[2]}, so each process" in message.msg


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("django.contrib.auth.backends.ModelBackend", "Use dovetail_identity.backends.ModelBackend in its place."),
        ("django.contrib.auth.backends.AllowAllUsersModelBackend", "Add dovetail_identity.backends.LimitsAttempts"),
    ],
)
def test_w006_in_deployment_for_a_backend_without_limits(settings: Any, path: str, hint: str) -> None:
    assert "W006" not in _deployment()
    # RemoteUserBackend takes no password.
    settings.AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.RemoteUserBackend", path]
    message = _deployment()["W006"]
    assert message.msg.startswith(path)
    assert str(message.hint).startswith(hint)


class Credentials(BaseBackend):
    def authenticate(self, request: Any, **credentials: Any) -> None:
        return None


class Nothing(BaseBackend):
    """Inherits an ``authenticate()`` that rejects everything."""


def test_w006_for_a_backend_that_takes_any_credentials(settings: Any) -> None:
    settings.AUTHENTICATION_BACKENDS = [f"{__name__}.Nothing", f"{__name__}.Credentials"]
    assert _deployment()["W006"].msg.startswith(f"{__name__}.Credentials ")
    Credentials.__module__ = "social_core.backends.oauth"
    try:
        assert "W006" not in _deployment()
    finally:
        Credentials.__module__ = __name__


def test_no_w006_for_backends_that_axes_limits(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.AUTHENTICATION_BACKENDS = [f"{__name__}.Credentials", "django.contrib.auth.backends.ModelBackend"]
    monkeypatch.setattr(Credentials, "__module__", "axes.backends")
    assert "W006" not in _deployment()
    settings.AUTHENTICATION_BACKENDS.reverse()
    assert _deployment()["W006"].msg.startswith("django.contrib.auth.backends.ModelBackend ")


class OthersToken(TokenAuthentication):
    """Like allauth's class for its JWTs."""

    keyword = "Bearer"


def test_w010_for_a_class_that_takes_our_tokens_first(settings: Any) -> None:
    ours, session = settings.REST_FRAMEWORK["DEFAULT_AUTHENTICATION_CLASSES"]
    others = f"{__name__}.OthersToken"

    def order(*classes: str) -> list[CheckMessage]:
        settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "DEFAULT_AUTHENTICATION_CLASSES": classes}
        return _messages()

    (message,) = order(session, others, ours)
    assert (message.id, message.level) == ("dovetail_identity.W010", 30)
    assert message.msg.startswith(f"{others} comes before JWTAuthentication")
    assert str([session, ours, others]) in str(message.hint)
    (message,) = order("rest_framework_simplejwt.authentication.JWTAuthentication", ours)
    assert message.id == "dovetail_identity.W010"
    assert order(session, ours, others) == []
    assert order(session, others) == []


def test_w011_for_a_password_in_place_of_two_factors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "SECOND_FACTOR_APPS", ("allauth.mfa", "rest_framework"))
    (message,) = _messages()
    assert (message.id, message.level) == ("dovetail_identity.W011", 30)
    assert message.msg.startswith("rest_framework is installed, but jwt/token/ signs users in")
    rule = {"USER_AUTHENTICATION_RULE": "rest_framework_simplejwt.authentication.default_user_authentication_rule"}
    # Without override_settings, after which simplejwt has another api_settings.
    monkeypatch.setattr(checks, "settings", SimpleNamespace(SIMPLE_JWT=rule))
    assert list(checks.check_second_factor()) == []


def test_w005_in_deployment_for_a_database_cache_with_atomic_requests(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.IDENTITY_CACHE = "database"
    assert "W005" not in _deployment()
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)
    assert "ATOMIC_REQUESTS" in _deployment()["W005"].msg


def test_w007_in_deployment_for_disabled_limits(settings: Any) -> None:
    assert "W007" not in _deployment()
    settings.IDENTITY_FAILURES_PER_ACCOUNT = ()
    assert _deployment()["W007"].msg.startswith("IDENTITY_FAILURES_PER_ACCOUNT: ")


def test_w008_in_deployment_for_a_small_database_cache(settings: Any) -> None:
    assert "W008" not in _deployment()
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "unused"}}
    settings.IDENTITY_CACHE = "default"
    assert "MAX_ENTRIES of 300" in _deployment()["W008"].msg


def test_w009_in_deployment_for_a_proxy_that_is_not_named(settings: Any) -> None:
    assert "W009" not in _deployment()
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_CLIENTSCHEME", "https")
    assert _deployment()["W009"].msg.startswith("SECURE_PROXY_SSL_HEADER is set, but DOVETAIL_TRUSTED_PROXIES is empty")
    settings.DOVETAIL_TRUSTED_PROXIES = ["10.0.0.0/8"]
    assert "W009" not in _deployment()


def test_i003_in_deployment_without_the_middleware(settings: Any) -> None:
    assert "I003" not in _deployment()
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if "SignInLimit" not in name]
    assert "I003" in _deployment()


@pytest.mark.parametrize("value", [5, "5/min", ((0, 60),), ((5, True),), ((5,),), (5, 60)])
def test_e001_for_invalid_limits(settings: Any, value: object) -> None:
    settings.IDENTITY_FAILURES_PER_ACCOUNT = value
    (message,) = _messages()
    assert (message.id, "must be pairs" in message.msg) == ("dovetail_identity.E001", True)
