"""Races between threads, each with its own database connection."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from dovetail_apikeys import services
from dovetail_apikeys.exceptions import AlreadyRotated, NotActive, NotAMember
from dovetail_apikeys.models import APIKey
from dovetail_apikeys.verification import authentication, usage
from dovetail_core.events import Event, emit
from tests.apikeys.factories import bearer, make_firm, make_key, make_user
from tests.apikeys.firms.models import Employee, Firm
from tests.parallel import at_once, rounds

pytestmark = pytest.mark.django_db(transaction=True)
ROUNDS = 25
PARALLEL = 8


def _is_member(organization_id: Any, user_id: Any) -> bool:
    return Employee.objects.filter(firm=organization_id, user=user_id).exists()


def _remove_member(firm: Any, user: Any) -> None:
    with transaction.atomic():
        # As tenancy does before it ends a membership.
        if connection.features.has_select_for_update:
            Firm.objects.select_for_update(no_key=connection.features.has_select_for_no_key_update).get(pk=firm.pk)
        Employee.objects.filter(user=user).delete()
        emit("member.removed", organization_id=firm.pk, data={"user_id": str(user.pk)})


@pytest.mark.parametrize("rotate", [False, True], ids=["create", "rotate"])
def test_no_key_survives_a_simultaneous_removal(rotate: bool, settings: Any) -> None:
    settings.API_KEYS_REVOKE_WITH_MEMBER = True
    settings.API_KEYS_IS_MEMBER = f"{__name__}._is_member"
    for _ in range(rounds(ROUNDS)):
        firm = make_firm()
        user = make_user(firm)
        old, _raw = make_key(firm, created_by=user)
        create = partial(services.rotate_api_key, old) if rotate else partial(make_key, firm, created_by=user)
        outcomes = at_once(create, partial(_remove_member, firm, user))
        assert all(isinstance(outcome, tuple | NotAMember | NotActive | None) for outcome in outcomes), outcomes
        assert not APIKey.objects.filter(organization=firm, revoked_at=None).exists(), outcomes


def test_simultaneous_rotations_create_one_successor() -> None:
    for _ in range(rounds(ROUNDS)):
        old, _raw = make_key()
        outcomes = at_once(*[partial(services.rotate_api_key, old)] * 4)
        kinds = Counter(type(outcome).__name__ for outcome in outcomes)
        assert kinds == {"tuple": 1, AlreadyRotated.__name__: 3}, outcomes
        successor = APIKey.objects.get(rotated_from=old.pk)
        raw = next(outcome[1] for outcome in outcomes if isinstance(outcome, tuple))
        assert successor.key_prefix == raw[: len(successor.key_prefix)]
        assert bearer(raw).get("/plain/").status_code == 200


def test_key_revoked_during_rotation_stays_revoked(events: list[Event]) -> None:
    for _ in range(rounds(ROUNDS)):
        old, raw = make_key()
        rotated, revoked = at_once(
            partial(services.rotate_api_key, APIKey.objects.get(pk=old.pk)), partial(services.revoke_api_key, old)
        )
        assert revoked is True, revoked
        assert APIKey.objects.get(pk=old.pk).status == "revoked"
        assert bearer(raw).get("/plain/").status_code == 401
        # A rotation after the revocation fails. One before it creates a successor, which is not revoked.
        assert isinstance(rotated, tuple) or rotated.code == "not_active", rotated


def test_simultaneous_revocations_emit_one_event(events: list[Event]) -> None:
    for _ in range(rounds(ROUNDS)):
        api_key, _raw = make_key()
        del events[:]
        calls = [partial(services.revoke_api_key, APIKey.objects.get()) for _ in range(4)]
        assert sorted(at_once(*calls)) == [False, False, False, True]
        assert [event.name for event in events] == ["api_key.revoked"]
        api_key.delete()


def test_simultaneous_workers_announce_an_expiry_once(events: list[Event]) -> None:
    for _ in range(rounds(ROUNDS)):
        api_key, _raw = make_key(expires_at=timezone.now() + timedelta(days=1))
        del events[:]
        assert sorted(at_once(*[services.announce_expiring_keys] * 4)) == [0, 0, 0, 1]
        assert [event.name for event in events] == ["api_key.expiring"]
        api_key.delete()


def test_simultaneous_uses_cause_one_update(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only one thread passes the gate of a process, and only one process matches the condition of the UPDATE."""
    for gated in (True, False):
        if not gated:
            # Without the gate, each thread stands for a process of its own.
            monkeypatch.setattr(usage.gate, "passes", lambda *args: True)
        for _ in range(rounds(ROUNDS // 5)):
            usage.gate.clear()
            api_key, raw = make_key()
            APIKey.objects.filter(pk=api_key.pk).update(
                last_used=timezone.now() - timedelta(hours=1), used_networks="127.0.0.0/24"
            )
            writes = Writes()
            with writes:
                responses = at_once(*[lambda raw=raw: bearer(raw).get("/plain/")] * PARALLEL)
            assert [response.status_code for response in responses] == [200] * PARALLEL, responses
            if gated:
                assert writes.statements == 1
            assert writes.rows == 1
            assert APIKey.objects.get(pk=api_key.pk).last_used > timezone.now() - timedelta(minutes=1)


class Writes:
    """Counts the UPDATEs of keys by all threads, and the rows that they changed."""

    statements = 0
    rows = 0

    def __enter__(self) -> None:
        from django.db.models.query import QuerySet

        self.update = update = QuerySet.update
        lock = threading.Lock()

        def counting(rows: Any, **values: Any) -> int:
            # Not in the request's transaction, which ATOMIC_REQUESTS keeps open until the response.
            assert not connection.in_atomic_block
            count = update(rows, **values)
            with lock:
                self.statements += 1
                self.rows += count
            return count

        QuerySet.update = counting  # type: ignore[method-assign]

    def __exit__(self, *exception: object) -> None:
        from django.db.models.query import QuerySet

        QuerySet.update = self.update  # type: ignore[method-assign]


def test_use_is_recorded_outside_the_transaction_of_a_failing_view() -> None:
    _api_key, raw = make_key()
    APIKey.objects.update(used_networks="127.0.0.0/24")
    writes = Writes()
    with writes:
        assert bearer(raw).get("/refusing/").status_code == 500
    assert writes.rows == 1
    assert APIKey.objects.get().last_used is not None


def test_simultaneous_uses_from_a_new_network_emit_one_event(
    events: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage.gate, "passes", lambda *args: True)
    for _ in range(rounds(ROUNDS // 5)):
        _api_key, raw = make_key()
        bearer(raw).get("/plain/", REMOTE_ADDR="192.0.2.1")
        del events[:]
        at_once(*[lambda raw=raw: bearer(raw).get("/plain/", REMOTE_ADDR="198.51.100.1")] * PARALLEL)
        assert [event.name for event in events] == ["api_key.used_from_new_network"]


@pytest.mark.parametrize("slow", ["before the read", "after the read"])
def test_slow_reads_do_not_cache_a_revoked_key(monkeypatch: pytest.MonkeyPatch, settings: Any, slow: str) -> None:
    """Threads that read the key before or during its revocation do not leave it in the cache."""
    settings.API_KEYS_CACHE_TTL = 3600
    firm = make_firm()
    look_up = authentication.look_up
    for _ in range(rounds(ROUNDS)):
        api_key, raw = make_key(firm)
        arrived = threading.Barrier(5)
        revoked = threading.Event()

        def slow_look_up(prefix: str, arrived: Any = arrived, revoked: Any = revoked) -> Any:
            stored = look_up(prefix) if slow == "after the read" else None
            arrived.wait(timeout=30)
            revoked.wait(timeout=30)
            return stored or look_up(prefix)

        def revoke(api_key: Any = api_key, arrived: Any = arrived, revoked: Any = revoked) -> None:
            arrived.wait(timeout=30)
            with transaction.atomic():
                services.revoke_api_key(api_key)
            revoked.set()

        monkeypatch.setattr(authentication, "look_up", slow_look_up)
        readers = at_once(*[lambda raw=raw: bearer(raw).get("/plain/").status_code] * 4, revoke)[:4]
        # Requests that have read before the revocation are still accepted; later ones are rejected.
        assert readers == [200 if slow == "after the read" else 401] * 4
        monkeypatch.setattr(authentication, "look_up", look_up)
        assert bearer(raw).get("/plain/").status_code == 401


def test_cache_rejects_requests_after_a_revocation_returns(settings: Any) -> None:
    """After revoke_api_key() returns, all threads of the process reject the key."""
    settings.API_KEYS_CACHE_TTL = 3600
    for _ in range(rounds(ROUNDS)):
        api_key, raw = make_key()
        done = threading.Event()
        after: list[int] = []

        def send_requests(raw: str = raw, done: Any = done, after: list[int] = after) -> None:
            for _ in range(20):
                is_revoked = done.is_set()
                status = bearer(raw).get("/plain/").status_code
                if is_revoked:
                    after.append(status)

        def revoke(api_key: Any = api_key, done: Any = done) -> None:
            services.revoke_api_key(api_key)
            done.set()

        failures = [
            outcome for outcome in at_once(send_requests, send_requests, send_requests, revoke) if outcome is not None
        ]
        assert failures == []
        assert set(after) <= {401}
        assert bearer(raw).get("/plain/").status_code == 401
