from __future__ import annotations

SETTINGS = """
INSTALLED_APPS += ["dovetail_magiclink"]
MAGIC_LINK_VERIFY_URL = "https://app.example.com/magic-verify"
"""
URLS = """
urlpatterns += [path("api/auth/", include("dovetail_magiclink.api.urls"))]
"""
