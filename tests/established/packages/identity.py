from __future__ import annotations

SETTINGS = """
INSTALLED_APPS += ["dovetail_identity"]
# Last: the first class decides between 401 and 403, and the project's answers stay what they were.
REST_FRAMEWORK["DEFAULT_AUTHENTICATION_CLASSES"].append("dovetail_identity.api.authentication.JWTAuthentication")
"""
URLS = """
urlpatterns += [
    path("api/auth/", include("dovetail_identity.api.urls")),
    path("api/v1/", include("dovetail_identity.api.v1_urls")),
]
"""
