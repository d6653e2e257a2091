"""Views that existed before the package answer a request with a key as they did before."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.permissions import AllowAny, IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.settings import api_settings
from rest_framework.test import APIRequestFactory
from rest_framework.views import APIView

from dovetail_apikeys.api.authentication import APIKeyAuthentication
from dovetail_apikeys.api.permissions import HasAPIKey, HasScope, IsHuman
from tests.apikeys.factories import make_key, make_user

pytestmark = pytest.mark.django_db

DEFAULTS = (APIKeyAuthentication, SessionAuthentication)


@pytest.fixture(autouse=True)
def _declared(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.API_KEYS_ACCEPT = "declared"
    monkeypatch.setattr(APIView, "authentication_classes", DEFAULTS)


class Who(APIView):
    permission_classes: Any = [IsAuthenticated]

    def get(self, request: Request) -> Response:
        return Response(str(request.user.pk))


def call(view: type[APIView], raw: str | None = None, **initkwargs: Any) -> Any:
    headers: dict[str, Any] = {} if raw is None else {"HTTP_AUTHORIZATION": f"Bearer {raw}"}
    return view.as_view(**initkwargs)(APIRequestFactory().get("/", **headers))


class ByMethod(Who):
    def get_permissions(self) -> Any:
        # Reads the user, which is not known yet while the class looks for scopes.
        return [HasScope("orders:read")()] if not self.request.user.is_staff else [IsAuthenticated()]


class Described(Who):
    contract = {"scopes": {"read": "orders:read"}}


def of(*permissions: Any) -> dict[str, Any]:
    return {"permission_classes": list(permissions)}


@pytest.mark.parametrize(
    ("view", "initkwargs", "status"),
    [
        (Who, {}, 403),
        (Who, of(IsHuman), 403),
        (Who, of(~HasAPIKey & IsAuthenticated), 403),
        (Who, of(HasScope("orders:read")), 200),
        (Who, of(HasScope("orders:write")), 403),
        (Who, of(HasAPIKey), 200),
        (Who, of(IsHuman | HasScope("orders:read")), 200),
        (Who, of(HasScope("orders:read") & HasAPIKey), 200),
        (Who, {"authentication_classes": [APIKeyAuthentication]}, 200),
        (Who, {"authentication_classes": [*DEFAULTS]}, 200),
        (ByMethod, {}, 200),
        (Described, {}, 200),
    ],
)
def test_key_authenticates_where_the_view_declares_it(
    view: type[APIView], initkwargs: dict[str, Any], status: int
) -> None:
    _api_key, raw = make_key(scopes=["orders:read"])
    assert call(view, raw, **initkwargs).status_code == status


def test_key_authenticates_everywhere_by_setting(settings: Any) -> None:
    _api_key, raw = make_key()
    assert call(Who, raw).status_code == 403
    settings.API_KEYS_ACCEPT = "everywhere"
    assert call(Who, raw).status_code == 200


def test_other_views_ignore_invalid_keys_without_a_query(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        response = call(Who, "dvt_live_x", **of(AllowAny))
    assert (response.status_code, response.data) == (200, "None")
    assert call(Who, "dvt_live_x", **of(HasScope("orders:read"))).status_code == 401


class Challenging(BaseAuthentication):
    def authenticate(self, request: Request) -> None:
        return None

    def authenticate_header(self, request: Request) -> str:
        return "Token"


@pytest.mark.parametrize(
    ("classes", "status", "challenge"),
    [
        ((APIKeyAuthentication, SessionAuthentication), 403, None),
        ((SessionAuthentication, APIKeyAuthentication), 403, None),
        ((APIKeyAuthentication, Challenging), 401, "Token"),
        ((APIKeyAuthentication,), 401, 'Bearer realm="api"'),
    ],
)
def test_anonymous_response_is_that_of_the_other_classes(
    monkeypatch: pytest.MonkeyPatch, classes: Any, status: int, challenge: str | None
) -> None:
    monkeypatch.setattr(APIView, "authentication_classes", classes)
    response = call(Who)
    assert (response.status_code, response.get("WWW-Authenticate")) == (status, challenge)


def test_class_authenticates_where_code_calls_it() -> None:
    api_key, raw = make_key()
    request = Request(APIRequestFactory().get("/", HTTP_X_API_KEY=raw), authenticators=[APIKeyAuthentication()])
    assert request.user.pk == f"apikey:{api_key.pk}"


def test_signed_in_user_is_not_affected(rf: Any) -> None:
    request = rf.get("/")
    request.user, request._dont_enforce_csrf_checks = make_user(), True
    view: Callable[..., Any] = Who.as_view(**of(HasScope("orders:read")))
    assert view(request).status_code == 200


def test_permissions_accept_unauthenticated_user_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """REST framework's setting for projects without ``django.contrib.auth``."""
    monkeypatch.setattr(api_settings, "UNAUTHENTICATED_USER", None)
    for permission in (HasScope("orders:read"), HasAPIKey, IsHuman):
        assert call(Who, **of(permission), authentication_classes=[APIKeyAuthentication]).status_code == 401


IN_DEFAULTS = """
import django
from django.conf import settings

settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "rest_framework", "dovetail_apikeys"],
    API_KEYS_ORGANIZATION_MODEL="auth.User",
    REST_FRAMEWORK={
        "DEFAULT_AUTHENTICATION_CLASSES": ["dovetail_apikeys.api.authentication.APIKeyAuthentication"],
        "DEFAULT_PERMISSION_CLASSES": ["dovetail_apikeys.api.permissions.IsHuman"],
        "DEFAULT_THROTTLE_CLASSES": ["dovetail_apikeys.api.throttling.APIKeyRateThrottle"],
    },
)
django.setup()
from rest_framework.views import APIView
print([item.__name__ for item in (*APIView.permission_classes, *APIView.throttle_classes)])
"""


def test_classes_can_be_defaults_of_rest_framework() -> None:
    """``rest_framework.views`` imports them, so they must not import it."""
    result = subprocess.run([sys.executable, "-c", IN_DEFAULTS], capture_output=True, text=True, check=False)
    assert result.stdout.strip() == "['IsHuman', 'APIKeyRateThrottle']", result.stderr
