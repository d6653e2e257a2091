"""Deletion of old entries while other connections write."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest
from django.db import connection, connections, transaction

from dovetail_audit.exceptions import NotPruned
from dovetail_audit.models import Entry
from dovetail_audit.protection import triggers
from dovetail_audit.services import prune, pruning, record
from dovetail_audit.testing import append_only
from tests.audit.logs import ENTRIES
from tests.audit.test_pruning import aged_log, ago, storage
from tests.parallel import at_once

__all__ = ["storage"]
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor == "sqlite", reason="needs PostgreSQL or MariaDB: locks of tables"),
]


class OpenTransaction:
    """A transaction of another connection that has recorded an entry and does not end."""

    def __enter__(self) -> Self:
        self._recorded, self._end = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        assert self._recorded.wait(30)
        return self

    def _run(self) -> None:
        try:
            with transaction.atomic():
                record("order.slow")
                self._recorded.set()
                self._end.wait(60)
        finally:
            connections.close_all()

    def __exit__(self, *error: object) -> None:
        self._end.set()
        self._thread.join(60)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(pruning, "_PAUSE", 0.2)
    yield
    connections.close_all()


def test_open_transaction_delays_deletion_and_no_writer(storage: Path) -> None:
    """A lock that waits for an open transaction makes all later writers wait too, for as long as it is open."""
    aged_log((400, 30), (100, 10))
    waits: list[float] = []

    def writer() -> None:
        for _ in range(15):
            begun = time.monotonic()
            record("order.quick")
            waits.append(time.monotonic() - begun)
            time.sleep(0.1)

    def deletion() -> int:
        return prune(before=ago(150))

    with append_only():
        with OpenTransaction() as blocker:
            releasing = threading.Timer(4, blocker.__exit__)
            releasing.start()
            written, deleted = at_once(writer, deletion)
            releasing.join()
        assert (written, deleted) == (None, 30)
        assert triggers.installed(connection, Entry) == set(triggers.names(connection, Entry))
    assert len(waits) == 15
    # MariaDB waits for whole seconds.
    assert max(waits) < 3


def test_deletion_gives_up_and_is_continued_later(storage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "_ATTEMPTS", 2)
    aged_log((400, 30), (100, 10))
    with append_only():
        with OpenTransaction(), pytest.raises(NotPruned, match="goes on with the deletion"):
            prune(before=ago(150))
        assert triggers.installed(connection, Entry) == set(triggers.names(connection, Entry))
        assert prune(before=ago(150)) == 30
    assert ENTRIES.filter(action="audit.pruned").count() == 1


def test_time_limit_of_locks_ends_with_the_deletion(storage: Path) -> None:
    aged_log((400, 3), (100, 1))

    def limit() -> Any:
        statement = "SELECT @@SESSION.lock_wait_timeout" if connection.vendor == "mysql" else "SHOW lock_timeout"
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchone()

    before = limit()
    with append_only():
        assert prune(before=ago(150)) == 3
    assert limit() == before
