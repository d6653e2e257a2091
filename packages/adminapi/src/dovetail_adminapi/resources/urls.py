from __future__ import annotations

from collections.abc import Iterator

from django.urls import URLPattern, path

from dovetail_adminapi.resources.configuration import Resource, resources
from dovetail_adminapi.resources.views import resource_view
from dovetail_core.conf import conf


def patterns(resource: Resource) -> Iterator[URLPattern]:
    """Yield the routes of a resource: ``users``, ``users/{pk}``, ``users/{pk}/deactivate``."""
    slash = "/" if conf.TRAILING_SLASH else ""
    view = resource_view(resource)
    base, row = resource.name, f"{resource.name}/<str:pk>"
    name = resource.singular
    yield path(f"{base}{slash}", view.as_view({"get": "list"}), name=f"{name}-list")
    yield path(f"{row}{slash}", view.as_view({"get": "retrieve"}), name=f"{name}-detail")
    for action in resource.actions:
        method = action.name.replace("-", "_")
        yield path(f"{row}/{action.name}{slash}", view.as_view({"post": method}), name=f"{name}-{action.name}")
    for related in resource.lists:
        related_view = resource_view(resource, related).as_view({"get": "list"})
        yield path(f"{row}/{related.name}{slash}", related_view, name=f"{name}-{related.name}-list")


urlpatterns = [pattern for resource in resources() for pattern in patterns(resource)]
