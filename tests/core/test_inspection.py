from __future__ import annotations

from typing import Any

from django.test import override_settings
from django.urls import include, path, re_path
from django.utils.functional import classproperty

from dovetail_core.inspection import base_paths, classes_of, declared, path_of, routes
from tests.core import parcel
from tests.core.parcel import urlconf


class Box:
    class Lid(dict[str, Any]):
        pass


def view(request: Any) -> Any: ...


def test_routes_have_paths_arguments_modules_and_app_names() -> None:
    parcels = include(("dovetail_parcel.api.urls", "parcels"))
    with parcel.project(ROOT_URLCONF=urlconf(path("api/<slug:firm>/", parcels), re_path(r"^boxes/", view))):
        first, second = routes()
    assert first.path == "api/<slug:firm>/parcels/<int:number>/"
    assert first.arguments == ("firm", "number")
    assert first.modules == ("URLs", "dovetail_parcel.api.urls")
    assert first.app_names == ("", "parcels")
    assert (second.path, second.callback) == ("boxes/", view)


def test_entries_that_are_no_routes_are_skipped() -> None:
    with parcel.project(ROOT_URLCONF=urlconf(("boxes/", view), path("parcels/", view))):
        assert [route.path for route in routes()] == ["parcels/"]


def test_attributes_of_views_are_read_as_declared() -> None:
    def refuse(owner: Any) -> Any:
        raise LookupError

    attributes = {"throttle_classes": [dict], "queryset": property(refuse), "contract": classproperty(refuse)}
    callback = type("View", (), {"cls": type("Boxes", (), attributes), "initkwargs": {"pagination_class": None}})
    assert declared(callback, "throttle_classes") == [dict]
    assert classes_of(callback, "throttle_classes") == (dict,)
    assert classes_of(callback, "queryset") == ()
    assert [declared(callback, name, 1) for name in ("queryset", "contract", "lookup_field")] == [1, 1, 1]
    assert declared(callback, "pagination_class", 1) is None


def test_project_without_urls_has_no_routes() -> None:
    with override_settings(ROOT_URLCONF=None):
        assert list(routes()) == []


def test_paths_of_classes_are_nearest_first() -> None:
    assert path_of(test_paths_of_classes_are_nearest_first) == f"{__name__}.test_paths_of_classes_are_nearest_first"
    assert base_paths(Box.Lid) == [f"{__name__}.Box.Lid", "builtins.dict", "builtins.object"]
    assert base_paths(None) == []
