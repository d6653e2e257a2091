"""Row security behind PgBouncer, which gives each transaction another server session."""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, connections, transaction

from dovetail_tenancy import tenant, unscoped
from dovetail_tenancy.row_security import checks
from tests.tenancy.documents.models import Document
from tests.tenancy.row_security.statements import TITLES

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
pytestmark = [
    pytest.mark.postgres,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(PROGRAM is None, reason="needs PgBouncer: install the package pgbouncer"),
]

CONFIGURATION = """
[databases]
* = host={host} port={port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen}
unix_socket_dir =
auth_type = trust
auth_file = {users}
pool_mode = transaction
default_pool_size = 3
ignore_startup_parameters = extra_float_digits,options
logfile = {log}
"""
CLIENTS, ROUNDS = 8, 40


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def pgbouncer(database: dict[str, Any]) -> Iterator[int]:
    port = free_port()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        users = f'"{database["USER"]}" "{database["PASSWORD"]}"\n'
        (folder / "users.txt").write_text(users)
        (folder / "pgbouncer.ini").write_text(
            CONFIGURATION.format(
                host=database["HOST"],
                port=database["PORT"] or 5432,
                listen=port,
                users=folder / "users.txt",
                log=folder / "log",
            )
        )
        as_other = ["-u", "nobody"] if os.geteuid() == 0 else []  # PgBouncer refuses to run as root
        if as_other:
            for path in (folder, *folder.iterdir()):
                shutil.chown(path, "nobody")
        process = subprocess.Popen(
            [str(PROGRAM), "-q", *as_other, str(folder / "pgbouncer.ini")], stderr=subprocess.PIPE
        )
        try:
            wait_for(port, process)
            yield port
        finally:
            process.terminate()
            process.communicate(timeout=10)


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(100):
        assert process.poll() is None, process.communicate()[1].decode()
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("PgBouncer does not answer.")


@pytest.fixture
def pooled(db: None) -> Iterator[Any]:
    """Return ``pooled(mode)``, after which new threads connect through the pooler. This thread does not."""
    direct = connections.settings["default"]

    def through(mode: str) -> None:
        options = {**direct["OPTIONS"], "tenancy_mode": mode}
        connections.settings["default"] = {**direct, "HOST": "127.0.0.1", "PORT": port, "OPTIONS": options}

    with pgbouncer(connection.settings_dict) as port:
        yield through
        connections.settings["default"] = direct


def in_threads(number: int, work: Callable[[int], None]) -> None:
    with ThreadPoolExecutor(number) as pool:

        def run(which: int) -> None:
            try:
                work(which)
            finally:
                connections.close_all()

        list(pool.map(run, range(number)))


def client(number: int, organizations: dict[str, Any], seen: Counter[str], streaming: bool) -> None:
    """Reads the rows like a thread of a service, and counts the visible ones."""
    expected = {"none": [], "acme": ["a1", "a2"], "globex": ["g1"], "all": ["a1", "a2", "g1"]}
    choice = random.Random(number)
    for _ in range(ROUNDS):
        who = choice.choice(list(expected))
        scope = {"none": nullcontext(), "all": unscoped(reason="a test")}.get(who) or tenant(organizations[who])
        with scope, transaction.atomic() if choice.random() < 0.3 else nullcontext(), connection.cursor() as cursor:
            if streaming and who != "none" and choice.random() < 0.3:
                rows = Document.objects.order_by("title").values_list("title", flat=True)
                titles = list(rows.iterator(chunk_size=1))
            else:
                cursor.execute(TITLES)
                titles = [title for (title,) in cursor.fetchall()]
        seen["right" if titles == expected[who] else "wrong"] += 1


def look(acme: Any, globex: Any, *, streaming: bool = True) -> Counter[str]:
    """Run many clients over few server sessions."""
    seen: Counter[str] = Counter()
    start = threading.Barrier(CLIENTS)

    def run(number: int) -> None:
        start.wait()
        client(number, {"acme": acme, "globex": globex}, seen, streaming)

    in_threads(CLIENTS, run)
    return seen


def ids(messages: list[Any]) -> set[str]:
    return {str(message.id).partition(".")[2] for message in messages}


def test_transaction_mode_leaks_nothing(acme: Any, globex: Any, pooled: Any) -> None:
    pooled("transaction")
    assert look(acme, globex) == {"right": CLIENTS * ROUNDS}

    def nothing_is_left(number: int) -> None:
        for _ in range(20):
            with connection.cursor() as cursor:
                cursor.execute("SHOW tenancy.organization")
                assert cursor.fetchone() == ("",)
        assert ids(checks.check_database("default")) == set()

    in_threads(2, nothing_is_left)


def test_session_mode_leaks_and_is_an_error(acme: Any, globex: Any, pooled: Any) -> None:
    pooled("session")
    # Not with server-side cursors, which the next server session does not have.
    assert look(acme, globex, streaming=False)["wrong"] > 0

    def check(number: int) -> None:
        assert ids(checks.check_database("default")) == {"E013"}

    in_threads(1, check)


def test_transaction_mode_ignores_settings_left_by_session_mode(acme: Any, globex: Any, pooled: Any) -> None:
    """Two versions of a service run side by side during a deployment."""

    def leave_behind(number: int) -> None:
        with tenant(acme), connection.cursor() as cursor:
            cursor.execute(TITLES)

    def see(number: int) -> None:
        with connection.cursor() as cursor:
            cursor.execute(TITLES)
            assert cursor.fetchall() == []
            with tenant(globex):
                cursor.execute(TITLES)
                assert cursor.fetchall() == [("g1",)]

    pooled("session")
    in_threads(1, leave_behind)
    pooled("transaction")
    in_threads(1, see)
