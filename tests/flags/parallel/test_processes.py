"""Changes as other processes see them, and a database that stops while they run."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from dovetail_flags import services

pytestmark = pytest.mark.django_db(transaction=True)
ROOT = Path(__file__).parents[3]
REFRESH = 1.0
PATIENCE = 30.0
"""Seconds that a busy machine may take to run a process that is due. Without a refresh, a watcher prints nothing."""


@pytest.fixture(autouse=True)
def atomic_requests() -> None:
    """Run each test once, because it sends no request."""


class Watcher:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def next_state(self) -> tuple[bool, bool, float]:
        """Return whether the flag is on, whether the flags are healthy, and when that began."""
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert line, "The watcher has ended."
        enabled, healthy, at = json.loads(line)
        return enabled, healthy, at


@contextmanager
def watching(refresh: float = REFRESH, redis_url: str = "", **database: Any) -> Iterator[Watcher]:
    replaced = json.dumps({"NAME": str(connection.settings_dict["NAME"]), **database})
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.flags.parallel.watcher", replaced, str(refresh), redis_url],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Watcher(process)
    finally:
        process.kill()
        process.wait()
        assert process.stdout
        process.stdout.close()


class Proxy:
    """Forwards TCP connections to the database until it is stopped, like a server that is shut down."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.port = 0
        self.sockets: list[socket.socket] = []
        self.start()

    def start(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self.listener.getsockname()[1]
        self.sockets = [self.listener]
        threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()

    def stop(self) -> None:
        for each in self.sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection(self.target)
                self.sockets += [client, server]
                for source, sink in ((client, server), (server, client)):
                    threading.Thread(target=_copy, args=(source, sink), daemon=True).start()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def test_four_processes_see_a_change_within_the_refresh_time() -> None:
    flag = services.create_flag(key="rollout", enabled=True)
    with ExitStack() as stack:
        watchers = [stack.enter_context(watching()) for _ in range(4)]
        assert [watcher.next_state()[:2] for watcher in watchers] == [(True, True)] * 4
        services.set_enabled(flag=flag, enabled=False)
        committed = time.time()
        states = [watcher.next_state() for watcher in watchers]
    assert [enabled for enabled, *_ in states] == [False] * 4
    assert max(at for *_, at in states) - committed < REFRESH + PATIENCE


def test_four_processes_see_an_announced_change_before_a_refresh(settings: Any) -> None:
    pytest.importorskip("redis", reason="redis is not installed")
    if not (redis_url := os.environ.get("REDIS_URL", "")):
        pytest.skip("no Redis: set REDIS_URL")
    flag = services.create_flag(key="rollout", enabled=True)
    settings.FLAGS_INVALIDATION_LOCATION = redis_url
    settings.FLAGS_INVALIDATION = "dovetail_flags.contrib.redis.RedisInvalidation"
    with ExitStack() as stack:
        # Longer than the test, so that only a message makes them read the flags again.
        watchers = [stack.enter_context(watching(3600, redis_url)) for _ in range(4)]
        assert [watcher.next_state()[:2] for watcher in watchers] == [(True, True)] * 4
        for enabled in (False, True, False):
            services.set_enabled(flag=flag, enabled=enabled)
            states = [watcher.next_state() for watcher in watchers]
            assert [state for state, *_ in states] == [enabled] * 4


def test_stopped_database_leaves_the_last_flags() -> None:
    if connection.vendor == "sqlite":
        pytest.skip("needs PostgreSQL or MariaDB, which a process reaches by a connection that can be cut")
    settings = connection.settings_dict
    proxy = Proxy((settings["HOST"], int(settings["PORT"] or {"postgresql": 5432, "mysql": 3306}[connection.vendor])))
    flag = services.create_flag(key="rollout", enabled=True)
    try:
        with watching(HOST="127.0.0.1", PORT=proxy.port) as watcher:
            assert watcher.next_state()[:2] == (True, True)
            proxy.stop()
            stopped = time.time()
            enabled, healthy, at = watcher.next_state()
            assert (enabled, healthy) == (True, False)
            assert at - stopped < REFRESH + PATIENCE
            services.set_enabled(flag=flag, enabled=False)
            proxy.start()
            started = time.time()
            enabled, healthy, at = watcher.next_state()
            assert (enabled, healthy) == (False, True)
            assert at - started < REFRESH + PATIENCE
    finally:
        proxy.stop()
