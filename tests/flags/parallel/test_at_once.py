"""Parallel changes in real threads, each with its own connection."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.db import connections, transaction

from dovetail_core.transactions import is_conflict
from dovetail_flags import flags, services
from dovetail_flags.base import get_flag_model
from dovetail_flags.exceptions import Conflict, KeyTaken
from dovetail_flags.models import FlagRevision, FlagSet
from tests.parallel import at_once, rounds

pytestmark = pytest.mark.django_db(transaction=True)
PARALLEL = 8
ROUNDS = 8


def as_requests(*calls: Callable[[], Any]) -> list[Any]:
    return at_once(*[partial(_as_request, call) for call in calls])


def _as_request(call: Callable[[], Any]) -> Any:
    if not connections.settings["default"]["ATOMIC_REQUESTS"]:
        return call()
    with transaction.atomic():
        return call()


def names(outcomes: list[Any]) -> Counter[str]:
    return Counter(type(outcome).__name__ for outcome in outcomes)


def stored() -> Any:
    return get_flag_model().objects.get()


def update(flag: Any, **changes: Any) -> Callable[[], Any]:
    return partial(services.update_flag, flag=flag, version=flag.version, changes=changes)


def create(key: str) -> Callable[[], Any]:
    return partial(services.create_flag, key=key)


def test_one_of_eight_updates_of_a_version_wins() -> None:
    services.create_flag(key="rollout")
    for number in range(rounds(ROUNDS)):
        flag = stored()
        outcomes = as_requests(*[update(flag, name=f"{number}/{thread}") for thread in range(PARALLEL)])
        assert names(outcomes) == {"Flag": 1, "Conflict": PARALLEL - 1}, outcomes
        [winner] = [outcome for outcome in outcomes if not isinstance(outcome, Conflict)]
        assert (stored().name, stored().version) == (winner.name, flag.version + 1)
    assert FlagRevision.objects.count() == rounds(ROUNDS) + 1


def test_kill_switch_never_loses() -> None:
    flag = services.create_flag(key="rollout", enabled=True)
    for _ in range(rounds(ROUNDS)):
        flag = services.set_enabled(flag=flag, enabled=True)
        kill = partial(services.set_enabled, flag=flag, enabled=False)
        updates = [update(flag, enabled=True, description=f"{flag.version}/{thread}") for thread in range(PARALLEL - 1)]
        outcomes = as_requests(kill, *updates)
        assert not isinstance(outcomes[0], Exception), outcomes
        assert not stored().enabled
        assert not flags.enabled("rollout")


def test_one_of_eight_creations_of_a_key_wins() -> None:
    for number in range(rounds(ROUNDS)):
        outcomes = as_requests(*[create(f"flag-{number}")] * PARALLEL)
        assert names(outcomes) == {"Flag": 1, KeyTaken.__name__: PARALLEL - 1}, outcomes


def test_first_changes_at_once_all_succeed() -> None:
    outcomes = as_requests(*[create(f"flag-{thread}") for thread in range(PARALLEL)])
    assert names(outcomes) == {"Flag": PARALLEL}, outcomes


def test_deleted_set_is_created_once() -> None:
    for number in range(rounds(ROUNDS)):
        FlagSet.objects.all().delete()
        outcomes = as_requests(*[create(f"flag-{number}-{thread}") for thread in range(PARALLEL)])
        # MariaDB ends a transaction that waits for the key of an uncommitted row.
        assert all(not isinstance(outcome, Exception) or is_conflict(outcome) for outcome in outcomes), outcomes
        assert FlagSet.objects.count() == 1


def test_imports_at_once_create_each_flag_once() -> None:
    document = {
        "format": services.EXPORT_FORMAT,
        "flags": [{"key": f"flag-{number}", "type": "boolean"} for number in range(5)],
    }
    outcomes = as_requests(*[lambda: services.import_flags(document=document)] * 4)
    assert [sorted(set(outcome.values())) for outcome in outcomes].count(["created"]) == 1, outcomes
    assert FlagRevision.objects.count() == 5


def test_changes_of_two_flags_in_two_orders_do_not_deadlock() -> None:
    pair = [services.create_flag(key=key, enabled=True) for key in ("a", "b")]

    def toggle(*order: Any) -> None:
        with transaction.atomic():
            for flag in order:
                services.set_enabled(flag=flag, enabled=not flag.enabled)

    for _ in range(rounds(ROUNDS)):
        outcomes = as_requests(lambda: toggle(*pair), lambda: toggle(*reversed(pair)))
        assert not [outcome for outcome in outcomes if outcome is not None], outcomes


def test_reader_never_holds_a_rolled_back_change(settings: Any) -> None:
    """A writer changes flags in transactions that it mostly rolls back, while other threads read after each."""
    settings.FLAGS_REFRESH_SECONDS = 0
    flag = services.create_flag(key="rollout", enabled=True, default_variant="on")
    wrong: list[bool] = []
    stop = threading.Event()

    def write() -> None:
        for _ in range(rounds(ROUNDS)):
            with transaction.atomic():
                services.set_enabled(flag=flag, enabled=False)
                transaction.set_rollback(True)
        stop.set()

    def read() -> None:
        while not stop.is_set():
            try:
                if not flags.enabled("rollout"):
                    wrong.append(True)
            except Exception as error:
                if not is_conflict(error):
                    raise

    outcomes = as_requests(write, *[read] * 3)
    assert outcomes == [None] * 4
    assert not wrong
    assert flags.enabled("rollout")
