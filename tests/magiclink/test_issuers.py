"""Token issuers: simplejwt's pair, Django's session, and custom functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any
from unittest.mock import patch

import pytest
from django.contrib.auth import get_user_model
from rest_framework import serializers
from rest_framework.test import APIClient

from dovetail_magiclink import get_magic_link_model, issuers
from dovetail_magiclink.testing import mailed_code

pytestmark = pytest.mark.django_db
Ask = Callable[..., str]
Post = Callable[..., Any]
MagicLink = get_magic_link_model()
SESSION = "dovetail_magiclink.issuers.django_session"
needs_simplejwt = pytest.mark.skipif(
    find_spec("rest_framework_simplejwt") is None, reason="djangorestframework-simplejwt is not installed"
)


@needs_simplejwt
def test_default_issuer_returns_simplejwt_pair_if_installed(post: Post, ask: Ask, user: Any) -> None:
    from rest_framework_simplejwt.tokens import AccessToken, RefreshToken

    ask()
    body = post("verify", token=mailed_code()).json()
    assert body.keys() == {"access", "refresh", "user"}
    for token in (AccessToken(body["access"]), RefreshToken(body["refresh"])):
        assert str(token["user_id"]) == str(user.pk)
        assert token["amr"] == ["otp"]
        assert token["auth_time"] <= token["iat"]


@needs_simplejwt
def test_user_authentication_rule_rejects_user_and_keeps_code(post: Post, ask: Ask, user: Any, settings: Any) -> None:
    ask()
    with patch("rest_framework_simplejwt.settings.api_settings.USER_AUTHENTICATION_RULE", lambda user: False):
        answer = post("verify", token=mailed_code())
    assert (answer.status_code, answer.json()) == (400, {"error": "invalid_or_expired"})
    assert MagicLink.objects.get().used_at is None
    user.refresh_from_db()
    assert user.last_login is None


def test_default_issuer_without_simplejwt_starts_session(post: Post, ask: Ask, user: Any, client: APIClient) -> None:
    with patch("dovetail_magiclink.issuers.find_spec", return_value=None):
        ask()
        answer = post("verify", token=mailed_code())
    assert answer.json().keys() == {"user"}
    assert client.session["_auth_user_id"] == str(user.pk)


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
