"""Writers and sealers at the same time, in real threads and processes with connections of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from django.db import connection, transaction

from dovetail_audit.services import record, seal
from dovetail_audit.verification.scan import verify
from dovetail_core.transactions import is_conflict
from tests.audit.logs import CHECKPOINTS, ENTRIES, LEAVES, write
from tests.parallel import at_once

pytestmark = pytest.mark.django_db(transaction=True)


def assert_sealed_once() -> None:
    positions = list(LEAVES.order_by("pk").values_list("pk", flat=True))
    assert positions == list(range(len(positions)))
    assert set(LEAVES.values_list("entry", flat=True)) == set(ENTRIES.values_list("pk", flat=True))
    assert list(verify()) == []


def start(program: str, *arguments: str) -> subprocess.Popen[str]:
    """Start a program of this folder with the test database."""
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "tests.audit.settings_on_file"}
    name = str(connection.settings_dict["NAME"])
    return subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name(program)), name, *arguments],
        env=environment | {"PYTHONPATH": str(Path(__file__).parents[3])},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_killed_sealer_leaves_no_gap_and_no_duplicate() -> None:
    write(20)
    seal()
    write(500)
    process = start("sealer.py", "60")
    assert process.stdout is not None
    assert process.stdout.readline() == "holding\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    # The server notices the closed connection, and rolls back.
    deadline = time.monotonic() + 30
    last = None
    while last is None and time.monotonic() < deadline:
        last = seal()
    assert last is not None
    assert last.pk == 520
    assert list(CHECKPOINTS.order_by("pk").values_list("pk", flat=True)) == [20, 520]
    assert_sealed_once()


def test_two_sealers_seal_each_entry_once() -> None:
    for round_ in range(5):
        write(50)
        outcomes = at_once(*[seal] * 4)
        assert {outcome.pk for outcome in outcomes} == {50 * (round_ + 1)}, outcomes
    assert_sealed_once()


def test_first_sealers_share_one_seal() -> None:
    write(10)
    assert {outcome.pk for outcome in at_once(*[seal] * 4)} == {10}
    assert_sealed_once()


def test_writers_beside_sealers_and_verification_raise_no_alarm() -> None:
    stop = threading.Event()

    def write_all() -> None:
        for number in range(40):
            write(3, number)

    def seal_all() -> None:
        while not stop.is_set():
            seal()
            time.sleep(0.01)

    def verify_all() -> list[object]:
        return [finding for _round in range(5) for finding in verify()]

    def write_and_stop() -> list[object]:
        outcomes = at_once(*[write_all] * 3)
        stop.set()
        return [outcome for outcome in outcomes if outcome is not None]

    assert at_once(seal_all, verify_all, write_and_stop) == [None, [], []]
    seal()
    assert ENTRIES.count() == 360
    assert_sealed_once()


def test_transaction_that_commits_after_the_seal_is_sealed_later() -> None:
    if connection.vendor == "sqlite":
        pytest.skip("needs PostgreSQL or MariaDB: SQLite has one writer")
    began, sealed = threading.Event(), threading.Event()

    def slow() -> None:
        with transaction.atomic():
            record("order.paid")
            began.set()
            assert sealed.wait(60)

    def others() -> None:
        assert began.wait(60)
        write(5)
        seal()
        sealed.set()

    assert at_once(slow, others) == [None, None]
    assert LEAVES.count() == 5
    seal()
    late = ENTRIES.get(action="order.paid")
    assert LEAVES.get(entry=late.pk).pk == 5
    assert_sealed_once()


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read", "serializable"])
def test_writers_of_two_organizations_in_opposite_order_do_not_wait(isolation: str) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("needs PostgreSQL: the other databases have no such isolation levels here")

    def transfer(first: str, second: str) -> list[str]:
        conflicts = []
        for _round in range(25):
            try:
                with transaction.atomic():
                    with connection.cursor() as cursor:
                        cursor.execute(f"SET TRANSACTION ISOLATION LEVEL {isolation}")
                        # Shorter than PostgreSQL waits before it looks for a deadlock, and longer than the
                        # extension of a table takes.
                        cursor.execute("SET LOCAL lock_timeout = '500ms'")
                    record("transfer.sent", organization_id=first)
                    time.sleep(0.002)
                    record("transfer.received", organization_id=second)
            except Exception as error:
                if not is_conflict(error):
                    raise
                conflicts.append(str(error))
        return conflicts

    calls = [(lambda: transfer("a", "b")), (lambda: transfer("b", "a"))] * 4
    assert at_once(*calls, *[seal] * 2)[:8] == [[]] * 8
    seal()
    assert ENTRIES.count() == 400
    assert_sealed_once()
