from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from django.apps import apps
from django.conf import settings
from django.core.management import CommandError, call_command, load_command_class
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.test import override_settings
from django.urls import path
from rest_framework import serializers
from rest_framework.authentication import BaseAuthentication
from rest_framework.generics import GenericAPIView
from rest_framework.permissions import IsAuthenticated
from rest_framework.views import APIView
from rest_framework_simplejwt.authentication import JWTAuthentication

from dovetail_apikeys.api.authentication import APIKeyAuthentication
from dovetail_apikeys.api.permissions import IsHuman
from dovetail_core.doctor import Command, Project
from dovetail_identity.api.authentication import JWTAuthentication as SessionJWTAuthentication
from dovetail_identity.api.permissions import IsPerson
from dovetail_tenancy.api.permissions import HasOrganizationPermission
from example_project import documentation
from example_project.urls import urlpatterns
from tests.wheels import ROOT

pytestmark = pytest.mark.django_db

REQUEST_ID = "dovetail_contract.middleware.RequestIDMiddleware"
TENANT = "dovetail_tenancy.middleware.TenantMiddleware"
AUTHENTICATION = "django.contrib.auth.middleware.AuthenticationMiddleware"
SIGN_IN_LIMIT = "dovetail_identity.middleware.SignInLimitMiddleware"


class OwnAuthentication(BaseAuthentication):
    """Of a project, without a challenge: anonymous requests get 403."""


class ParcelSerializer(serializers.Serializer[Any]):
    number = serializers.IntegerField()


class OtherParcelSerializer(serializers.Serializer[Any]):
    weight = serializers.IntegerField()


OtherParcelSerializer.__name__ = "ParcelSerializer"


class ParcelView(GenericAPIView[Any]):
    permission_classes = [IsAuthenticated]
    serializer_class = ParcelSerializer

    def get(self, request: Any) -> Any: ...


class OtherView(ParcelView):
    permission_classes = [IsHuman]
    serializer_class = OtherParcelSerializer


class BrokenView(ParcelView):
    def get_permissions(self) -> Any:
        raise KeyError("role")


def findings(**options: Any) -> dict[tuple[str, str], str]:
    """Run the command, and return the texts of errors and warnings by package and id."""
    output, failed = StringIO(), False
    with override_settings(**options):
        try:
            call_command("dovetail_doctor", "--json", stdout=output)
        except CommandError:
            failed = True
    items = json.loads(output.getvalue())["findings"]
    texts: dict[tuple[str, str], str] = {}
    for item in items:
        if item["level"] != "info":
            key = (item["package"], item["id"])
            texts[key] = "\n".join([texts.get(key, ""), item["message"], item["next_step"]])
    assert failed == bool(texts)
    return texts


def middleware(*, first: tuple[str, ...] = (), last: tuple[str, ...] = (), without: tuple[str, ...] = ()) -> list[str]:
    others = [name for name in settings.MIDDLEWARE if name not in {*first, *last, *without}]
    return [*first, *others, *last]


def urls(*patterns: Any) -> Any:
    return type("URLs", (), {"urlpatterns": patterns})


def test_each_package_has_the_command() -> None:
    packages = [config.name for config in apps.get_app_configs() if config.name.startswith("dovetail_")]
    assert len(packages) >= 6
    for package in packages:
        assert type(load_command_class(package, "dovetail_doctor")) is Command


def test_urls_to_paste_are_those_of_the_readmes() -> None:
    contributions = list(Project().contributed("URLCONFS"))
    assert len(contributions) >= 6
    for package, urlconfs in contributions:
        readme = (ROOT / "packages" / package.removeprefix("dovetail_") / "README.md").read_text()
        for urlconf in urlconfs:
            assert f'path("{urlconf.path}", include("{urlconf.module}"))' in readme


def test_example_project_is_healthy() -> None:
    assert findings() == {}


