"""The rollup: each metric of each finished day, stored once a night."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, timedelta
from typing import Any, Final

from django.conf import settings
from django.db import router, transaction
from django.db.models import Count, QuerySet
from django.db.models.functions import TruncDate
from django.utils import timezone

from dovetail_adminapi.metrics import days
from dovetail_adminapi.metrics.registry import Metric, registry
from dovetail_adminapi.models import MetricPoint, MetricState
from dovetail_core.transactions import lock, retry_on_conflict

#: Days that one query reads.
BATCH: Final = 31

#: The values of days, by the name of the points and by organization.
Values = Mapping[date, Mapping[tuple[str, str], int]]
#: Called after each batch with the name of the metric and the last day.
Progress = Callable[[str, date], None]


def roll_up(*, names: Iterable[str] | None = None, since: date | None = None, progress: Progress | None = None) -> int:
    """Store the days that are over, and return the number of metrics. Run it each night after midnight UTC.

    It begins with the last stored day, whose late transactions are then included, or so many days ago that the first
    answers are complete. ``since`` is an earlier day, for a back-fill of metrics that are counted by day; the others
    are only known for the present. Any number of processes may run it, and running it again stores the same values.
    """
    selected = [metric for metric in registry.all() if names is None or metric.name in set(names)]
    for metric in selected:
        _roll_up(metric, since, progress)
    return len(selected)


def _roll_up(metric: Metric, since: date | None, progress: Progress | None) -> None:
    yesterday = days.today() - timedelta(days=1)
    if metric.per_day is None:
        _store(metric, {yesterday: _present_values(metric, yesterday)}, yesterday)
        return
    state = MetricState.objects.filter(pk=metric.name).first()
    if since is None:
        is_new = state is None or state.last_day is None
        since = yesterday - timedelta(days=max(metric.days)) if is_new else state.last_day  # type: ignore[union-attr]
    first = min(since or yesterday, yesterday)
    while first <= yesterday:
        last = min(first + timedelta(days=BATCH - 1), yesterday)
        _store(metric, _counted(metric, first, last), last)
        if progress is not None:
            progress(metric.name, last)
        first = last + timedelta(days=1)


def _present_values(metric: Metric, day: date) -> dict[tuple[str, str], int]:
    if metric.nightly is not None:
        end = days.midnight(day + timedelta(days=1))
        return {
            (f"{metric.name}:{number}", ""): metric.nightly(end - timedelta(days=number), end).count()
            for number in metric.days
        }
    rows: Any = (metric.total or metric.live)()  # type: ignore[misc]  # one of them, as Metric requires
    if metric.age is not None:
        oldest = rows.order_by(metric.age).values_list(metric.age, flat=True).first()
        return {(metric.name, ""): 0 if oldest is None else max(0, int((timezone.now() - oldest).total_seconds()))}
    return {(metric.name, ""): rows.count()}


def _counted(metric: Metric, first: date, last: date) -> Values:
    """Count the rows of days, each with a value although it is 0. One query for all days."""
    zone = UTC if settings.USE_TZ else None
    rows: QuerySet[Any] = metric.per_day()  # type: ignore[misc]  # as the caller has checked
    period = {f"{metric.at}__gte": days.midnight(first), f"{metric.at}__lt": days.midnight(last + timedelta(days=1))}
    groups = ["rollup_day", *([metric.organization] if metric.organization else [])]
    counted = (
        rows.filter(**period)
        .annotate(rollup_day=TruncDate(metric.at, tzinfo=zone))
        .order_by()
        .values_list(*groups)
        .annotate(rollup_count=Count("pk"))
    )
    values: dict[date, Counter[tuple[str, str]]] = defaultdict(Counter)
    for day in days.between(first, last):
        values[day][metric.name, ""] = 0
    for day, *organization, number in counted:
        values[day][metric.name, ""] += number
        if organization and organization[0] is not None:
            values[day][metric.name, str(organization[0])] += number
    return values


@retry_on_conflict
def _store(metric: Metric, values: Values, last: date) -> None:
    using = router.db_for_write(MetricPoint)
    states = MetricState.objects.using(using)
    if not states.filter(pk=metric.name).exists():
        # ignore_conflicts: another rollup may create it at the same moment. Before the transaction: in MariaDB, an
        # INSERT of a row that exists leaves a shared lock, and two holders of it that want the row deadlock.
        states.bulk_create([MetricState(metric=metric.name)], ignore_conflicts=True)
    with transaction.atomic(using=using):
        state = lock(states.filter(pk=metric.name))
        points = MetricPoint.objects.using(using).filter(metric__in=metric.stored_names(), day__in=list(values))
        points.delete()
        MetricPoint.objects.using(using).bulk_create(
            [
                MetricPoint(metric=name, day=day, organization_key=organization, value=value)
                for day, group in values.items()
                for (name, organization), value in group.items()
            ],
            batch_size=1000,
        )
        if state.last_day is None or state.last_day < last:
            state.last_day = last
        state.computed_at = timezone.now()
        state.save(using=using, update_fields=["last_day", "computed_at"])
