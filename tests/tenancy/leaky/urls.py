"""One URLconf for each kind of leak, for ``assert_isolated``."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from django.urls import include, path
from rest_framework.routers import DefaultRouter, SimpleRouter

from tests.tenancy.leaky import views


def module(name: str, *urlpatterns: Any) -> str:
    made = ModuleType(f"{__name__}_{name}")
    made.urlpatterns = [*urlpatterns]  # type: ignore[attr-defined]  # what makes it a URLconf
    sys.modules[made.__name__] = made
    return made.__name__


def viewset(name: str, view: Any, prefix: str = "documents") -> str:
    router = SimpleRouter()
    router.register(prefix, view, basename="document")
    return module(name, path("api/", include(router.urls)))


_default = DefaultRouter()
_default.register("documents", views.Closed)

CLOSED = {
    "viewset": viewset("closed", views.Closed),
    "viewset of a DefaultRouter": module("default", path("", include(_default.urls))),
    "nested": viewset("nested", views.ClosedNested, r"folders/(?P<folder>[^/.]+)/documents"),
    "function": module("titles", path("titles/", views.closed_titles)),
    "function that writes": module("note", path("note/", views.closed_note)),
}

#: The URLconfs and the expected reports.
OPEN = {
    "list": (viewset("list", views.OpenList), "GET api/^documents/$: shows documents.Document"),
    "detail": (viewset("detail", views.OpenDetail), "GET api/^documents/(?P<pk>[^/.]+)/$: with pk of theirs"),
    "nested list": (
        viewset("open_nested", views.OpenNested, r"folders/(?P<folder>[^/.]+)/documents"),
        "with folder of theirs in its path shows documents.Document",
    ),
    "update": (viewset("update", views.OpenUpdate), "changes a documents.Document of theirs"),
    "delete": (viewset("delete", views.OpenDelete), "removes a documents.Document of theirs"),
    "action": (viewset("action", views.OpenAction), "with pk of theirs in its path answers 204, but refuses"),
    "key in a body": (viewset("body", views.OpenBody), "refers to a documents.Folder of theirs by 'folder'"),
    "key in a nested body": (
        viewset("nested_body", views.OpenNestedBody),
        "by 'notes.0.document' in its body is accepted: a documents.Note of ours refers to a documents.Document",
    ),
    "organization in a body": (viewset("organization", views.OpenOrganization), "adds a documents.Folder of theirs"),
    "function": (module("open_titles", path("titles/", views.open_titles)), "GET titles/: shows documents.Document"),
    "async function": (module("open_async", path("titles/", views.open_titles_async)), "shows documents.Document"),
    "stream": (module("open_stream", path("stream/", views.open_stream)), "shows documents.Document"),
    "async stream": (module("open_astream", path("stream/", views.open_stream_async)), "shows documents.Document"),
    "count": (module("count", path("count/", views.open_count)), "answers differently since another organization"),
    "function that writes": (
        module("open_note", path("note/", views.open_note)),
        "by 'document' in its body is accepted",
    ),
    "page by a text": (
        module("page", path("page/<slug:slug>/", views.OpenPage.as_view())),
        "with slug of theirs in its path",
    ),
}
