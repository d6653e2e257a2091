"""Sending what the outbox holds: claim, send, record.

A claim is one conditional UPDATE that is committed before anything is sent, so two workers never have one delivery. A
worker that dies after sending and before recording is followed, when its lease ends, by one that sends again: at least
once, and by the same ``Message-ID`` or idempotency key.
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
    """How many deliveries were ``sent``, ``suppressed``, put off to be ``retried``, and given up as ``dead``."""

    sent: int = 0
    suppressed: int = 0
    retried: int = 0
    dead: int = 0

    @property
    def total(self) -> int:
        return self.sent + self.suppressed + self.retried + self.dead


def deliver(*, limit: int | None = None, using: str | None = None) -> Report:
    """Send what is due, ``NOTIFY_CLAIM_SIZE`` at a time, until nothing is or ``limit`` have been tried.

    May run in any number of processes and threads at once. Raises ``RuntimeError`` inside a transaction: what is sent
    cannot be rolled back.
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
        # Those that send by threads begin first: mail goes out while a push service thinks.
        started = [(channel, group, start(channel, group)) for channel, group in groups.items()]
        for _, group, outcomes in sorted(started, key=lambda each: is_concurrent(each[0])):
            record(group, outcomes(), report, using=using)
    return report


def resend(deliveries: Any) -> int:
    """Put deliveries of a queryset back to the beginning; how many there were. ``deliver`` sends them."""
    again: int = deliveries.filter(
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
    return again


def lease(keys: Sequence[Any], state: str, report: Report, *, using: str) -> list[Delivery]:
    """Claim those of ``keys`` that are due and that nobody else has taken meanwhile.

    In a transaction that ends before anything is sent: until then nobody else would see the claim. Those whose
    notification was deleted by SQL alone are given up.
    """
    now, token = timezone.now(), uuid4()
    rows = Delivery.objects.using(using).filter(pk__in=keys)
    claimed = rows.filter(state=state, next_at__lte=now).update(
        lease=token, next_at=now + timedelta(seconds=conf.LEASE_SECONDS), attempts=F("attempts") + 1
    )
    found = list(rows.filter(lease=token).select_related("notification__recipient").order_by("pk"))
    if len(found) < claimed:
        # Given up and not deleted: where row security hides notifications from a worker, nothing of them is lost.
        gone = rows.filter(lease=token).exclude(pk__in=[row.pk for row in found])
        lost = gone.update(state=Delivery.State.DEAD, next_at=None, lease=None, error="the notification is gone")
        report.dead += lost
        logger.error("%d deliveries were given up: their notifications are gone.", lost)
    return found


def start(channel: str, rows: Sequence[Delivery]) -> Callable[[], Sequence[Outcome]]:
    """Have the channel's transport begin; what is returned says what it made of them.

    Those of people who cannot sign in any more are not needed.
    """
    gone = [not getattr(row.notification.recipient, "is_active", True) for row in rows]
    wanted = [row for row, is_gone in zip(rows, gone, strict=True) if not is_gone]
    if channel not in conf.TRANSPORTS:
        return lambda: [Outcome.dead("NOTIFY_TRANSPORTS has no such channel")] * len(rows)
    sent = _attempted(channel, wanted, lambda: transport_for(channel).start(wanted)) if wanted else list

    def outcomes() -> Sequence[Outcome]:
        found = iter(_attempted(channel, wanted, sent)())
        return [Outcome.suppressed("inactive") if is_gone else next(found) for is_gone in gone]

    return outcomes


def record(rows: Sequence[Delivery], outcomes: Iterable[Outcome], report: Report, *, using: str) -> None:
    """Write what became of claimed rows; one that has lost its lease meanwhile is left to who has it."""
    now = timezone.now()
    alike: dict[tuple[tuple[str, Any], ...], list[Delivery]] = defaultdict(list)
    for row, outcome in zip(rows, outcomes, strict=True):
        alike[tuple(_changes(row, outcome, now, report).items())].append(row)
    for changes, group in alike.items():
        claimed = Delivery.objects.using(using).filter(pk__in=[row.pk for row in group], lease=group[0].lease)
        claimed.update(**dict(changes), lease=None)


def _claim(size: int, report: Report, *, using: str) -> list[Delivery]:
    due = Delivery.objects.using(using).filter(state=Delivery.State.PENDING, next_at__lte=timezone.now())
    keys = due.order_by("next_at", "pk").values_list("pk", flat=True)
    if not connections[using].features.has_select_for_update_skip_locked:
        # Read outside of a transaction: SQLite refuses to write in one that read first and was overtaken.
        found = list(keys[:size])
        with transaction.atomic(using=using, durable=True):
            return lease(found, Delivery.State.PENDING, report, using=using)
    # Past what others are claiming at this moment: without it all workers would go for the same rows.
    with transaction.atomic(using=using, durable=True):
        found = list(keys.select_for_update(skip_locked=True)[:size])
        return lease(found, Delivery.State.PENDING, report, using=using)


def _attempted(channel: str, rows: Sequence[Delivery], call: Callable[[], Any]) -> Callable[[], Sequence[Outcome]]:
    """What ``call`` returns, as a function; where it raises, one that tells the failure of every row."""
    try:
        found = call()
    except Exception as error:  # noqa: BLE001  # whatever a transport raises is a failed attempt
        # Without the text, in which mail servers name the address.
        logger.warning("%d deliveries by %s failed: %s.", len(rows), channel, type(error).__name__)
        found = [Outcome.retry(type(error).__name__)] * len(rows)
    return found if callable(found) else lambda: found


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
    # Never sooner than ours: who asks for a second each time would use up all attempts within six.
    wait = timedelta(seconds=max(outcome.after or 0, backoff[row.attempts - 1]))
    changes = {"next_at": now + wait, "error": outcome.reason[:200]}
    return changes | ({"devices_done": ",".join(map(str, outcome.done))} if outcome.done else {})


def _by_channel(rows: Iterable[Delivery]) -> dict[str, list[Delivery]]:
    found: dict[str, list[Delivery]] = defaultdict(list)
    for row in rows:
        found[row.channel].append(row)
    return found
