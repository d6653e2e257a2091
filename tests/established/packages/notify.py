from __future__ import annotations

SETTINGS = """
INSTALLED_APPS += ["dovetail_notify"]
NOTIFY_SITE_URL = "https://app.example.com"
# Django 6.1 wants to be told; those before do not know it.
MAILERS = {"default": {"BACKEND": "django.core.mail.backends.locmem.EmailBackend"}}
"""
URLS = """
urlpatterns += [path("api/v1/", include("dovetail_notify.api.urls"))]
"""
