"""Token issuers: simplejwt's pair, Django's session, and custom functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any
from unittest.mock import patch

import pytest
from django.contrib.auth import get_user, get_user_model
from django.contrib.auth.backends import BaseBackend
from django.contrib.sessions.backends.db import SessionStore
from django.db import OperationalError
from django.http import HttpRequest
from django.utils.module_loading import import_string
from rest_framework import serializers
from rest_framework.authentication import SessionAuthentication
from rest_framework.test import APIClient

from dovetail_magiclink import get_magic_link_model, issuers, services
from dovetail_magiclink.testing import mailed_code

pytestmark = pytest.mark.django_db
Ask = Callable[..., str]
Post = Callable[..., Any]
MagicLink = get_magic_link_model()
SESSION = "dovetail_magiclink.issuers.django_session"
SESSIONS = "dovetail_identity.services.issue_tokens"
PAIR = "dovetail_magiclink.contrib.simplejwt.issue_tokens"
JWT = "rest_framework_simplejwt.authentication.JWTAuthentication"
needs_simplejwt = pytest.mark.skipif(
    find_spec("rest_framework_simplejwt") is None, reason="djangorestframework-simplejwt is not installed"
)


@pytest.fixture
def jwt_api(settings: Any) -> None:
    authenticators = [JWT, "rest_framework.authentication.SessionAuthentication"]
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "DEFAULT_AUTHENTICATION_CLASSES": authenticators}


@needs_simplejwt
@pytest.mark.usefixtures("jwt_api")
def test_default_issuer_returns_simplejwt_pair_if_accepted(post: Post, ask: Ask, user: Any) -> None:
    from rest_framework_simplejwt.tokens import AccessToken, RefreshToken

    ask()
    body = post("verify", token=mailed_code()).json()
    assert body.keys() == {"access", "refresh", "user"}
    for token in (AccessToken(body["access"]), RefreshToken(body["refresh"])):
        assert str(token["user_id"]) == str(user.pk)
        assert token["amr"] == ["otp"]
        assert token["auth_time"] <= token["iat"]


@needs_simplejwt
@pytest.mark.usefixtures("jwt_api")
def test_user_authentication_rule_rejects_user_and_keeps_code(post: Post, ask: Ask, user: Any, settings: Any) -> None:
    ask()
    with patch("rest_framework_simplejwt.settings.api_settings.USER_AUTHENTICATION_RULE", lambda user: False):
        answer = post("verify", token=mailed_code())
    assert (answer.status_code, answer.json()) == (400, {"error": "invalid_or_expired"})
    assert MagicLink.objects.get().used_at is None
    user.refresh_from_db()
    assert user.last_login is None


def test_default_issuer_starts_session_although_simplejwt_is_installed(
    post: Post, ask: Ask, user: Any, client: APIClient
) -> None:
    ask()
    answer = post("verify", token=mailed_code())
    assert answer.json().keys() == {"user"}
    assert client.session["_auth_user_id"] == str(user.pk)


class OwnSession(SessionAuthentication):
    pass


@pytest.mark.parametrize(
    ("authenticators", "path"),
    [
        ([], SESSION),
        ([f"{__name__}.OwnSession"], SESSION),
        (["rest_framework.authentication.TokenAuthentication"], SESSION),
        pytest.param([f"{__name__}.OwnSession", JWT], PAIR, marks=needs_simplejwt),
        pytest.param([f"{__name__}.identitys_class", JWT], SESSIONS, marks=needs_simplejwt),
        # The nearest base decides: identity's class, which inherits from simplejwt's, rejects tokens without a session.
        pytest.param([f"{__name__}.projects_class", JWT], SESSIONS, marks=needs_simplejwt),
    ],
)
def test_default_issuer_follows_authentication_classes(settings: Any, authenticators: list[str], path: str) -> None:
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "DEFAULT_AUTHENTICATION_CLASSES": authenticators}
    assert issuers.issuer_path() == path


@needs_simplejwt
def test_simplejwt_class_accepts_all_tokens_and_identity_only_its_own() -> None:
    simplejwt, identity = import_string(JWT), __getattr__("identitys_class")
    assert issuers.is_accepted(SESSIONS, [simplejwt])
    assert issuers.is_accepted(SESSIONS, [identity])
    assert not issuers.is_accepted(PAIR, [__getattr__("projects_class")])
    assert issuers.is_accepted(PAIR, [simplejwt])
    assert not issuers.is_accepted(PAIR, [identity])
    assert not issuers.is_accepted(SESSIONS, [OwnSession])


def __getattr__(name: str) -> Any:
    """Return a stand-in for the class of dovetail-identity, which inherits from simplejwt's, or a subclass of it.

    dovetail-identity is not installed.
    """
    if name not in ("identitys_class", "projects_class"):
        raise AttributeError(name)
    from rest_framework_simplejwt.authentication import JWTAuthentication

    ours = type("JWTAuthentication", (JWTAuthentication,), {"__module__": "dovetail_identity.api.authentication"})
    if name == "identitys_class":
        return ours
    return type("ProjectAuthentication", (type("BaseAuthentication", (ours,), {}),), {})


class LimitsOnly:
    """Like the backend of django-axes, which has no ``get_user``."""

    def authenticate(self, request: Any, **credentials: Any) -> None:
        return None


class OthersOnly(BaseBackend):
    """Knows none of the users, as a backend for a directory of employees does."""


def test_session_uses_first_backend_that_returns_user(
    post: Post, ask: Ask, user: Any, client: APIClient, settings: Any
) -> None:
    backends = [f"{__name__}.LimitsOnly", f"{__name__}.OthersOnly", "django.contrib.auth.backends.ModelBackend"]
    settings.AUTHENTICATION_BACKENDS = backends
    ask()
    assert post("verify", token=mailed_code()).status_code == 200
    assert client.session["_auth_user_backend"] == backends[-1]
    # What AuthenticationMiddleware does in the next request.
    request = HttpRequest()
    request.session = client.session
    assert get_user(request) == user


def test_session_is_rejected_if_no_backend_returns_user(
    post: Post, ask: Ask, user: Any, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.AUTHENTICATION_BACKENDS = [f"{__name__}.LimitsOnly", f"{__name__}.OthersOnly"]
    ask()
    assert post("verify", token=mailed_code()).status_code == 400
    assert MagicLink.objects.get().used_at is None
    assert "no backend of AUTHENTICATION_BACKENDS returns the user" in caplog.text


def test_session_key_is_rotated_on_sign_in(post: Post, ask: Ask, user: Any, client: APIClient, settings: Any) -> None:
    settings.MAGIC_LINK_TOKEN_ISSUER = SESSION
    session = client.session
    session["cart"] = "full"
    session.save()
    before = session.session_key
    ask()
    assert post("verify", token=mailed_code()).status_code == 200
    # An attacker who has set the old session key is not signed in (session fixation).
    assert client.session.session_key != before
    assert client.session["cart"] == "full"
    user.refresh_from_db()
    assert user.last_login is not None


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"HTTP_SEC_FETCH_SITE": "same-origin"}, 200),
        ({"HTTP_SEC_FETCH_SITE": "same-site"}, 200),
        ({"HTTP_SEC_FETCH_SITE": "cross-site"}, 403),
        ({"HTTP_SEC_FETCH_SITE": "cross-site", "HTTP_ORIGIN": "https://evil.example.net"}, 403),
        ({"HTTP_SEC_FETCH_SITE": "cross-site", "HTTP_ORIGIN": "http://app.example.org"}, 403),
        ({"HTTP_SEC_FETCH_SITE": "cross-site", "HTTP_ORIGIN": "https://app.example.org"}, 200),
        ({"HTTP_SEC_FETCH_SITE": "cross-site", "HTTP_ORIGIN": "https://a.example.com"}, 200),
        ({"HTTP_SEC_FETCH_SITE": "cross-site", "HTTP_ORIGIN": "https://aexample.com"}, 403),
    ],
)
def test_session_issuer_rejects_cross_site_requests(
    post: Post, ask: Ask, user: Any, settings: Any, headers: dict[str, str], status: int
) -> None:
    settings.MAGIC_LINK_TOKEN_ISSUER = SESSION
    settings.CSRF_TRUSTED_ORIGINS = ["https://app.example.org", "https://*.example.com"]
    ask()
    assert post("verify", token=mailed_code(), extra=headers).status_code == status
    assert (MagicLink.objects.get().used_at is None) is (status == 403)


def issue(user: Any, *, request: Any, amr: Any) -> Mapping[str, Any]:
    return {"token": f"of {user.username}", "path": request.path, "amr": amr}


def raises(user: Any, *, request: Any, amr: Any) -> Mapping[str, Any]:
    user.save()
    raise OSError("the token service is down")


def refuses(user: Any, *, request: Any, amr: Any) -> None:
    return None


def test_custom_issuer_and_serializer_shape_the_response(post: Post, ask: Ask, user: Any, settings: Any) -> None:
    settings.MAGIC_LINK_TOKEN_ISSUER = "tests.magiclink.test_issuers.issue"
    settings.MAGIC_LINK_USER_SERIALIZER = "tests.magiclink.test_issuers.NameSerializer"
    ask()
    assert post("verify", token=mailed_code()).json() == {
        "token": "of ada",
        "path": "/api/auth/magic/verify/",
        "amr": ["otp"],
        "user": {"username": "ada"},
    }


class NameSerializer(serializers.ModelSerializer[Any]):
    class Meta:
        model = get_user_model()
        fields = ("username",)


def test_failing_issuer_keeps_code_valid(post: Post, ask: Ask, user: Any, settings: Any) -> None:
    request_id = ask()
    settings.MAGIC_LINK_TOKEN_ISSUER = raises
    with pytest.raises(OSError, match="down"):
        post("verify", token=mailed_code(), request_id=request_id)
    settings.MAGIC_LINK_TOKEN_ISSUER = refuses
    assert post("verify", token=mailed_code(), request_id=request_id).status_code == 400
    assert MagicLink.objects.get().attempts == 2
    settings.MAGIC_LINK_TOKEN_ISSUER = issue
    assert post("verify", token=mailed_code(), request_id=request_id).status_code == 200


def test_session_issuer_is_selected_by_dotted_path(settings: Any) -> None:
    settings.MAGIC_LINK_TOKEN_ISSUER = SESSION
    assert issuers.token_issuer() is issuers.django_session


def test_session_can_be_saved_after_second_attempt(ask: Callable[..., str], user: Any, rf: Any) -> None:
    request = rf.post("/")
    request.session = SessionStore()
    request.session["basket"] = 1
    request.session.save()
    ask()
    conflict = OperationalError(1213, "Deadlock found")
    with patch("dovetail_magiclink.services.verification._record_sign_in", side_effect=[conflict, None]):
        # In the transaction of the test, the service is not repeated.
        with pytest.raises(OperationalError):
            services.sign_in(token=mailed_code(), request=request)
        assert services.sign_in(token=mailed_code(), request=request)
    request.session.save()
    saved = SessionStore(request.session.session_key)
    assert (saved["_auth_user_id"], saved["basket"]) == (str(user.pk), 1)
