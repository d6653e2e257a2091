from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
from django.urls import path
from rest_framework import serializers
from rest_framework.generics import UpdateAPIView

pytest.importorskip("drf_spectacular", reason="needs drf-spectacular")


@pytest.fixture
def user(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A serializer class of a module whose components have the prefix ``Parcel``."""
    from drf_spectacular.extensions import OpenApiSerializerExtension

    from dovetail_core.rest.schema import prefix_components

    monkeypatch.setattr(OpenApiSerializerExtension, "_registry", [])
    module = ModuleType("parcel_serializers")
    attributes = {"__module__": module.__name__, "name": serializers.CharField()}
    user = type("UserSerializer", (serializers.Serializer,), attributes)
    vars(module).update(UserSerializer=user, Imported=serializers.ModelSerializer, number=5)
    prefix_components(module, "Parcel")
    return user


def test_components_get_a_prefix_and_subclasses_keep_their_names(user: Any) -> None:
    from drf_spectacular.extensions import OpenApiSerializerExtension

    match: Any = OpenApiSerializerExtension.get_match(user())
    assert match.get_name(None, "response") == "ParcelUser"
    assert len(OpenApiSerializerExtension._registry) == 1
    assert OpenApiSerializerExtension.get_match(type("OwnUserSerializer", (user,), {})()) is None


def test_partial_update_requires_no_field(user: Any) -> None:
    from drf_spectacular.generators import SchemaGenerator
    from drf_spectacular.openapi import AutoSchema

    attributes = {"serializer_class": user, "schema": AutoSchema(), "permission_classes": ()}
    view: Any = type("UserView", (UpdateAPIView,), attributes)
    generator: Any = SchemaGenerator
    schema = generator(patterns=[path("users/", view.as_view())]).get_schema(public=True)
    components = schema["components"]["schemas"]
    assert components["ParcelUser"]["required"] == ["name"]
    assert "required" not in components["PatchedParcelUser"]
