"""A project without ``django.contrib.auth`` and without a user model."""

from __future__ import annotations

from pathlib import Path

from tests.without_auth import run

# A project may define its default classes in one module, which rest_framework.views imports.
DEFAULTS = """
from dovetail_contract.filters import FilterBackend
from dovetail_contract.pagination import CursorPagination
from dovetail_contract.throttling import RateLimitThrottle
from dovetail_contract.validation.parsers import JSONParser
from rest_framework.permissions import AllowAny


class Pagination(CursorPagination):
    max_limit = 10
"""
SETTINGS = """
INSTALLED_APPS[:] = ["rest_framework", "dovetail_contract"]
AUTH_USER_MODEL = "auth.User"  # Django's default
MIDDLEWARE[:] = [
    "dovetail_contract.middleware.RequestIDMiddleware",
    "dovetail_contract.middleware.CacheControlMiddleware",
    "dovetail_contract.middleware.ProblemMiddleware",
    "dovetail_contract.middleware.RateLimitMiddleware",
    *MIDDLEWARE,
    "dovetail_contract.middleware.IdempotencyMiddleware",
]
ROOT_URLCONF = "endpoints"
CONTRACT_API_PATHS = ["/api/"]
SUBJECTS = ("user", "anonymous", "caller", "organization")
CONTRACT_RATE_LIMITS = {name: {"rate": "100/min", "by": name} for name in SUBJECTS}
CONTRACT_RATE_LIMIT_DEFAULT = [*CONTRACT_RATE_LIMITS]
REST_FRAMEWORK |= {
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": ["defaults.AllowAny"],
    "DEFAULT_THROTTLE_CLASSES": ["defaults.RateLimitThrottle"],
    "DEFAULT_PARSER_CLASSES": ["defaults.JSONParser"],
    "DEFAULT_FILTER_BACKENDS": ["defaults.FilterBackend"],
    "DEFAULT_PAGINATION_CLASS": "defaults.Pagination",
    "EXCEPTION_HANDLER": "dovetail_contract.problems.exception_handler",
}
"""
ENDPOINTS = """
from django.urls import include, path
from dovetail_contract.models import IdempotencyRecord
from dovetail_contract.problems import handler400, handler403, handler404, handler500
from rest_framework.generics import ListAPIView
from rest_framework.response import Response
from rest_framework.serializers import ModelSerializer


class RecordSerializer(ModelSerializer):
    class Meta:
        model = IdempotencyRecord
        fields = ["key"]


class RecordsView(ListAPIView):
    queryset = IdempotencyRecord.objects.all()
    serializer_class = RecordSerializer
    contract = {"filter": {"key": ["eq"]}, "sort": ["created_at"]}

    def post(self, request):
        return Response({"user": request.user, "auth": request.auth})


urlpatterns = [path("api/records/", RecordsView.as_view()), path("", include("dovetail_contract.urls"))]
"""
CODE = """
answer = anonymous.get("/api/records/?filter[key]=a&sort=-created_at&limit=10")
assert (answer.status_code, answer.json()["data"]) == (200, []), answer.content
assert {"X-Request-ID", "RateLimit", "Cache-Control"} <= {*answer.headers}, answer.headers
assert anonymous.get("/api/records/?limit=11").json()["code"] == "invalid_query"
assert anonymous.get("/api/nowhere/").json()["code"] == "not_found"
assert anonymous.get("/problems").status_code == 200

for _ in range(2):
    # An anonymous request has no key: nobody else may get its response.
    answer = anonymous.post("/api/records/", {}, format="json", headers={"Idempotency-Key": "a"})
    assert (answer.status_code, answer.json()) == (200, {"user": None, "auth": None}), answer.content
    assert "Idempotent-Replayed" not in answer.headers
"""


def test_all_parts_work_without_contrib_auth_and_a_user_model(tmp_path: Path) -> None:
    (tmp_path / "defaults.py").write_text(DEFAULTS)
    (tmp_path / "endpoints.py").write_text(ENDPOINTS)
    run(SETTINGS, CODE, tmp_path)
