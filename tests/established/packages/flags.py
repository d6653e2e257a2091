from __future__ import annotations

SETTINGS = """
INSTALLED_APPS += ["dovetail_flags"]
MIDDLEWARE = [*MIDDLEWARE, "dovetail_flags.middleware.FlagsMiddleware"]
"""
URLS = """
urlpatterns += [
    path("api/v1/", include("dovetail_flags.api.urls")),
    path("admin/v1/", include("dovetail_flags.api.admin_urls")),
    path("", include("dovetail_flags.api.ofrep_urls")),
]
# Before the admin site, whose pattern takes everything below admin/.
urlpatterns.insert(0, urlpatterns.pop(-2))
"""
