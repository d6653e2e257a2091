"""Parallel workers and requests: real threads, each with its own connection."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest

from dovetail_notify import get_notification_model, notify
from dovetail_notify.models import Delivery
from dovetail_notify.outbox.worker import deliver
from dovetail_notify.realtime.socket_authentication import issue_ticket, redeem_ticket, redeem_tickets
from dovetail_notify.transports import Outcome, Transport
from tests.notify.factories import make_user, make_users
from tests.notify.orders.notifications import OrderShipped
from tests.parallel import at_once, rounds

pytestmark = pytest.mark.django_db(transaction=True)
PARALLEL = 6
ROUNDS = 20

claimed: list[Any] = []


class Counting(Transport):
    def send(self, deliveries: Sequence[Delivery]) -> Sequence[Outcome]:
        claimed.extend(delivery.pk for delivery in deliveries)
        return [Outcome.sent()] * len(deliveries)


def numbered(call: Callable[[int], Any]) -> list[Any]:
    return at_once(*[partial(call, number) for number in range(PARALLEL)])


@pytest.fixture(autouse=True)
def _no_runner(settings: Any) -> None:
    settings.NOTIFY_RUNNER = "dovetail_notify.outbox.runner.wait"


def test_parallel_equal_dedupe_keys_store_one() -> None:
    users = list(make_users(3))
    repeated = rounds(ROUNDS)
    for number in range(repeated):
        key = f"order:{number}"
        outcomes = numbered(lambda _, key=key: notify(OrderShipped(number="1"), to=users, dedupe=key).created)
        assert sum(outcomes) == len(users), outcomes
    rows = get_notification_model().objects.values_list("recipient", "dedupe_key")
    assert len(rows) == len(set(rows)) == repeated * len(users)
    assert Delivery.objects.count() == repeated * len(users)


def test_parallel_calls_each_fill_the_outbox_for_their_own_rows() -> None:
    users = make_users(20)
    outcomes = numbered(lambda which: notify(OrderShipped(number=str(which)), to=users).created)
    assert outcomes == [20] * PARALLEL
    assert Delivery.objects.count() == Delivery.objects.values("notification").distinct().count() == 20 * PARALLEL


def test_two_workers_never_claim_one_delivery(settings: Any) -> None:
    settings.NOTIFY_TRANSPORTS = {"email": Counting}
    settings.NOTIFY_CLAIM_SIZE = 7
    users = make_users(60)
    for _ in range(rounds(ROUNDS // 4)):
        claimed.clear()
        notify(OrderShipped(number="1"), to=users)
        reports = numbered(lambda _: deliver())
        deliver()
        assert all(not isinstance(report, Exception) for report in reports), reports
        assert len(claimed) == 60
        assert [key for key, times in Counter(claimed).items() if times > 1] == []
    assert set(Delivery.objects.values_list("state", "attempts")) == {("sent", 1)}


def test_a_ticket_opens_one_socket() -> None:
    user = make_user()
    for _ in range(rounds(ROUNDS)):
        ticket = issue_ticket(user=user)
        admitted = numbered(lambda _, ticket=ticket: redeem_ticket(ticket))
        assert [each for each in admitted if isinstance(each, Exception)] == []
        assert len([each for each in admitted if each is not None]) == 1


def test_ticket_used_in_parallel_opens_one_socket() -> None:
    user = make_user()
    for _ in range(rounds(ROUNDS)):
        shared = issue_ticket(user=user)
        own = [[issue_ticket(user=user) for _ in range(3)] for _ in range(PARALLEL)]

        def redeem(which: int, shared: str = shared, own: list[list[str]] = own) -> list[bool]:
            # The shared ticket is first or last, but locks are acquired in the same order.
            shown = [shared, *own[which]] if which % 2 else [*own[which], shared]
            admitted = [each is not None for each in redeem_tickets([(ticket, None) for ticket in shown])]
            return admitted if which % 2 else admitted[::-1]

        admitted = numbered(redeem)
        assert [each for each in admitted if isinstance(each, Exception)] == []
        assert sum(each[0] for each in admitted) == 1
        assert all(all(each[1:]) for each in admitted)
