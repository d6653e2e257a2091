from __future__ import annotations

SETTINGS = """
INSTALLED_APPS += ["dovetail_apikeys"]
# After the project's own class. Only the views under api/machines/ declare keys.
REST_FRAMEWORK["DEFAULT_AUTHENTICATION_CLASSES"].append("dovetail_apikeys.api.authentication.APIKeyAuthentication")
API_KEYS_ORGANIZATION_MODEL = "companies.Company"
"""
URLS = """
from archive.views import ArchivedOrderList
from dovetail_apikeys.api.permissions import HasAPIKey, IsHuman
from orders.views import OrderViewSet

urlpatterns += [
    path("api/machines/archive/", ArchivedOrderList.as_view(permission_classes=[HasAPIKey])),
    path("api/machines/orders/", OrderViewSet.as_view({"get": "list"}, permission_classes=[HasAPIKey | IsHuman])),
]
urlpatterns += [path("api/v1/", include("dovetail_apikeys.api.urls"))]
"""
