"""On PostgreSQL, the service runs under row-level security with the roles of its README."""

from __future__ import annotations

import os
import sys
from typing import Any

import pytest
from django.db import connection

from tests.composed import factories
from tests.composed.journeys import journey
from tests.composed.processes import free_port, manage, running, wait_until_up

pytestmark = pytest.mark.skipif(
    "connection.vendor != 'postgresql'",
    reason="row security is PostgreSQL's: set DATABASE_URL to a PostgreSQL database",
)
TABLES = ("billing_customer", "billing_invoice", "billing_invoiceline")


def rows(url: str, role: str | None = None) -> list[int]:
    import psycopg
    from psycopg import sql

    with psycopg.connect(url, autocommit=True) as server:
        if role:
            server.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
        rows: list[Any] = [server.execute(f"SELECT count(*) FROM {table}").fetchone() for table in TABLES]
    return [count for (count,) in rows]


def test_journey_works_with_row_security(database_url: str) -> None:
    port = free_port()
    with running(sys.executable, "serve.py", PORT=str(port), DATABASE_URL=database_url) as server:
        wait_until_up(server, port)
        journey(f"http://127.0.0.1:{port}")
        # The role of the service cannot see the rows that it has just written,
        assert rows(database_url) == [0, 0, 0]
        # unless it switches to the role of `unscoped`.
        assert min(rows(database_url, os.environ["DATABASE_BYPASS_ROLE"])) > 50
    checked = manage("check", "--database", "default", DJANGO_DEBUG="true", DATABASE_URL=database_url)
    assert (checked.returncode, checked.stdout) == (0, "System check identified no issues (0 silenced).\n"), (
        checked.stderr
    )


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["customers", "api-keys"])
def test_request_sends_its_organization_once_if_it_changed(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from dovetail_tenancy.row_security.session import Session

    sent: list[Any] = []
    send = Session._send

    def record(session: Session, driver: Any, *statements: Any) -> None:
        sent.append(statements)
        send(session, driver, *statements)

    clients = [factories.client(factories.organization().owner) for _ in range(2)]
    for client in clients:
        client.get(f"/api/v1/{path}")
    monkeypatch.setattr(Session, "_send", record)
    numbers = []
    for client in (clients[0], clients[0], clients[1], clients[0], clients[0]):
        sent.clear()
        assert client.get(f"/api/v1/{path}").status_code == 200
        numbers.append(len(sent))
    assert numbers == [1, 0, 1, 1, 0]


def test_check_rejects_superuser(database_url: str) -> None:
    for command in (["migrate", "--verbosity", "0"], ["check", "--database", "default"]):
        login = f"{connection.settings_dict['USER']}@"
        superuser = os.environ["DATABASE_URL"].partition("://")[2].partition("@")[0]
        done = manage(*command, DJANGO_DEBUG="true", DATABASE_URL=database_url.replace(login, f"{superuser}@", 1))
    assert done.returncode != 0
    assert "dovetail_tenancy.E011" in done.stderr
