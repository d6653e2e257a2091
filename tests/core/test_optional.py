from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest
from django.apps import apps
from django.core.checks.registry import CheckRegistry

from dovetail_core import optional


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[CheckRegistry]:
    registry = CheckRegistry()
    monkeypatch.setattr(optional.checks, "register", registry.register)
    monkeypatch.setattr(apps, "is_installed", lambda name: name == "drf_spectacular")
    yield registry
    sys.modules.pop("parcel_schema", None)


def write(path: Any, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    (path / "parcel_schema.py").write_text(text)
    monkeypatch.syspath_prepend(path)


def test_schema_extension_is_imported(registry: CheckRegistry, tmp_path: Any, monkeypatch: Any) -> None:
    write(tmp_path, monkeypatch, "")
    optional.import_schema_extension("parcel_schema")
    assert "parcel_schema" in sys.modules
    assert registry.run_checks() == []


def test_unsupported_release_is_a_warning_and_no_error(
    registry: CheckRegistry, tmp_path: Any, monkeypatch: Any
) -> None:
    write(tmp_path, monkeypatch, "from string import of_a_later_release")
    optional.import_schema_extension("parcel_schema")
    (message,) = registry.run_checks()
    assert message.id == "dovetail_core.W006"
    assert "parcel_schema cannot be imported" in message.msg
    assert "of_a_later_release" in message.msg
    assert message.hint == "Install drf-spectacular 0.28 or later."


def test_nothing_is_imported_without_the_library(registry: CheckRegistry, monkeypatch: Any) -> None:
    monkeypatch.setattr(apps, "is_installed", lambda name: False)
    optional.import_schema_extension("no_such_module")
    assert registry.run_checks() == []


PARCEL_SERIALIZERS = """
from rest_framework.serializers import Serializer

class UserSerializer(Serializer):
    class Meta:
        fields = ["id"]

class _ParcelSerializer(Serializer):
    pass

number = 5
"""


def definition(serializer: Any) -> str:
    """Return the name that drf-yasg gives the serializer."""
    default = serializer.__name__.removesuffix("Serializer")
    return getattr(getattr(serializer, "Meta", None), "ref_name", default)


@pytest.fixture
def parcels(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    (tmp_path / "parcel_serializers.py").write_text(PARCEL_SERIALIZERS)
    monkeypatch.syspath_prepend(tmp_path)
    yield "parcel_serializers"
    sys.modules.pop("parcel_serializers", None)


@pytest.mark.parametrize(
    ("app", "names"), [("drf_yasg", ["OwnUser", "OwnParcel"]), ("drf_spectacular", ["User", "_Parcel"])]
)
def test_definitions_get_a_prefix_if_drf_yasg_is_installed(
    parcels: str, monkeypatch: pytest.MonkeyPatch, app: str, names: list[str]
) -> None:
    monkeypatch.setattr(apps, "is_installed", lambda installed: installed == app)
    optional.prefix_definitions(parcels, "Own")
    module = import_module(parcels)
    assert [definition(module.UserSerializer), definition(module._ParcelSerializer)] == names


def test_subclasses_keep_their_definitions(parcels: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apps, "is_installed", lambda installed: installed == "drf_yasg")
    optional.prefix_definitions(parcels, "Own")
    parent: Any = import_module(parcels).UserSerializer

    class BriefUserSerializer(parent):  # type: ignore[misc]
        pass

    class FullUserSerializer(parent):  # type: ignore[misc]
        class Meta(parent.Meta):  # type: ignore[misc]
            fields = ("id", "name")

    assert [definition(item) for item in (BriefUserSerializer, FullUserSerializer)] == ["BriefUser", "FullUser"]


def test_serializers_that_need_a_missing_user_model_do_not_stop_the_start(
    parcels: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    (tmp_path / "parcel_serializers.py").write_text("from django.contrib.auth import get_user_model; get_user_model()")
    monkeypatch.setattr(apps, "is_installed", lambda installed: installed == "drf_yasg")
    settings.AUTH_USER_MODEL = "parcels.Missing"
    optional.prefix_definitions(parcels, "Own")
