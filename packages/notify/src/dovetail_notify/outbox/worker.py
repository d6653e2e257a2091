"""The outbox worker: claim deliveries, send them, record the outcomes.

A claim is one conditional UPDATE that is committed before anything is sent, so two workers never hold one delivery. If
a worker dies after sending and before recording, another sends again when the lease ends: at least once, and with the
same ``Message-ID`` or idempotency key.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import uuid4

from django.db import connections, router, transaction
from django.db.models import F
from django.utils import timezone

from dovetail_notify.conf import conf
from dovetail_notify.models import Delivery
from dovetail_notify.transports import Outcome, is_concurrent, transport_for

logger = logging.getLogger("dovetail.notify")


@dataclass(slots=True)
class Report:
    """How many deliveries were ``sent``, ``suppressed``, scheduled to be ``retried``, or given up as ``dead``."""

    sent: int = 0
    suppressed: int = 0
    retried: int = 0
    dead: int = 0

    @property
    def total(self) -> int:
        return self.sent + self.suppressed + self.retried + self.dead


def deliver(*, limit: int | None = None, using: str | None = None) -> Report:
    """Send all due deliveries, or at most ``limit``, claiming ``NOTIFY_CLAIM_SIZE`` at a time.

    Any number of processes and threads may run it at once. Raises ``RuntimeError`` inside a transaction, because
    sending cannot be rolled back.
    """
    using = using or router.db_for_write(Delivery)
    report = Report()
    while limit is None or report.total < limit:
        size = conf.CLAIM_SIZE if limit is None else min(conf.CLAIM_SIZE, limit - report.total)
        before = report.total
        rows = _claim(size, report, using=using)
        if not rows and report.total == before:
            break
        groups = _by_channel(rows)
        # Channels that send in threads start first, so that mail is sent while push services respond.
        started = [(channel, group, start(channel, group)) for channel, group in groups.items()]
        for _, group, outcomes in sorted(started, key=lambda item: is_concurrent(item[0])):
            record(group, outcomes(), report, using=using)
    return report


def resend(deliveries: Any) -> int:
    """Reset the finished deliveries of a queryset, and return their number. ``deliver()`` then sends them again."""
    count: int = deliveries.filter(
        state__in=(Delivery.State.DEAD, Delivery.State.SENT, Delivery.State.SUPPRESSED)
    ).update(
        state=Delivery.State.PENDING,
        attempts=0,
        next_at=timezone.now(),
        lease=None,
        error="",
        digest="",
        devices_done="",
    )
    return count


def lease(keys: Sequence[Any], state: str, report: Report, *, using: str) -> list[Delivery]:
    """Claim those of ``keys`` that are still due and that no other worker has claimed.

    Call it in a transaction that ends before anything is sent, because other workers see the claim only then.
    Deliveries whose notification was deleted by SQL alone are given up.
    """
    now, token = timezone.now(), uuid4()
    rows = Delivery.objects.using(using).filter(pk__in=keys)
    count = rows.filter(state=state, next_at__lte=now).update(
        lease=token, next_at=now + timedelta(seconds=conf.LEASE_SECONDS), attempts=F("attempts") + 1
    )
    claimed_rows = list(rows.filter(lease=token).select_related("notification__recipient").order_by("pk"))
    if len(claimed_rows) < count:
        # Given up instead of deleted: row security may only hide the notifications from this worker.
        gone = rows.filter(lease=token).exclude(pk__in=[row.pk for row in claimed_rows])
        lost = gone.update(state=Delivery.State.DEAD, next_at=None, lease=None, error="the notification is gone")
        report.dead += lost
        logger.error("%d deliveries were given up: their notifications are gone.", lost)
    return claimed_rows


def start(channel: str, rows: Sequence[Delivery]) -> Callable[[], Sequence[Outcome]]:
    """Let the channel's transport start sending. Return a function that waits for the outcomes.

    Deliveries to inactive users are suppressed.
    """
    inactive = [not getattr(row.notification.recipient, "is_active", True) for row in rows]
    wanted = [row for row, is_inactive in zip(rows, inactive, strict=True) if not is_inactive]
    if channel not in conf.TRANSPORTS:
        return lambda: [Outcome.dead("NOTIFY_TRANSPORTS has no such channel")] * len(rows)
    sent = _attempt(channel, wanted, lambda: transport_for(channel).start(wanted)) if wanted else list

    def outcomes() -> Sequence[Outcome]:
        results = iter(_attempt(channel, wanted, sent)())
        return [Outcome.suppressed("inactive") if is_inactive else next(results) for is_inactive in inactive]

    return outcomes


def record(rows: Sequence[Delivery], outcomes: Iterable[Outcome], report: Report, *, using: str) -> None:
    """Record the outcomes of claimed rows. A row whose lease another worker has taken over is left unchanged."""
    now = timezone.now()
    groups: dict[tuple[tuple[str, Any], ...], list[Delivery]] = defaultdict(list)
    for row, outcome in zip(rows, outcomes, strict=True):
        groups[tuple(_changes(row, outcome, now, report).items())].append(row)
    for changes, group in groups.items():
        claimed = Delivery.objects.using(using).filter(pk__in=[row.pk for row in group], lease=group[0].lease)
        claimed.update(**dict(changes), lease=None)


def _claim(size: int, report: Report, *, using: str) -> list[Delivery]:
    due = Delivery.objects.using(using).filter(state=Delivery.State.PENDING, next_at__lte=timezone.now())
    keys = due.order_by("next_at", "pk").values_list("pk", flat=True)
    if not connections[using].features.has_select_for_update_skip_locked:
        # Read outside the transaction: SQLite refuses to write in a transaction whose earlier read is out of date.
        selected = list(keys[:size])
        with transaction.atomic(using=using, durable=True):
            return lease(selected, Delivery.State.PENDING, report, using=using)
    # Skip the rows that others are claiming right now; otherwise all workers would wait for the same rows.
    with transaction.atomic(using=using, durable=True):
        selected = list(keys.select_for_update(skip_locked=True)[:size])
        return lease(selected, Delivery.State.PENDING, report, using=using)


def _attempt(channel: str, rows: Sequence[Delivery], call: Callable[[], Any]) -> Callable[[], Sequence[Outcome]]:
    """Return the result of ``call`` as a function. If it raises, every row is to be retried."""
    try:
        result = call()
    except Exception as error:  # noqa: BLE001  # any exception of a transport is a failed attempt
        # Without the error's text, in which mail servers name the address.
        logger.warning("%d deliveries by %s failed: %s.", len(rows), channel, type(error).__name__)
        result = [Outcome.retry(type(error).__name__)] * len(rows)
    return result if callable(result) else lambda: result


def _changes(row: Delivery, outcome: Outcome, now: Any, report: Report) -> dict[str, Any]:
    if outcome.state == Delivery.State.SENT:
        report.sent += 1
        return {
            "state": outcome.state,
            "sent_at": now,
            "next_at": None,
            "provider_id": outcome.provider_id[:200],
            "error": "",
        }
    if outcome.state == Delivery.State.SUPPRESSED:
        report.suppressed += 1
        return {"state": outcome.state, "next_at": None, "error": outcome.reason[:200]}
    backoff = conf.BACKOFF_SECONDS
    if outcome.state == Delivery.State.DEAD or row.attempts > len(backoff):
        report.dead += 1
        logger.error("Delivery %s by %s was given up: %s.", row.pk, row.channel, outcome.reason)
        return {"state": Delivery.State.DEAD, "next_at": None, "error": outcome.reason[:200]}
    report.retried += 1
    # Never sooner than our own backoff: a service that asks for one second would use up all attempts in six.
    wait = timedelta(seconds=max(outcome.after or 0, backoff[row.attempts - 1]))
    changes = {"next_at": now + wait, "error": outcome.reason[:200]}
    return changes | ({"devices_done": ",".join(map(str, outcome.done))} if outcome.done else {})


def _by_channel(rows: Iterable[Delivery]) -> dict[str, list[Delivery]]:
    groups: dict[str, list[Delivery]] = defaultdict(list)
    for row in rows:
        groups[row.channel].append(row)
    return groups
