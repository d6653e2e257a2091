"""``GET /health/live`` and ``GET /health/ready``, for process supervisors and load balancers."""

from __future__ import annotations

import logging
from uuid import uuid4

from asgiref.sync import sync_to_async
from django.core.cache import cache
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponseNotAllowed, JsonResponse
from django.http.response import HttpResponseBase

from dovetail_core.middleware import Middleware

logger = logging.getLogger(__name__)

Response = HttpResponseBase


class HealthMiddleware(Middleware):
    """Put it first: probes use the pod's address and plain HTTP, which the host check and the redirect to HTTPS reject.

    The responses contain only the names of failed checks. The reason is logged.
    """

    def respond(self, request: HttpRequest) -> Response:
        return answer(request) or self.get_response(request)

    async def arespond(self, request: HttpRequest) -> Response:
        if not request.path_info.startswith("/health/"):
            return await self.get_response(request)  # type: ignore[no-any-return]  # sync or async, so Any
        return await sync_to_async(answer)(request) or await self.get_response(request)


def answer(request: HttpRequest) -> Response | None:
    """Return the response to a probe, or None for other requests."""
    if request.path_info not in {"/health/live", "/health/ready"}:
        return None
    if request.method not in {"GET", "HEAD"}:
        return HttpResponseNotAllowed(["GET", "HEAD"])
    failed: dict[str, str] = {}
    checks = {} if request.path_info == "/health/live" else CHECKS
    for name, check in checks.items():
        try:
            check()
        except Exception:
            logger.exception("Not ready: the %s check failed.", name)
            failed[name] = "failed"
    body = {"status": "unavailable" if failed else "ok"}
    if checks:
        body["checks"] = {name: failed.get(name, "ok") for name in checks}  # type: ignore[assignment]
    return JsonResponse(body, status=503 if failed else 200, headers={"Cache-Control": "no-store"})


def check_database() -> None:
    with connections[DEFAULT_DB_ALIAS].cursor() as cursor:
        cursor.execute("SELECT 1")


def check_migrations() -> None:
    executor = MigrationExecutor(connections[DEFAULT_DB_ALIAS])
    if pending := executor.migration_plan(executor.loader.graph.leaf_nodes()):
        raise RuntimeError(f"{len(pending)} unapplied migrations. The first is {pending[0][0]}.")


def check_cache() -> None:
    key, value = f"health:{uuid4()}", "ok"
    cache.set(key, value, timeout=10)
    if cache.get(key) != value:
        raise RuntimeError("The cache does not return a value that was just stored.")


CHECKS = {"database": check_database, "migrations": check_migrations, "cache": check_cache}
