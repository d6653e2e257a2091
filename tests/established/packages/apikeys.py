from __future__ import annotations

SETTINGS = """
INSTALLED_APPS += ["dovetail_apikeys"]
# Last: nobody stays 403, and the project's answers what they were.
REST_FRAMEWORK["DEFAULT_AUTHENTICATION_CLASSES"].append("dovetail_apikeys.api.authentication.APIKeyAuthentication")
API_KEYS_ORGANIZATION_MODEL = "companies.Company"
"""
URLS = """
urlpatterns += [path("api/v1/", include("dovetail_apikeys.api.urls"))]
"""
