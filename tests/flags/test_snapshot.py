from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import OperationalError, connection, connections, transaction
from django.test.utils import CaptureQueriesContext

from dovetail_flags import flags, services
from dovetail_flags.base import get_flag_model
from dovetail_flags.models import FlagSet
from dovetail_flags.providers import changes, database
from dovetail_flags.providers.base import Provider
from dovetail_flags.types.context import Context
from dovetail_flags.types.details import Details
from tests import asynchronous
from tests.flags.conftest import change

pytestmark = pytest.mark.django_db(transaction=True)
Make = Callable[..., Any]


class Clock:
    """Replaces the monotonic clock of the provider."""

    def __init__(self) -> None:
        self.now = time.monotonic()

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(database, "monotonic", clock)
    return clock


@contextmanager
def queries(number: int) -> Iterator[None]:
    with CaptureQueriesContext(connection) as captured:
        yield
    statements = [query["sql"] for query in captured.captured_queries if "SAVEPOINT" not in query["sql"]]
    assert len(statements) == number, statements


def other_process_changes(**fields: Any) -> None:
    """Change all flags without the signals of this process."""
    get_flag_model().objects.update(**fields)
    FlagSet.objects.update(token=changes.uuid7())


def in_thread(function: Callable[[], Any]) -> threading.Thread:
    """Start a thread with a connection of its own, which it closes."""

    def run() -> None:
        try:
            function()
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


@contextmanager
def rolled_back() -> Iterator[None]:
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


@pytest.fixture
def committed(make: Make) -> Any:
    """A flag that is on, that other transactions can read and that this process has not read."""
    flag = make(default_variant="on")
    flags.reset()
    return flag


def test_evaluation_queries_once_per_refresh(committed: Any, clock: Clock, settings: Any) -> None:
    settings.FLAGS_REFRESH_SECONDS = 5
    with queries(2):  # the token and the flags
        flags.enabled("new-checkout")
    with queries(0):
        for number in range(100):
            flags.enabled("new-checkout", targeting_key=number)
        clock.now += 4.9
        flags.enabled("new-checkout")
    clock.now += 0.2
    with queries(1):
        for _ in range(100):
            flags.enabled("new-checkout")


def test_changed_token_loads_all_flags_with_one_query(committed: Any, clock: Clock, make: Make) -> None:
    for number in range(20):
        make(f"flag-{number}")
    assert flags.enabled("new-checkout")
    other_process_changes(enabled=False)
    assert flags.enabled("new-checkout")
    clock.now += 5
    with queries(2):
        assert not flags.enabled("new-checkout")


def test_own_change_is_visible_after_commit(committed: Any) -> None:
    assert flags.enabled("new-checkout")
    services.set_enabled(flag=committed, enabled=False)
    with queries(0):
        assert not flags.enabled("new-checkout")


def test_transaction_sees_its_own_changes_only(committed: Any) -> None:
    assert flags.enabled("new-checkout")
    seen: list[bool] = []
    with transaction.atomic():
        services.set_enabled(flag=committed, enabled=False)
        assert not flags.enabled("new-checkout")
        flags.provider.refresh()
        in_thread(lambda: seen.append(flags.enabled("new-checkout"))).join()
    assert seen == [True]
    assert not flags.enabled("new-checkout")


def test_rolled_back_change_is_never_held(committed: Any, clock: Clock) -> None:
    """A counter in place of the token would leave the wrong flags for ever (see ``FlagSet``)."""
    version = committed.version
    with rolled_back():
        services.set_enabled(flag=committed, enabled=False)
        clock.now += 60
        assert not flags.enabled("new-checkout")
    assert flags.enabled("new-checkout")
    # The next change has the version that was rolled back.
    changed = change(committed, client_visible=True)
    assert changed.version == version + 1
    clock.now += 60
    assert flags.enabled("new-checkout")
    assert set(flags.all()) == {"new-checkout"}


def test_rolled_back_change_of_another_process_is_never_held(committed: Any, clock: Clock) -> None:
    """This process reads inside the transaction of a change that it does not know of, as with raw SQL."""
    with rolled_back():
        other_process_changes(enabled=False)
        clock.now += 60
        assert not flags.enabled("new-checkout")
    clock.now += 60
    assert flags.enabled("new-checkout")


