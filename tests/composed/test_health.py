from __future__ import annotations

import contextlib
import logging
import shutil
import socket
import sys
import threading
import time
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from asgiref.sync import async_to_sync
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.test import AsyncClient, Client

from example_project import health
from tests.composed.processes import PRODUCTION, call, free_port, running, wait_until_up

READY = {"status": "ok", "checks": {"database": "ok", "migrations": "ok", "cache": "ok", "flags": "ok"}}


def test_liveness_does_not_query_database():
    answer = Client().get("/health/live")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert answer["Cache-Control"] == "no-store"


@pytest.mark.django_db
def test_readiness_reports_every_check():
    answer = Client().get("/health/ready")
    assert (answer.status_code, answer.json()) == (200, READY)


@pytest.mark.django_db(transaction=True)
def test_health_works_under_asgi():
    answer = async_to_sync(AsyncClient().get)("/health/ready")
    assert (answer.status_code, answer.json()) == (200, READY)
    assert async_to_sync(AsyncClient().get)("/health/other").status_code == 404


@pytest.mark.parametrize("path", ["/health/live", "/health/ready"])
@pytest.mark.django_db
def test_health_accepts_any_host_over_http(path, settings):
    settings.SECURE_SSL_REDIRECT = True
    client = Client()
    assert client.get(path, HTTP_HOST="10.1.2.3:8000").status_code == 200
    assert client.head(path, HTTP_HOST="10.1.2.3:8000").status_code == 200
    assert client.get("/django-admin/", HTTP_HOST="10.1.2.3:8000").status_code == 400


def test_health_allows_only_get_and_head():
    answer = Client().post("/health/live")
    assert (answer.status_code, answer["Allow"]) == (405, "GET, HEAD")


@pytest.mark.django_db
@pytest.mark.parametrize("part", ["database", "migrations", "cache"])
def test_readiness_names_failed_check_and_logs_reason(part, monkeypatch, caplog):
    def fail() -> None:
        raise RuntimeError("password=hunter2")

    optional = part in health.OPTIONAL
    monkeypatch.setitem(health.OPTIONAL if optional else health.REQUIRED, part, fail)
    with caplog.at_level(logging.ERROR):
        answer = Client().get("/health/ready")
    assert answer.status_code == (200 if optional else 503)
    status = "degraded" if optional else "unavailable"
    assert answer.json() == {"status": status, "checks": {**READY["checks"], part: "failed"}}
    assert "hunter2" not in answer.content.decode()
    assert "hunter2" in caplog.text


@pytest.fixture(autouse=True)
def _no_running_checks(monkeypatch):
    monkeypatch.setattr(health, "_runs", {})


