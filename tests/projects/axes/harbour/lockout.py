from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse


def locked(request: HttpRequest, response: HttpResponse | None, credentials: dict[str, Any] | None) -> JsonResponse:
    """Answer in the project's own form a sign-in that axes has stopped."""
    return JsonResponse({"locked": True, "hours": 1}, status=429, headers={"Retry-After": "3600"})