def test_rolled_back_savepoint_leaves_the_outer_change(committed: Any) -> None:
    with transaction.atomic():
        flag = change(committed, name="outer", client_visible=True)
        assert set(flags.all()) == {"new-checkout"}
        with rolled_back():
            change(flag, client_visible=False)
            assert not flags.all()
        assert set(flags.all()) == {"new-checkout"}
    assert set(flags.all()) == {"new-checkout"}


def test_finished_transactions_leave_no_open_change(committed: Any) -> None:
    with rolled_back():
        services.set_enabled(flag=committed, enabled=False)
        assert changes.are_open()
    services.set_enabled(flag=committed, enabled=False)
    gc.collect()
    assert not changes.are_open()


def test_deleted_row_is_noticed(committed: Any) -> None:
    assert flags.enabled("new-checkout")
    committed.delete()
    assert flags.details("new-checkout").error == "FLAG_NOT_FOUND"


def test_saved_row_is_noticed(committed: Any, clock: Clock) -> None:
    before = FlagSet.objects.get().token
    committed.enabled = False
    committed.save()
    assert not flags.enabled("new-checkout")
    assert FlagSet.objects.get().token != before


def test_expiry_during_a_query_is_not_lost(committed: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message of a change arrives while this process reads the flags of before."""
    load = database.load

    def load_slowly(alias: str, token: str | None) -> Any:
        snapshot = load(alias, token)
        other_process_changes(enabled=False)
        flags.provider.expire()
        return snapshot

    monkeypatch.setattr(database, "load", load_slowly)
    assert flags.enabled("new-checkout")
    monkeypatch.setattr(database, "load", load)
    assert not flags.enabled("new-checkout")


def test_one_thread_refreshes_while_others_go_on(committed: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    assert flags.enabled("new-checkout")
    reading, go_on = threading.Event(), threading.Event()
    readers: list[int] = []

    def read_slowly(alias: str) -> str | None:
        readers.append(threading.get_ident())
        reading.set()
        go_on.wait(10)
        return None

    monkeypatch.setattr(database, "_read_token", read_slowly)
    clock.now += 60
    thread = in_thread(lambda: flags.enabled("new-checkout"))
    reading.wait(10)
    assert [flags.enabled("new-checkout") for _ in range(10)] == [True] * 10
    go_on.set()
    thread.join()
    assert readers == [thread.ident]


def test_threads_wait_for_the_first_load(committed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    reading, go_on = threading.Event(), threading.Event()
    load = database.load

    def load_slowly(alias: str, token: str | None) -> Any:
        reading.set()
        go_on.wait(10)
        return database.Snapshot(rows, token)

    rows = load("default", None)._rows
    monkeypatch.setattr(database, "load", load_slowly)
    values: list[bool] = []
    threads = [in_thread(lambda: values.append(flags.enabled("new-checkout"))) for _ in range(4)]
    reading.wait(10)
    go_on.set()
    for thread in threads:
        thread.join()
    assert values == [True] * 4


def fail(*args: object) -> Any:
    raise OperationalError("the database is down")


def test_failing_database_keeps_the_last_flags(
    committed: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert flags.enabled("new-checkout")
    assert flags.health().healthy
    monkeypatch.setattr(database, "_read_token", fail)
    since = None
    for _ in range(5):
        clock.now += 6
        assert flags.enabled("new-checkout")
        health = flags.health()
        assert (health.healthy, health.flags) == (False, 1)
        assert health.error == "OperationalError: the database is down"
        assert since in {None, health.stale_since}
        since = health.stale_since
    assert len(caplog.records) == 1  # in half a minute
    monkeypatch.undo()
    monkeypatch.setattr(database, "monotonic", clock)
    clock.now += 6
    assert flags.health().healthy


def test_failing_database_is_asked_once_per_refresh(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def count(alias: str) -> Any:
        asked.append(1)
        fail()

    monkeypatch.setattr(database, "_read_token", count)
    for _ in range(100):
        assert flags.details("new-checkout", default=True).error == "PROVIDER_NOT_READY"
    assert len(asked) == 1


def test_failed_read_is_repeated_before_a_long_refresh(
    committed: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    """A process that starts before its database would have no flags for an hour."""
    settings.FLAGS_REFRESH_SECONDS = 3600
    with monkeypatch.context() as patch:
        patch.setattr(database, "_read_token", fail)
        assert not flags.enabled("new-checkout")
    clock.now += database.RETRY_SECONDS - 1
    assert not flags.enabled("new-checkout")
    clock.now += 1
    assert flags.enabled("new-checkout")
    clock.now += database.RETRY_SECONDS
    with queries(0):
        assert flags.enabled("new-checkout")


def test_flags_that_were_never_read_are_unhealthy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_read_token", fail)
    health = flags.health()
    assert (health.healthy, health.flags, health.loaded_at) == (False, None, None)
    assert flags.all() == {}


def test_failing_query_does_not_break_the_transaction_of_the_caller(
    committed: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As before ``migrate``. On PostgreSQL, a failed statement ends the transaction."""

    def read_missing_table(alias: str) -> Any:
        with connection.cursor() as cursor:
            cursor.execute("SELECT token FROM missing")

    assert flags.enabled("new-checkout")
    monkeypatch.setattr(database, "_read_token", read_missing_table)
    clock.now += 60
    with transaction.atomic():
        assert flags.enabled("new-checkout")
        assert not flags.health().healthy
        assert get_flag_model().objects.count() == 1


def test_broken_transaction_keeps_the_last_flags(committed: Any, clock: Clock) -> None:
    assert flags.enabled("new-checkout")
    with rolled_back():
        clock.now += 60
        connection.needs_rollback = True
        assert flags.enabled("new-checkout")
    assert flags.health().healthy


def test_event_loop_never_queries(committed: Any, clock: Clock) -> None:
    assert flags.enabled("new-checkout")
    other_process_changes(enabled=False)
    clock.now += 60

    async def evaluate() -> tuple[bool, bool]:
        before = flags.enabled("new-checkout")
        await flags.arefresh()
        return before, flags.enabled("new-checkout")

    with CaptureQueriesContext(connection):
        assert asynchronous.run(evaluate()) == (True, False)


def test_async_evaluation_reads_flags_that_are_due(committed: Any) -> None:
    async def evaluate() -> tuple[bool, bool, str]:
        details = await flags.adetails("new-checkout")
        return await flags.aenabled("new-checkout"), await flags.avalue("new-checkout"), details.reason

    assert asynchronous.run(evaluate()) == (True, True, "STATIC")


def test_refresh_of_zero_seconds_queries_each_time(committed: Any, settings: Any) -> None:
    settings.FLAGS_REFRESH_SECONDS = 0
    assert flags.enabled("new-checkout")
    with queries(2):
        flags.enabled("new-checkout")
        flags.enabled("new-checkout")


def test_flush_is_noticed(committed: Any) -> None:
    from django.core.management import call_command

    assert flags.enabled("new-checkout")
    call_command("flush", interactive=False, verbosity=0)
    assert flags.details("new-checkout").error == "FLAG_NOT_FOUND"


class ProcessProvider(Provider):
    """Its flags are on in the process that has created it."""

    def __init__(self) -> None:
        self.process = os.getpid()

    def details(self, key: str, default: Any, context: Context) -> Details:
        return Details(os.getpid() == self.process, "on")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")  # threads of other tests
def test_forked_process_gets_a_provider_of_its_own(settings: Any) -> None:
    """The threads of the parent's provider do not exist in the child, and its locks may be held."""
    settings.FLAGS_PROVIDER = ProcessProvider
    assert flags.enabled("new-checkout")
    # As by a thread of the parent that creates the provider at this moment. The child would wait for it forever.
    with flags._lock:
        child = os.fork()
        if child == 0:
            signal.alarm(10)
            try:
                os._exit(0 if flags.enabled("new-checkout") else 1)
            finally:
                os._exit(2)  # the child must not go on with the tests
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_invalidation_expires_flags_of_other_processes(committed: Any, settings: Any) -> None:
    class Channel:
        messages = 0

        def start(self, changed: Callable[[], None]) -> None:
            Channel.changed = staticmethod(changed)

        def publish(self) -> None:
            Channel.messages += 1

        def close(self) -> None: ...

    settings.FLAGS_INVALIDATION = Channel
    assert flags.enabled("new-checkout")
    other_process_changes(enabled=False)
    assert flags.enabled("new-checkout")
    Channel.changed()
    assert not flags.enabled("new-checkout")
    services.set_enabled(flag=committed, enabled=True)
    assert Channel.messages == 1


def test_failing_invalidation_does_not_break_the_change(committed: Any, settings: Any) -> None:
    class Channel:
        def start(self, changed: Callable[[], None]) -> None: ...

        def publish(self) -> None:
            raise ConnectionError("the broker is down")

        def close(self) -> None: ...

    settings.FLAGS_INVALIDATION = Channel
    assert flags.enabled("new-checkout")
    services.set_enabled(flag=committed, enabled=False)
    assert not flags.enabled("new-checkout")
