"""Every pair of the API's write operations, sent at the same moment to the same objects.

The pairs come from the schema. ``RACES_ROUNDS`` is the number of rounds of all pairs (default: 1). With ``-s``, the
test prints a table of the statuses.
"""

from __future__ import annotations

import logging
import os
import threading
import traceback
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations_with_replacement
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.core.cache import cache
from django.db import connection, connections

from billing.models import Customer
from dovetail_contract.testing import reset_rate_limits, unchecked
from dovetail_core import attempts, transactions
from tests.composed import factories
from tests.composed.operations import Operation, write_operations
from tests.composed.worlds import BODIES, SENDERS, World, make_worlds

ROUNDS = int(os.environ.get("RACES_ROUNDS", "1"))

OPERATIONS = write_operations()
PAIRS = list(combinations_with_replacement(OPERATIONS, 2))


class Racers:
    """Two threads, each with its own connection, that send their requests at the same moment."""

    def __init__(self) -> None:
        self._pool, self._barrier = ThreadPoolExecutor(2), threading.Barrier(2, timeout=30)

    def race(self, world: World, racers: list[tuple[Operation, str]]) -> list[Any]:
        tasks = [self._pool.submit(self._send, operation, world, sender) for operation, sender in racers]
        return [task.result(timeout=60) for task in tasks]

    def _send(self, operation: Operation, world: World, sender: str) -> Any:
        connection.ensure_connection()
        self._barrier.wait()
        return operation.send(world, sender)

    def close(self) -> None:
        for task in [self._pool.submit(self._close) for _ in range(2)]:
            task.result(timeout=30)
        self._pool.shutdown()

    def _close(self) -> None:
        self._barrier.wait()
        connections.close_all()


@pytest.fixture
def racers() -> Iterator[Racers]:
    racers = Racers()
    # Formatting thousands of log records takes a third of the time.
    logging.disable(logging.CRITICAL)
    yield racers
    logging.disable(logging.NOTSET)
    racers.close()


@pytest.fixture
def conflicts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The deadlocks and other conflicts that a service repeats, so that the client does not notice them."""
    conflicts: list[str] = []
    is_conflict = transactions.is_conflict

    def record(error: BaseException) -> bool:
        if conflict := is_conflict(error):
            conflicts.append(str(error))
        return conflict

    monkeypatch.setattr(transactions, "is_conflict", record)
    return conflicts


@pytest.fixture(autouse=True)
def _without_limits(settings: Any) -> Iterator[None]:
    many = ((1_000_000, 3600),)
    settings.MAGIC_LINK_REQUESTS_PER_NETWORK = settings.MAGIC_LINK_REQUESTS_PER_SITE = many
    # Validating each response takes as long as the request. Other tests validate them.
    with unchecked():
        yield


def in_round(number: int, pair: tuple[Operation, Operation]) -> list[tuple[Operation, str]]:
    """Return the operations and their senders: one person, or in every other round two owners."""
    senders = [SENDERS.get(operation.name) for operation in pair]
    named = next(filter(None, senders), None)
    # The same person, because people delete their own accounts.
    default = ["owner", "owner" if number % 2 == 0 else "partner"] if named is None else [named, named]
    racers = [(operation, sender) for operation, sender in zip(pair, default, strict=True)]
    # In half of the rounds, the second operation of the pair begins first.
    return racers if number % 4 < 2 else racers[::-1]


def test_every_request_body_has_a_recipe():
    # Add a function to worlds.BODIES that returns a valid body for one world.
    assert {operation.name for operation in OPERATIONS if operation.has_body} == BODIES.keys()
    assert SENDERS.keys() <= {operation.name for operation in OPERATIONS}


@pytest.mark.django_db
def test_each_request_succeeds_alone():
    refused = {}
    for operation, world in zip(OPERATIONS, make_worlds(len(OPERATIONS)), strict=True):
        answer = operation.send(world)
        if not 200 <= answer.status_code < 300:
            refused[operation.name] = (answer.status_code, answer.content)
    assert refused == {}


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(
    "connection.vendor != 'postgresql'", reason="needs row locks: set DATABASE_URL to a PostgreSQL database"
)
def test_no_pair_of_writes_fails(racers, conflicts):
    statuses: Counter[tuple[str, int]] = Counter()
    failures: dict[str, str] = {}
    for number in range(ROUNDS):
        for world, pair in zip(make_worlds(len(PAIRS)), PAIRS, strict=True):
            operations = in_round(number, pair)
            for (operation, _), answer in zip(operations, racers.race(world, operations), strict=True):
                statuses[operation.name, answer.status_code] += 1
                # A row that is deleted twice is missing the second time; the request is not malformed.
                if answer.status_code >= 500 or (operation.method, answer.status_code) == ("delete", 400):
                    names = " and ".join(operation.name for operation in pair)
                    failures[f"{names}: {operation.name} answered {answer.status_code}"] = _trace(answer)
            for reset in (cache.clear, reset_rate_limits, attempts.reset):
                reset()
    print(f"\n{len(PAIRS)} pairs, {ROUNDS} rounds, {len(conflicts)} conflicts")
    for operation in OPERATIONS:
        counts = {status: count for (name, status), count in sorted(statuses.items()) if name == operation.name}
        print(f"{operation.name:<44}", *(f"{status}: {count:<6}" for status, count in counts.items()))
    assert not failures, "\n\n".join(f"{name}\n{trace}" for name, trace in sorted(failures.items()))
    # A repeated transaction has waited a second for PostgreSQL to notice the deadlock.
    assert conflicts == []


@pytest.mark.django_db(transaction=True)
def test_race_that_is_lost_at_the_commit_is_503(monkeypatch):
    # The transaction of an idempotency key is not the service's own, which therefore cannot repeat it.
    def create_customer(**fields: Any) -> Customer:
        Permission.objects.create(name="x", codename="x", content_type_id=10**6)
        return Customer(**fields)

    organization = factories.organization()
    api = factories.client(organization.owner, organization)
    api.raise_request_exception = False
    request = ["/api/v1/customers", {"name": "Bill", "email": "bill@example.com"}]
    with monkeypatch.context() as patch:
        patch.setattr("billing.services.create_customer", create_customer)
        answer = api.post(*request, headers={"Idempotency-Key": "1"})
    assert (answer.status_code, answer.json()["code"], answer.headers["Retry-After"]) == (503, "unavailable", "5")
    assert api.post(*request, headers={"Idempotency-Key": "1"}).status_code == 201


def _trace(answer: Any) -> str:
    exception = getattr(answer, "exc_info", None)
    return "".join(traceback.format_exception(*exception)[-3:]) if exception else answer.content.decode()
