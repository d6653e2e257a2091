"""Tasks get the context of their request, through a broker and when they run eagerly."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client

from dovetail_contract.correlation import ContextFilter
from dovetail_core import context
from tests.contract.shop import views

celery = pytest.importorskip("celery", reason="Celery is not installed")

pytestmark = pytest.mark.filterwarnings("ignore")  # from Celery's test worker


@pytest.fixture(autouse=True)
def the_log_as_it_was() -> Iterator[None]:
    """Restore the root logger's level, which an embedded worker changes."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    yield
    root.setLevel(level)
    root.handlers[:] = handlers


@pytest.fixture
def app() -> Any:
    from dovetail_contract.contrib import celery as contrib

    contrib.install()
    contrib.install()
    app = celery.Celery("contract", broker="memory://", backend="cache+memory://", set_as_current=False)
    app.conf.worker_hijack_root_logger = False  # other tests read the log
    app.conf.broker_transport_options = {"polling_interval": 0.05}  # instead of a second

    @app.task(name="contract.context")
    def seen() -> list[str | None]:
        return [context.request_id(), context.organization_id(), context.principal()]

    @app.task(name="contract.outer")
    def outer() -> Any:
        return seen.apply().result, context.request_id()

    @app.task(name="contract.line")
    def line() -> list[str | None]:
        record: Any = logging.makeLogRecord({})
        ContextFilter().filter(record)
        return [record.request_id, record.organization_id, record.principal_id, record.api_key]

    app.seen, app.outer, app.line = seen, outer, line
    return app


def test_worker_gets_the_context_of_the_request(app: Any, monkeypatch: Any) -> None:
    from celery.contrib.testing.worker import start_worker

    with start_worker(app, perform_ping_check=False, pool="solo", shutdown_timeout=60):
        with context.bind(request_id="request-1", organization_id=7, principal="ada"):
            result = app.seen.delay()
        assert result.get(timeout=60, interval=0.05) == ["request-1", "7", "ada"]
        # The next request is anonymous: the worker must not keep the previous context.
        request_id, organization_id, principal = app.seen.delay().get(timeout=60, interval=0.05)
        # Its log lines name the caller too.
        by_key, by_nobody = started_by_requests(app, monkeypatch)
        assert by_key.get(timeout=60, interval=0.05) == ["from-outside", "7", "apikey:pub1-id", "pub1"]
        assert by_nobody.get(timeout=60, interval=0.05) == ["from-outside", None, None, None]
    assert (organization_id, principal) == (None, None)
    assert len(request_id) == 32
    assert request_id != "request-1"


def test_eager_task_log_lines_name_the_caller(app: Any, monkeypatch: Any) -> None:
    app.conf.task_always_eager = True
    by_key, by_nobody = started_by_requests(app, monkeypatch)
    assert by_key.get() == ["from-outside", "7", "apikey:pub1-id", "pub1"]
    assert by_nobody.get() == ["from-outside", None, None, None]


def started_by_requests(app: Any, monkeypatch: Any) -> list[Any]:
    """Start tasks from two requests, one with an API key and one anonymous."""
    results: list[Any] = []
    monkeypatch.setattr(views.logger, "warning", lambda message: results.append(app.line.delay()))
    id_ = {"x-request-id": "from-outside"}
    with context.bind(organization_id=7):
        Client().get("/api/tickets/old", headers={"authorization": "Bearer key.pub1", **id_})
    Client().get("/api/tickets/old", headers=id_)
    return results


def test_eager_task_keeps_the_context_of_the_request(app: Any) -> None:
    app.conf.task_always_eager = True
    with context.bind(request_id="request-1", organization_id=7):
        assert app.outer.delay().get() == (["request-1", 7, None], "request-1")
        assert context.request_id() == "request-1"
    assert context.request_id() is None
