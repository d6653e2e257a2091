"""Responses of the API are not stored by caches, unless the view allows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client, RequestFactory, override_settings
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.views import APIView

from dovetail_contract.conf import conf
from dovetail_contract.middleware import CacheControlMiddleware


class ByHeader(BaseAuthentication):
    @classmethod
    def get_vary_headers(cls) -> Sequence[str]:
        return ["Authorization", "X-Key"]


class ByAuthorization(BaseAuthentication):
    pass


def answer(classes: Any, path: str = "/api/x", initkwargs: Any = None, **headers: str) -> HttpResponse:
    class View(APIView):
        authentication_classes = classes

    middleware = CacheControlMiddleware(lambda request: HttpResponse(headers=headers))
    request: HttpRequest = RequestFactory().get(path)
    assert middleware.process_view(request, View.as_view(**(initkwargs or {})), (), {}) is None
    response = middleware(request)
    assert isinstance(response, HttpResponse)
    return response


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/api/orders", "/api/nowhere", "/api/fail/defect"])
def test_responses_and_errors_are_not_stored(path: str) -> None:
    """Responses to a signed-in user had no ``Cache-Control``, so a browser stored them."""
    client = Client(raise_request_exception=False)
    assert client.get(path).headers["Cache-Control"] == "no-store"
    assert async_to_sync(AsyncClient(raise_request_exception=False).get)(path).headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("value", ["max-age=60", "private, max-age=5", "public"])
def test_view_keeps_its_own_cache_control(value: str) -> None:
    assert answer([], **{"Cache-Control": value}).headers["Cache-Control"] == value


def test_other_paths_are_not_changed() -> None:
    response = answer([ByAuthorization], "/admin/")
    assert "Cache-Control" not in response.headers
    assert "Vary" not in response.headers


@pytest.mark.parametrize(
    ("classes", "present", "vary"),
    [
        ([], "", None),
        ([ByAuthorization], "", "Authorization"),
        ([ByHeader, ByAuthorization, SessionAuthentication], "Accept", "Accept, Authorization, X-Key, Cookie"),
        ([ByHeader], "authorization", "authorization, X-Key"),
    ],
)
def test_vary_names_the_headers_of_credentials(classes: Any, present: str, vary: str | None) -> None:
    assert answer(classes, **({"Vary": present} if present else {})).headers.get("Vary") == vary


@pytest.mark.parametrize(("classes", "vary"), [([SessionAuthentication], "Cookie"), ([], None)])
def test_vary_follows_the_classes_of_as_view(classes: Any, vary: str | None) -> None:
    initkwargs = {"authentication_classes": classes}
    assert answer([ByAuthorization], initkwargs=initkwargs).headers.get("Vary") == vary
    assert answer([ByAuthorization]).headers["Vary"] == "Authorization"


@override_settings(CONTRACT_CACHE_CONTROL="private, no-cache")
def test_setting_changes_the_value() -> None:
    assert answer([]).headers["Cache-Control"] == "private, no-cache"


@pytest.mark.parametrize("value", ["public", "", "no-cache", 5, "max-age=5, publicprivate"])
def test_setting_cannot_publish_responses(value: Any) -> None:
    with override_settings(CONTRACT_CACHE_CONTROL=value):
        (message,) = conf.check()
    assert "'no-store' or 'private'" in message.msg
