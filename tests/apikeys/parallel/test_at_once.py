"""What must hold when requests meet: real threads, each with a connection of its own."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.conf import settings
from django.db import connection, connections, transaction
from django.utils import timezone

from dovetail_apikeys import services
from dovetail_apikeys.exceptions import AlreadyRotated
from dovetail_apikeys.models import APIKey
from dovetail_apikeys.verification import authentication, usage
from dovetail_core.events import Event
from tests.apikeys.factories import bearer, make_firm, make_key

pytestmark = pytest.mark.django_db(transaction=True)
ROUNDS = 10 if settings.DATABASES["default"]["ATOMIC_REQUESTS"] else 25
PARALLEL = 8


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """What each call returned or raised, all begun together."""
    barrier = threading.Barrier(len(calls))
    outcomes: list[Any] = [None] * len(calls)

    def run(index: int, call: Callable[[], Any]) -> None:
        try:
            # The connection is opened first, so that the calls themselves meet.
            connection.ensure_connection()
            barrier.wait(timeout=30)
            outcomes[index] = call()
        except Exception as error:  # noqa: BLE001  # an outcome like any other, judged by the test
            outcomes[index] = error
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=item) for item in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not any(thread.is_alive() for thread in threads)
    return outcomes


def test_of_rotations_at_once_one_makes_the_successor() -> None:
    for _ in range(ROUNDS):
        old, _raw = make_key()
        outcomes = at_once(*[partial(services.rotate_api_key, old)] * 4)
        kinds = Counter(type(outcome).__name__ for outcome in outcomes)
        assert kinds == {"tuple": 1, AlreadyRotated.__name__: 3}, outcomes
        successor = APIKey.objects.get(rotated_from=old.pk)
        raw = next(outcome[1] for outcome in outcomes if isinstance(outcome, tuple))
        assert successor.key_prefix == raw[: len(successor.key_prefix)]
        assert bearer(raw).get("/plain/").status_code == 200


def test_a_key_that_is_revoked_while_it_is_rotated_is_dead_in_the_end(events: list[Event]) -> None:
    for _ in range(ROUNDS):
        old, raw = make_key()
        rotated, revoked = at_once(
            partial(services.rotate_api_key, APIKey.objects.get(pk=old.pk)), partial(services.revoke_api_key, old)
        )
        assert revoked is True, revoked
        assert APIKey.objects.get(pk=old.pk).status == "revoked"
        assert bearer(raw).get("/plain/").status_code == 401
        # Too late, the rotation is told; in time, its successor is another key, to be revoked by itself.
        assert isinstance(rotated, tuple) or rotated.code == "not_active", rotated


def test_a_key_is_revoked_once_however_often_at_once(events: list[Event]) -> None:
    for _ in range(ROUNDS):
        api_key, _raw = make_key()
        del events[:]
        calls = [partial(services.revoke_api_key, APIKey.objects.get()) for _ in range(4)]
        assert sorted(at_once(*calls)) == [False, False, False, True]
        assert [event.name for event in events] == ["api_key.revoked"]
        api_key.delete()


def test_an_expiry_is_told_of_once_however_many_workers_look_at_once(events: list[Event]) -> None:
    for _ in range(ROUNDS):
        api_key, _raw = make_key(expires_at=timezone.now() + timedelta(days=1))
        del events[:]
        assert sorted(at_once(*[services.announce_expiring_keys] * 4)) == [0, 0, 0, 1]
        assert [event.name for event in events] == ["api_key.expiring"]
        api_key.delete()


def test_a_first_use_by_many_is_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gate lets one of the threads of a process write, and the condition in the UPDATE one of many processes."""
    for gated in (True, False):
        if not gated:
            # Every thread is a process of its own, which remembers nothing.
            monkeypatch.setattr(usage.gate, "passes", lambda *args: True)
        for _ in range(ROUNDS // 5):
            usage.gate.clear()
            api_key, raw = make_key()
            APIKey.objects.filter(pk=api_key.pk).update(
                last_used=timezone.now() - timedelta(hours=1), used_networks="127.0.0.0/24"
            )
            writes = Writes()
            with writes:
                answers = at_once(*[lambda raw=raw: bearer(raw).get("/plain/")] * PARALLEL)
            assert [answer.status_code for answer in answers] == [200] * PARALLEL, answers
            if gated:
                assert writes.tried == 1
            assert writes.made == 1
            assert APIKey.objects.get(pk=api_key.pk).last_used > timezone.now() - timedelta(minutes=1)


class Writes:
    """Counts the UPDATEs of keys by all threads, and those that found a row."""

    tried = 0
    made = 0

    def __enter__(self) -> None:
        from django.db.models.query import QuerySet

        self.update = update = QuerySet.update
        lock = threading.Lock()

        def counting(rows: Any, **values: Any) -> int:
            # Never in the transaction of the request, which ATOMIC_REQUESTS would hold open until the answer.
            assert not connection.in_atomic_block
            found = update(rows, **values)
            with lock:
                self.tried += 1
                self.made += found
            return found

        QuerySet.update = counting  # type: ignore[method-assign]

    def __exit__(self, *exception: object) -> None:
        from django.db.models.query import QuerySet

        QuerySet.update = self.update  # type: ignore[method-assign]


def test_a_use_is_noted_outside_of_the_transaction_although_the_view_raises() -> None:
    _api_key, raw = make_key()
    APIKey.objects.update(used_networks="127.0.0.0/24")
    writes = Writes()
    with writes:
        assert bearer(raw).get("/refusing/").status_code == 500
    assert writes.made == 1
    assert APIKey.objects.get().last_used is not None


def test_a_new_network_that_many_come_from_at_once_is_one_event(
    events: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage.gate, "passes", lambda *args: True)
    for _ in range(ROUNDS // 5):
        _api_key, raw = make_key()
        bearer(raw).get("/plain/", REMOTE_ADDR="192.0.2.1")
        del events[:]
        at_once(*[lambda raw=raw: bearer(raw).get("/plain/", REMOTE_ADDR="198.51.100.1")] * PARALLEL)
        assert [event.name for event in events] == ["api_key.used_from_new_network"]


@pytest.mark.parametrize("slow", ["before the read", "after the read"])
def test_a_revocation_holds_under_slow_fills_of_the_memory(
    monkeypatch: pytest.MonkeyPatch, settings: Any, slow: str
) -> None:
    """Readers that read the good key, or are about to, while it is revoked: none leaves it in memory."""
    settings.API_KEYS_CACHE_TTL = 3600
    firm = make_firm()
    look_up = authentication.look_up
    for _ in range(ROUNDS):
        api_key, raw = make_key(firm)
        arrived = threading.Barrier(5)
        revoked = threading.Event()

        def slowly(prefix: str, arrived: Any = arrived, revoked: Any = revoked) -> Any:
            found = look_up(prefix) if slow == "after the read" else None
            arrived.wait(timeout=30)
            revoked.wait(timeout=30)
            return found or look_up(prefix)

        def revoke(api_key: Any = api_key, arrived: Any = arrived, revoked: Any = revoked) -> None:
            arrived.wait(timeout=30)
            with transaction.atomic():
                services.revoke_api_key(api_key)
            revoked.set()

        monkeypatch.setattr(authentication, "look_up", slowly)
        readers = at_once(*[lambda raw=raw: bearer(raw).get("/plain/").status_code] * 4, revoke)[:4]
        # Who has read before is answered as of then; who reads after is refused.
        assert readers == [200 if slow == "after the read" else 401] * 4
        monkeypatch.setattr(authentication, "look_up", look_up)
        assert bearer(raw).get("/plain/").status_code == 401


def test_memory_under_revocations_and_requests_at_once(settings: Any) -> None:
    """Once revoke_api_key() has returned, no thread of the process gets in any more."""
    settings.API_KEYS_CACHE_TTL = 3600
    for _ in range(ROUNDS):
        api_key, raw = make_key()
        done = threading.Event()
        after: list[int] = []

        def ask(raw: str = raw, done: Any = done, after: list[int] = after) -> None:
            for _ in range(20):
                over = done.is_set()
                status = bearer(raw).get("/plain/").status_code
                if over:
                    after.append(status)

        def revoke(api_key: Any = api_key, done: Any = done) -> None:
            services.revoke_api_key(api_key)
            done.set()

        failures = [outcome for outcome in at_once(ask, ask, ask, revoke) if outcome is not None]
        assert failures == []
        assert set(after) <= {401}
        assert bearer(raw).get("/plain/").status_code == 401
