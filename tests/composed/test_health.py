from __future__ import annotations

import logging
import sys

import pytest
from asgiref.sync import async_to_sync
from django.db.migrations.recorder import MigrationRecorder
from django.test import AsyncClient, Client

from example_project import health
from tests.composed.processes import PRODUCTION, call, free_port, running, wait_until_up

READY = {"status": "ok", "checks": {"database": "ok", "migrations": "ok", "cache": "ok"}}


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

    monkeypatch.setitem(health.CHECKS, part, fail)
    with caplog.at_level(logging.ERROR):
        answer = Client().get("/health/ready")
    assert answer.status_code == 503
    assert answer.json() == {"status": "unavailable", "checks": {**READY["checks"], part: "failed"}}
    assert "hunter2" not in answer.content.decode()
    assert "hunter2" in caplog.text


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
            {"status": "unavailable", "checks": {"database": "failed", "migrations": "failed", "cache": "failed"}},
        )
        assert call("GET", f"http://127.0.0.1:{port}/health/live") == (200, {"status": "ok"})
