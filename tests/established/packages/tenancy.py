from __future__ import annotations

SETTINGS = """
INSTALLED_APPS += ["dovetail_tenancy"]
MIDDLEWARE += ["dovetail_tenancy.middleware.TenantMiddleware"]
TENANCY_ORGANIZATION_MODEL = "companies.Company"
TENANCY_INVITATION_ACCEPT_URL = "https://app.example.com/invitations#token={token}"
"""
URLS = """
urlpatterns += [path("api/v1/", include("dovetail_tenancy.api.urls"))]
"""
