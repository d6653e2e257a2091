"""The outbox worker, which claims deliveries, sends them and records the outcomes.

A claim is one conditional UPDATE that is committed before anything is sent, so that no two workers claim the same
delivery. Each delivery is sent at least once: if a worker dies between sending and recording, another worker sends the
delivery again when the lease ends, with the same ``Message-ID`` or idempotency key.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from django.db import connections, router, transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from dovetail_core.accounts import may_sign_in
from dovetail_notify.conf import conf
from dovetail_notify.models import Delivery
from dovetail_notify.transports import Outcome, is_concurrent, transport_for

logger = logging.getLogger("dovetail.notify")


@dataclass(slots=True)
class Report:
    """The numbers of deliveries that were sent, suppressed, scheduled for another attempt, or given up (``dead``)."""

    sent: int = 0
    suppressed: int = 0
    retried: int = 0
    dead: int = 0

    @property
    def total(self) -> int:
        return self.sent + self.suppressed + self.retried + self.dead


def deliver(*, limit: int | None = None, using: str | None = None) -> Report:
    """Send all due deliveries, or at most ``limit``, claiming ``NOTIFY_CLAIM_SIZE`` at a time.

    Any number of processes and threads may run it at once. Raise ``RuntimeError`` inside a transaction, because
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
        groups: dict[str, list[Delivery]] = defaultdict(list)
        for row in rows:
            groups[row.channel].append(row)
        # Channels that send in threads start first, so that mail is sent while push services respond.
        started = [(channel, group, start(channel, group)) for channel, group in groups.items()]
        for _, group, outcomes in sorted(started, key=lambda item: is_concurrent(item[0])):
            record(group, outcomes(), report, using=using)
    return report


def resend(deliveries: QuerySet[Delivery]) -> int:
    """Reset the finished deliveries of a queryset, and return their number. ``deliver()`` then sends them again."""
    finished = deliveries.filter(state__in=(Delivery.State.DEAD, Delivery.State.SENT, Delivery.State.SUPPRESSED))
    now, pending = timezone.now(), Delivery.State.PENDING
    return finished.update(state=pending, attempts=0, next_at=now, lease=None, error="", digest="", devices_done="")


def lease(keys: Sequence[int], state: str, report: Report, *, using: str) -> list[Delivery]:
    """Claim those of ``keys`` that are still due and that no other worker has claimed.

    Call it in a transaction that ends before anything is sent, because other workers see the claim only then.
    Deliveries whose notification was deleted by SQL alone are given up.
    """
    now, token = timezone.now(), uuid4()
    rows = Delivery.objects.using(using).filter(pk__in=keys)
    count = rows.filter(state=state, next_at__lte=now).update(
        lease=token, next_at=now + timedelta(seconds=conf.LEASE_SECONDS), attempts=F("attempts") + 1
    )
    claimed = list(rows.filter(lease=token).select_related("notification__recipient").order_by("pk"))
    if len(claimed) < count:
        # Given up and not deleted: row-level security may merely hide the notifications from this worker.
        orphans = rows.filter(lease=token).exclude(pk__in=[row.pk for row in claimed])
        lost = orphans.update(state=Delivery.State.DEAD, next_at=None, lease=None, error="the notification is gone")
        report.dead += lost
        logger.error("%d deliveries were given up: their notifications are gone.", lost)
    return claimed


def start(channel: str, rows: Sequence[Delivery]) -> Callable[[], Sequence[Outcome]]:
    """Start sending by the channel's transport. Return a function that waits for the outcomes.

    Deliveries to inactive users are suppressed.
    """
    if channel not in conf.TRANSPORTS:
        return lambda: [Outcome.dead("NOTIFY_TRANSPORTS has no such channel")] * len(rows)
    active = [may_sign_in(row.notification.recipient) for row in rows]
    wanted = [row for row, is_active in zip(rows, active, strict=True) if is_active]
    wait = _attempt(channel, wanted, lambda: transport_for(channel).start(wanted)) if wanted else list

    def outcomes() -> Sequence[Outcome]:
        results = iter(_attempt(channel, wanted, wait)())
        return [next(results) if is_active else Outcome.suppressed("inactive") for is_active in active]

    return outcomes


def record(rows: Sequence[Delivery], outcomes: Iterable[Outcome], report: Report, *, using: str) -> None:
    """Record the outcomes of claimed rows. Leave a row unchanged if another worker has taken over its lease."""
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
    skip_locked = connections[using].features.has_select_for_update_skip_locked
    # Otherwise read before the transaction: SQLite refuses to write in one whose earlier read is out of date.
    selected = [] if skip_locked else list(keys[:size])
    with transaction.atomic(using=using, durable=True):
        if skip_locked:
            # Without SKIP LOCKED all workers would wait for the same rows.
            selected = list(keys.select_for_update(skip_locked=True)[:size])
        return lease(selected, Delivery.State.PENDING, report, using=using)


def _attempt(channel: str, rows: Sequence[Delivery], call: Callable[[], Any]) -> Callable[[], Sequence[Outcome]]:
    """Return the result of ``call`` as a function. If it raises, every row is retried."""
    try:
        result = call()
    except Exception as error:  # noqa: BLE001  # any exception of a transport is a failed attempt
        # Without the error's text, in which mail servers name the address.
        logger.warning("%d deliveries by %s failed: %s.", len(rows), channel, type(error).__name__)
        result = [Outcome.retry(type(error).__name__)] * len(rows)
    return result if callable(result) else lambda: result


def _changes(row: Delivery, outcome: Outcome, now: datetime, report: Report) -> dict[str, Any]:
    """Return the new values of the row's fields, and count the outcome in ``report``."""
    reason = outcome.reason[:200]
    if outcome.state == Delivery.State.SENT:
        report.sent += 1
        provider_id = outcome.provider_id[:200]
        return {"state": outcome.state, "sent_at": now, "next_at": None, "provider_id": provider_id, "error": ""}
    if outcome.state == Delivery.State.SUPPRESSED:
        report.suppressed += 1
        return {"state": outcome.state, "next_at": None, "error": reason}
    backoff = conf.BACKOFF_SECONDS
    if outcome.state == Delivery.State.DEAD or row.attempts > len(backoff):
        report.dead += 1
        logger.error("Delivery %s by %s was given up: %s.", row.pk, row.channel, outcome.reason)
        return {"state": Delivery.State.DEAD, "next_at": None, "error": reason}
    report.retried += 1
    # Never sooner than our own backoff: with a service that asks for one second, all attempts would fail in seconds.
    wait = timedelta(seconds=max(outcome.after or 0, backoff[row.attempts - 1]))
    changes = {"next_at": now + wait, "error": reason}
    return changes | ({"devices_done": ",".join(map(str, outcome.done))} if outcome.done else {})