def test_mistakes_are_named() -> None:
    MigrationRecorder(connection).migration_qs.filter(app="dovetail_apikeys").delete()
    own, rejecting, unaware = (
        OtherView.as_view(authentication_classes=classes)
        for classes in (
            [APIKeyAuthentication, OwnAuthentication],
            [JWTAuthentication, APIKeyAuthentication],
            [JWTAuthentication, SessionJWTAuthentication],
        )
    )
    texts = findings(
        MIDDLEWARE=middleware(first=(TENANT, SIGN_IN_LIMIT), last=(REQUEST_ID,)),
        ROOT_URLCONF=urls(
            path("open/", ParcelView.as_view()),
            path("people/", ParcelView.as_view(permission_classes=[IsPerson])),
            path("roles/", ParcelView.as_view(permission_classes=[HasOrganizationPermission("members.view")])),
            path("own/", own),
            path("rejecting/", rejecting),
            path("unaware/", unaware),
            *(item for item in urlpatterns if "notify" not in str(getattr(item, "urlconf_name", ""))),
        ),
        API_KEYS_BRAND="not a brand",
        SILENCED_SYSTEM_CHECKS=["dovetail_apikeys.E001"],
    )
    expected = {
        ("dovetail_apikeys", "authentication.order"): "APIKeyAuthentication comes before the project's tests.",
        ("dovetail_apikeys", "check.silenced"): "SILENCED_SYSTEM_CHECKS hides dovetail_apikeys.E001: API_KEYS_BRAND",
        ("dovetail_apikeys", "migrations.unapplied"): "0001_initial",
        ("dovetail_apikeys", "view.open"): "ParcelView accepts every API key, whatever its scopes: GET open/.",
        ("dovetail_audit", "middleware.order"): "dovetail_audit.middleware.AuditMiddleware comes before ",
        ("dovetail_contract", "middleware.order"): f"comes before {REQUEST_ID}: ",
        ("dovetail_core", "components.collision"): "'Parcel'",
        ("dovetail_identity", "authentication.order"): "or accepts them after sign-out",
        ("dovetail_identity", "middleware.order"): f"{SIGN_IN_LIMIT} comes before {AUTHENTICATION}: ",
        ("dovetail_notify", "urls.missing"): "includes no URLs of the package",
        ("dovetail_tenancy", "middleware.order"): f"{TENANT} comes before {AUTHENTICATION}: ",
    }
    assert texts.keys() == expected.keys()
    for key, text in expected.items():
        assert text in texts[key]
    rejecting_class = "rest_framework_simplejwt.authentication.JWTAuthentication comes before APIKeyAuthentication"
    assert rejecting_class in texts["dovetail_apikeys", "authentication.order"]
    assert f'"{AUTHENTICATION}", ..., "{TENANT}"' in texts["dovetail_tenancy", "middleware.order"]
    assert 'include("dovetail_notify.api.urls")' in texts["dovetail_notify", "urls.missing"]


def test_missing_parts_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    classes = ["dovetail_apikeys.api.authentication.APIKeyAuthentication"]
    monkeypatch.setattr(APIView, "authentication_classes", [APIKeyAuthentication])
    # The views of drf-spectacular have read the setting when they were imported, and so has the admin API.
    read = {documentation.__name__, "dovetail_adminapi.api.urls"}
    others = [item for item in urlpatterns if getattr(getattr(item, "urlconf_name", None), "__name__", "") not in read]
    texts = findings(
        MIDDLEWARE=middleware(without=(REQUEST_ID, TENANT)),
        ROOT_URLCONF=urls(path("broken/", BrokenView.as_view()), *others),
        REST_FRAMEWORK={**settings.REST_FRAMEWORK, "DEFAULT_AUTHENTICATION_CLASSES": classes},
    )
    # The broken view stops drf-spectacular too.
    assert texts.keys() - {("dovetail_core", "components.unreadable")} == {
        ("dovetail_contract", "middleware.missing"),
        ("dovetail_core", "view.unreadable"),
        ("dovetail_identity", "credentials.unaccepted"),
        ("dovetail_magiclink", "dovetail_magiclink.E008"),
        ("dovetail_tenancy", "middleware.missing"),
    }
    assert REQUEST_ID in texts["dovetail_contract", "middleware.missing"]
    assert TENANT in texts["dovetail_tenancy", "middleware.missing"]
    assert "BrokenView (GET broken/)" in texts["dovetail_core", "view.unreadable"]
    uses = "MAGIC_LINK_TOKEN_ISSUER, TENANCY_TOKEN_ISSUER, api/auth/jwt/token/"
    assert uses in texts["dovetail_identity", "credentials.unaccepted"]
