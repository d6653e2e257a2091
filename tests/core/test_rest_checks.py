from __future__ import annotations

from typing import Any

import pytest
from django.test import modify_settings
from rest_framework.authentication import BasicAuthentication

from dovetail_core.rest.checks import check_without_auth

ANONYMOUS = "django.contrib.auth.models.AnonymousUser"
W007, W008 = "dovetail_core.W007", "dovetail_core.W008"


class Directory(BasicAuthentication):
    def authenticate_credentials(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError


class Realm(BasicAuthentication):
    www_authenticate_realm = "parcels"


class Backend:
    pass


def path(item: type) -> str:
    return f"{__name__}.{item.__name__}"


@modify_settings(INSTALLED_APPS={"remove": ["django.contrib.auth"]})
@pytest.mark.parametrize(
    ("configured", "ids"),
    [
        ({}, [W007, W008]),
        ({"UNAUTHENTICATED_USER": ANONYMOUS}, [W007, W008]),
        ({"UNAUTHENTICATED_USER": None}, [W008]),
        ({"UNAUTHENTICATED_USER": path(Backend)}, [W008]),
        ({"DEFAULT_AUTHENTICATION_CLASSES": []}, [W007]),
        ({"DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.SessionAuthentication"]}, [W007]),
        ({"DEFAULT_AUTHENTICATION_CLASSES": [path(Directory)]}, [W007]),
        ({"DEFAULT_AUTHENTICATION_CLASSES": [path(Realm)]}, [W007, W008]),
    ],
)
def test_default_classes_that_need_contrib_auth_are_warnings(settings: Any, configured: Any, ids: list[str]) -> None:
    # A path that cannot be imported stands for ModelBackend, which this process has imported already.
    settings.AUTHENTICATION_BACKENDS = ["parcels.Missing"]
    settings.REST_FRAMEWORK = configured
    assert [message.id for message in check_without_auth()] == ids


@modify_settings(INSTALLED_APPS={"remove": ["django.contrib.auth"]})
def test_backends_of_the_project_authenticate_without_contrib_auth(settings: Any) -> None:
    settings.AUTHENTICATION_BACKENDS = [path(Backend)]
    settings.REST_FRAMEWORK = {"UNAUTHENTICATED_USER": None}
    assert list(check_without_auth()) == []


def test_default_classes_with_contrib_auth_are_no_warnings(settings: Any) -> None:
    settings.REST_FRAMEWORK = {}
    assert list(check_without_auth()) == []
