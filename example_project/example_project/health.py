"""``GET /health/live`` and ``GET /health/ready``, for process supervisors and load balancers."""

from __future__ import annotations

import contextvars
import logging
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final
from uuid import uuid4

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.cache import cache
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponseNotAllowed, JsonResponse
from django.http.response import HttpResponseBase

from dovetail_core.middleware import Middleware
from dovetail_flags import flags

logger = logging.getLogger(__name__)

Response = HttpResponseBase
Check = Callable[[], None]

#: How long a probe waits for each part that the API needs. The first check of a process loads all migrations.
REQUIRED_SECONDS: Final = 5.0
#: How long a probe waits for a part that the API does without. A probe that takes a second counts as failed.
OPTIONAL_SECONDS: Final = 0.5
#: SQLite is not ready with less free space on the disk, or fewer free pages within the limit of its file.
FREE_BYTES: Final = 1024 * 1024
FREE_PAGES: Final = 16


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
    if request.path_info == "/health/live":
        return _response({"status": "ok"}, 200)
    required = {name: _outcome(name, _bounded(name, check, REQUIRED_SECONDS)) for name, check in REQUIRED.items()}
    # Not a reason to take the process out of service: all processes share Redis, so none would be left.
    optional = {name: _outcome(name, _bounded(name, check, OPTIONAL_SECONDS)) for name, check in OPTIONAL.items()}
    ready = "failed" not in required.values()
    status = "unavailable" if not ready else "degraded" if "failed" in optional.values() else "ok"
    return _response({"status": status, "checks": required | optional}, 200 if ready else 503)


def _response(body: dict[str, object], status: int) -> Response:
    return JsonResponse(body, status=status, headers={"Cache-Control": "no-store"})


def _outcome(name: str, check: Check) -> str:
    try:
        check()
    except Exception:
        logger.exception("The %s check failed.", name)
        return "failed"
    return "ok"


class _Run:
    """A check in a thread of its own.

    A check that queries borrows the database connection of the probe that starts it, so that probes need no more
    connections than requests do.
    """

    def __init__(self, name: str, check: Check) -> None:
        self.check = check
        self.began = time.monotonic()
        self.error: BaseException | None = None
        self.connection = connections[DEFAULT_DB_ALIAS] if name in QUERYING else None
        if self.connection is not None:
            self.connection.inc_thread_sharing()
        self._lock = threading.Lock()
        self._ended = self._abandoned = False
        # In the context of the request, so that the thread uses its connections to the cache and does not open others.
        context = contextvars.copy_context()
        self.thread = threading.Thread(target=context.run, args=[self._work], name=f"health-{name}", daemon=True)
        self.thread.start()

    def _work(self) -> None:
        if self.connection is not None:
            connections[DEFAULT_DB_ALIAS] = self.connection
        try:
            self.check()
        except BaseException as error:  # noqa: BLE001  # raised by the probes, which log it
            self.error = error
        with self._lock:
            self._ended = True
            if self._abandoned and self.connection is not None:
                self.connection.close()

    def ends_within(self, seconds: float) -> bool:
        """Wait until the check has run for ``seconds``, and return whether it has ended."""
        self.thread.join(max(0, self.began + seconds - time.monotonic()))
        return self._ended

    def release(self) -> None:
        """Take the connection back. The thread keeps it if it still uses it, and closes it at its end."""
        if self.connection is None:
            return
        with self._lock:
            if self._ended:
                self.connection.dec_thread_sharing()
            else:
                self._abandoned = True
                del connections[DEFAULT_DB_ALIAS]


_runs: dict[str, _Run] = {}
_runs_lock = threading.Lock()


def _bounded(name: str, check: Check, seconds: float) -> Check:
    """Return ``check`` in a thread, which counts as failed after ``seconds``.

    A Redis that accepts connections and does not respond blocks each command for its timeout of 2 seconds, and a
    PostgreSQL that does so blocks without end. While a check runs, other probes wait for its outcome and start no
    other thread.
    """

    def run() -> None:
        with _runs_lock:
            last = _runs.get(name)
            own = last is None or not last.thread.is_alive()
            current = _Run(name, check) if last is None or own else last
            _runs[name] = current
        try:
            ended = current.ends_within(seconds)
        finally:
            if own:
                current.release()
        if not ended:
            raise TimeoutError(f"The {name} did not respond within {seconds} seconds.")
        if current.error is not None:
            raise current.error

    return run


def check_database() -> None:
    connection = connections[DEFAULT_DB_ALIAS]
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    if connection.vendor == "sqlite":
        _check_space()


def _check_space() -> None:
    """Raise ``RuntimeError`` if SQLite could not write. Reading sizes needs no lock, for which a write would wait."""
    limit, pages, free = (_pragma(name) for name in ("max_page_count", "page_count", "freelist_count"))
    if limit - pages + free < FREE_PAGES:
        raise RuntimeError(f"The database has {pages - free} pages, and may have {limit}.")
    path = _database_file()
    if path and (space := shutil.disk_usage(Path(path).parent).free) < FREE_BYTES:
        raise RuntimeError(f"The disk of the database has {space} free bytes.")


def _pragma(name: str) -> int:
    with connections[DEFAULT_DB_ALIAS].cursor() as cursor:
        cursor.execute(f"PRAGMA {name}")
        return int(cursor.fetchone()[0])


def _database_file() -> str:
    """Return the path of the file, or "" for a database in memory."""
    with connections[DEFAULT_DB_ALIAS].cursor() as cursor:
        cursor.execute("SELECT file FROM pragma_database_list WHERE name = 'main'")
        return str(cursor.fetchone()[0] or "")


def check_migrations() -> None:
    executor = MigrationExecutor(connections[DEFAULT_DB_ALIAS])
    if pending := executor.migration_plan(executor.loader.graph.leaf_nodes()):
        raise RuntimeError(f"{len(pending)} unapplied migrations. The first is {pending[0][0]}.")


def check_cache() -> None:
    key, value = f"health:{uuid4()}", "ok"
    cache.set(key, value, timeout=10)
    if cache.get(key) != value:
        raise RuntimeError("The cache does not return a value that was just stored.")


def check_audit_log() -> None:
    # Late, because settings name this module's middleware before models can be loaded.
    from dovetail_audit.entries.databases import home
    from dovetail_audit.sealing.sealer import LAG, lag

    if (age := lag(home())) > LAG:
        raise RuntimeError(f"The oldest audit entry that is not sealed is {age} old. Is Celery beat running?")


def check_flags() -> None:
    health = flags.health()
    if not health.healthy:
        raise RuntimeError(f"The feature flags are those of {health.loaded_at}: {health.error}")


#: The checks that query the database.
QUERYING = frozenset({"database", "migrations", "audit", "flags"})
#: A process without them cannot serve requests: 503.
REQUIRED: dict[str, Check] = {"database": check_database, "migrations": check_migrations}
#: The API serves requests without them: 200, and ``degraded`` in the body.
OPTIONAL: dict[str, Check] = {"cache": check_cache, "flags": check_flags}
if settings.CELERY_BROKER_URL:
    # Without a broker, nothing seals entries on a schedule.
    OPTIONAL["audit"] = check_audit_log
