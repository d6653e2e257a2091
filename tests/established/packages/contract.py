from __future__ import annotations

SETTINGS = """
INSTALLED_APPS += ["dovetail_contract"]
MIDDLEWARE = [
    "dovetail_contract.middleware.RequestIDMiddleware",
    "dovetail_contract.middleware.ProblemMiddleware",
    "dovetail_contract.middleware.RateLimitMiddleware",
    *MIDDLEWARE,
]
REST_FRAMEWORK |= {
    "EXCEPTION_HANDLER": "dovetail_contract.problems.exception_handler",
    "DEFAULT_SCHEMA_CLASS": "dovetail_contract.schema.AutoSchema",
    "DEFAULT_THROTTLE_CLASSES": ["dovetail_contract.throttling.RateLimitThrottle"],
    "DEFAULT_THROTTLE_RATES": {"user": "10000/min", "contract": "2/hour"},
}
SPECTACULAR_SETTINGS = {
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "dovetail_contract.schema.postprocess",
    ]
}
CONTRACT_PROBLEM_VERBATIM = ["invalid_or_expired"]
CONTRACT_RATE_LIMIT_FAILURES = "10000/min"
CSRF_FAILURE_VIEW = "dovetail_contract.problems.csrf_failure"
"""
LAST = """
MIDDLEWARE += ["dovetail_contract.middleware.IdempotencyMiddleware"]
"""
URLS = """
from dovetail_contract.problems import handler400, handler403, handler404, handler500
from dovetail_contract.filters import FilterBackend
from dovetail_contract.pagination import CursorPagination
from orders.views import OrderViewSet

class PagedOrders(OrderViewSet):
    pagination_class = CursorPagination
    filter_backends = [FilterBackend]
    contract = {"filter": {"number": ["eq"]}, "sort": ["number"], "throttle": "contract"}

urlpatterns += [
    path("", include("dovetail_contract.urls")),
    path("api/paged/orders/", PagedOrders.as_view({"get": "list"})),
]
"""