@contextlib.contextmanager
def hung_server():
    """A server that accepts connections and does not respond, like a stopped Redis."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.django_db
def test_readiness_does_not_wait_for_hung_redis(settings):
    with hung_server() as port:
        settings.CACHES = {
            "default": {
                "BACKEND": "django.core.cache.backends.redis.RedisCache",
                "LOCATION": f"redis://127.0.0.1:{port}/0",
                "OPTIONS": {"socket_connect_timeout": 10, "socket_timeout": 10},
            }
        }
        # The command of a blocked thread ends after 10 seconds. The bound is for a busy machine.
        for _ in range(2):
            begun = time.monotonic()
            answer = Client().get("/health/ready")
            assert time.monotonic() - begun < 8
            assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
            assert answer.json()["checks"]["cache"] == "failed"


def test_overlapping_probes_share_the_outcome_of_a_check(monkeypatch):
    """Of three overlapping probes of a healthy Redis, two reported it as failed."""
    begun, proceed = threading.Event(), threading.Event()
    calls = []

    def slow() -> None:
        calls.append(1)
        begun.set()
        proceed.wait(10)

    probe = health._bounded("cache", slow, 10)
    outcomes = []
    probes = [threading.Thread(target=lambda: outcomes.append(health._outcome("cache", probe))) for _ in range(3)]
    for thread in probes:
        thread.start()
    assert begun.wait(10)
    # A probe that did not wait would end now.
    probes[-1].join(0.1)
    proceed.set()
    for thread in probes:
        thread.join()
    assert outcomes == ["ok"] * 3
    assert len(calls) < 3


def test_hung_database_fails_probes_and_holds_one_thread(monkeypatch):
    """A PostgreSQL that was stopped held a thread for each probe."""
    proceed = threading.Event()
    connections = {"default": Mock()}
    borrowed = connections["default"]
    calls = []

    def hang() -> None:
        calls.append(threading.current_thread())
        proceed.wait(20)

    monkeypatch.setattr(health, "connections", connections)
    monkeypatch.setattr(health, "REQUIRED", {"database": hang})
    monkeypatch.setattr(health, "REQUIRED_SECONDS", 0.1)
    monkeypatch.setattr(health, "OPTIONAL", {})
    try:
        for _ in range(2):
            answer = Client().get("/health/ready")
            assert (answer.status_code, answer.json()["checks"]) == (503, {"database": "failed"})
            # The thread still uses the connection, so the next request must open another one.
            connections.pop("default", None)
            assert "default" not in connections
            assert not borrowed.close.called
        assert len(calls) == 1
    finally:
        proceed.set()
        calls[0].join()
    assert borrowed.close.called


@pytest.mark.django_db
def test_api_responds_without_redis(settings, api):
    with hung_server() as port:
        closed = f"redis://127.0.0.1:{port}/0"
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": closed}}
    settings.CONTRACT_RATE_LIMIT_STORE = "dovetail_contract.contrib.redis.RedisStore"
    settings.CONTRACT_RATE_LIMIT_LOCATION = closed
    assert Client().get("/health/ready").json()["status"] == "degraded"
    assert api.get("/api/v1/me").status_code == 200
    assert api.post("/api/v1/customers", {"name": "Acme", "email": "a@example.com"}).status_code == 201


# With commits: SQLite rolls back the whole transaction if the disk is full.
@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "sqlite", reason="only SQLite reports its space")
def test_full_database_is_503_and_not_ready(api):
    """Writes were 500 ``internal_error``, and readiness was 200."""
    with connection.cursor() as cursor:
        (pages,) = cursor.execute("PRAGMA page_count").fetchone()
        (limit,) = cursor.execute("PRAGMA max_page_count").fetchone()
        cursor.execute(f"PRAGMA max_page_count = {pages}")
        try:
            statuses = set()
            for number in range(100):
                answer = api.post("/api/v1/customers", {"name": "x" * 200, "email": f"{number}@example.com"})
                statuses.add(answer.status_code)
                if answer.status_code != 201:
                    break
            assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
            assert statuses == {201, 503}
            ready = Client().get("/health/ready")
            assert (ready.status_code, ready.json()["checks"]["database"]) == (503, "failed")
        finally:
            cursor.execute(f"PRAGMA max_page_count = {limit}")
    assert Client().get("/health/ready").status_code == 200


@pytest.mark.django_db
@pytest.mark.skipif(connection.vendor != "sqlite", reason="only SQLite reports its space")
def test_full_disk_is_not_ready(monkeypatch, tmp_path):
    monkeypatch.setattr(health, "_database_file", lambda: str(tmp_path / "db.sqlite3"))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    assert Client().get("/health/ready").json()["checks"]["database"] == "failed"


@pytest.mark.django_db
def test_pending_migration_is_not_ready():
    MigrationRecorder.Migration.objects.filter(app="billing").delete()
    answer = Client().get("/health/ready")
    assert (answer.status_code, answer.json()["checks"]["migrations"]) == (503, "failed")


def test_missing_database_is_not_ready_but_alive():
    port = free_port()
    variables = {
        **PRODUCTION,
        "DATABASE_URL": f"postgres://nobody@127.0.0.1:{free_port()}/nothing",
        "REDIS_URL": f"redis://127.0.0.1:{free_port()}/0",
    }
    with running(
        sys.executable, "-m", "uvicorn", "example_project.asgi:application", "--port", str(port), **variables
    ) as server:
        wait_until_up(server, port)
        status, body = call("GET", f"http://127.0.0.1:{port}/health/ready")
        assert (status, body) == (
            503,
            {"status": "unavailable", "checks": dict.fromkeys(READY["checks"], "failed")},
        )
        assert call("GET", f"http://127.0.0.1:{port}/health/live") == (200, {"status": "ok"})
