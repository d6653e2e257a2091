from __future__ import annotations

SETTINGS = """
INSTALLED_APPS += ["dovetail_audit"]
MIDDLEWARE = [*MIDDLEWARE, "dovetail_audit.middleware.AuditMiddleware"]
"""
URLS = """
urlpatterns += [path("api/v1/", include("dovetail_audit.api.urls"))]
"""
