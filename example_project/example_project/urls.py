from __future__ import annotations

from django.conf import settings
from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path

from console.views import ConsoleView
from dovetail_contract.problems import handler400, handler403, handler404, handler500

__all__ = ["handler400", "handler403", "handler404", "handler500"]

urlpatterns: list[URLPattern | URLResolver] = [
    # Django tries the patterns in this order, so those of most requests come first.
    path("api/v1/", include("billing.api.urls")),
    path("api/v1/", include("dovetail_identity.api.v1_urls")),
    path("api/v1/", include("dovetail_notify.api.urls")),
    path("api/v1/", include("dovetail_tenancy.api.urls")),
    path("api/v1/", include("dovetail_apikeys.api.urls")),
    path("api/v1/", include("dovetail_audit.api.urls")),
    path("api/v1/", include("dovetail_flags.api.urls")),
    path("api/auth/", include("dovetail_identity.api.urls")),
    path("api/auth/", include("dovetail_magiclink.api.urls")),
    path("", include("dovetail_contract.urls")),
    # At the root, where the clients of OpenFeature expect it.
    path("", include("dovetail_flags.api.ofrep_urls")),
    path("admin/v1/", include("dovetail_adminapi.api.urls")),
    path("django-admin/", admin.site.urls),
]

if settings.ADMINAPI_IMPERSONATION:
    urlpatterns += [path("api/v1/", include("dovetail_adminapi.support.customer_urls"))]

if settings.CONSOLE_ENABLED:
    urlpatterns += [path("console/", ConsoleView.as_view(), name="console")]

if settings.API_DOCS_ENABLED:
    urlpatterns += [path("api/", include("example_project.documentation"))]
