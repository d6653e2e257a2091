"""The SQL statements and round trips of each operation of the API, counted from libpq's trace of the connection.

``STATEMENTS=write`` writes the table in place of comparing it.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import django
import pytest
from django.core.cache import cache
from django.db import connection

from dovetail_contract.testing import reset_rate_limits, unchecked
from dovetail_core import attempts
from tests.composed.operations import Operation, operations
from tests.composed.settings import EXAMPLE_PROJECT
from tests.composed.worlds import World, make_worlds

TABLE = EXAMPLE_PROJECT / "STATEMENTS.md"
HEADING = """\
# Statements of each endpoint

The SQL statements of one request on PostgreSQL with row security, and the round trips to the database. Round trips
also count `BEGIN`, `COMMIT`, savepoints and the settings of row security. Workers and threads send mail and deliver
notifications, with statements that are not counted here. A test compares this table.
`STATEMENTS=write python -m tests composed -k statements` writes it.

| endpoint | statements | round trips |
| --- | ---: | ---: |
"""
WITHOUT = {
    "/api/v1/audit-log/export",
    "/api/v1/audit-log/{entry_id}/proof",
    "/api/v1/notifications/stream",
    "/api/v1/push-devices/web-push-key",
}
"""Paths that stream, or need a sealed entry, an ASGI server or a key of Web Push."""
LIMIT = 10
"""The statements that a request that writes may send, besides an entry of the audit log for each of its events, and two
more with an idempotency key."""
ABOVE_LIMIT = {
    "DELETE /api/v1/me": "Django deletes or updates the rows of each table that refers to the user",
    "DELETE /api/v1/organizations/{organization_id}": "Django reads and deletes the rows of each of its tables",
}
"""The requests that send more, and the reason."""
_MESSAGE = re.compile(
    r"^F\t\d+\t(?:Query|Parse)\t (?:\"[^\"]*\" )?\"(\w+(?: INTO \"dovetail_audit_entry\")?)", re.MULTILINE
)
_ENTRY = 'INSERT INTO "dovetail_audit_entry"'
_OVERHEAD = {"BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE", "SET"}

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(
        "connection.vendor != 'postgresql'", reason="needs PostgreSQL: set DATABASE_URL to a PostgreSQL database"
    ),
    pytest.mark.skipif(django.VERSION < (6, 1), reason="this Django has other statements than the table"),
]


@contextmanager
def traced() -> Iterator[list[str]]:
    """Yield a list that in the end holds the first word of each query that was sent, or ``_ENTRY``."""
    from psycopg import pq

    words: list[str] = []
    connection.ensure_connection()
    server: Any = connection.connection
    with tempfile.TemporaryFile("w+", errors="replace") as file:
        server.pgconn.trace(file.fileno())
        server.pgconn.set_trace_flags(pq.Trace.SUPPRESS_TIMESTAMPS)
        yield words
        server.pgconn.untrace()
        file.seek(0)
        words += _MESSAGE.findall(file.read())


def count(operation: Operation, world: World, **headers: str) -> tuple[int, int, int]:
    """Return the numbers of statements, of entries of the audit log among them, and of round trips."""
    for reset in (cache.clear, reset_rate_limits, attempts.reset):
        reset()
    with traced() as words:
        answer = operation.send(world, **headers)
    assert answer.status_code < 300, (operation, answer.content)
    return sum(word not in _OVERHEAD for word in words), words.count(_ENTRY), len(words)


@pytest.fixture(autouse=True)
def _other_processes(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave to others what workers and threads of the service do."""
    settings.NOTIFY_RUNNER = lambda *arguments, **keywords: None
    monkeypatch.setattr("console.receivers.in_background", settings.NOTIFY_RUNNER)


def test_statements_are_those_of_the_table_and_within_the_limit(settings: Any) -> None:
    settings.MAGIC_LINK_REQUESTS_PER_NETWORK = settings.MAGIC_LINK_REQUESTS_PER_SITE = ((1_000_000, 3600),)
    every = [operation for operation in operations() if operation.path not in WITHOUT]
    rows: list[tuple[str, int, int]] = []
    above: set[str] = set()
    worlds = iter(make_worlds(3 * len(every)))
    # Other tests validate responses, with statements of their own.
    with unchecked():
        for operation in sorted(every, key=lambda operation: (operation.path, operation.method)):
            # The first request fills the caches of the process.
            operation.send(next(worlds))
            title = f"{operation.method.upper()} {operation.path}"
            requests: list[tuple[dict[str, str], int]] = [({}, LIMIT)]
            if operation.accepts_idempotency_key:
                requests.append(({"Idempotency-Key": uuid4().hex}, LIMIT + 2))
            for headers, limit in requests:
                statements, entries, trips = count(operation, next(worlds), **headers)
                rows.append((f"`{title}` with a key" if headers else f"`{title}`", statements, trips))
                if operation.method != "get" and statements - entries > limit:
                    above.add(title)
    table = HEADING + "".join(f"| {title} | {statements} | {trips} |\n" for title, statements, trips in rows)
    if os.environ.get("STATEMENTS") == "write":
        TABLE.write_text(table)
    assert table == TABLE.read_text()
    assert above == ABOVE_LIMIT.keys()
