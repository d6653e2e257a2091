"""The present values of metrics, from stored days and from the part that is not stored yet.

All metrics take one statement for the stored points, and one for each database with counted rows. None of them counts
a large table: a query reads the rows of two days by an index, or at most ``scalars.MOST_ROWS`` rows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, Final

from django.db import connections
from django.db.models import OuterRef, QuerySet, Subquery
from django.utils import timezone

from dovetail_adminapi.metrics import days, scalars
from dovetail_adminapi.metrics.registry import Metric, registry
from dovetail_adminapi.metrics.scalars import MOST_ROWS, Scalar
from dovetail_adminapi.models import MetricPoint, MetricState

#: A gap of so many days after the last stored one is counted completely: today, and yesterday before the rollup.
_RECENT: Final = 2


@dataclass(frozen=True, slots=True)
class Value:
    """The value of a metric. ``days`` is the length of its period, which ends with today, or None without a period.

    ``exact`` is False for an estimate, and for a sum with days that are not stored. ``value`` is None before the first
    rollup of a metric that is only counted at night.
    """

    metric: Metric
    days: int | None
    value: int | None
    exact: bool
    as_of: datetime


@dataclass(slots=True)
class _Stored:
    points: dict[date, int] = field(default_factory=dict)
    computed_at: datetime | None = None

    @property
    def last(self) -> date | None:
        return max(self.points, default=None)


class _Batch:
    """Collects queries of one value by database, and fetches each only once."""

    def __init__(self) -> None:
        self._scalars: dict[str, dict[Scalar, Any]] = defaultdict(dict)

    def add(self, scalar: Scalar, using: str) -> tuple[str, Scalar]:
        self._scalars[using][scalar] = None
        return using, scalar

    def fetch(self) -> None:
        for using, queries in self._scalars.items():
            queries.update(zip(queries, scalars.fetch(list(queries), using=using), strict=True))

    def __getitem__(self, key: tuple[str, Scalar]) -> Any:
        return self._scalars[key[0]][key[1]]


def values(metrics: Iterable[Metric] | None = None, *, now: datetime | None = None) -> list[Value]:
    """Return the present values of metrics, by default of all, one for each period."""
    now = now or timezone.now()
    selected = registry.all() if metrics is None else list(metrics)
    stored = _read(selected, days.today(now))
    batch = _Batch()
    plans = [_plan(metric, stored, batch, now) for metric in selected]
    batch.fetch()
    return [value for plan in plans for value in plan.values(batch)]


def _read(metrics: Sequence[Metric], today: date) -> dict[str, _Stored]:
    """Return the points of all metrics, as far as an answer may need them. One statement."""
    first = today - timedelta(days=max([1, *(max(metric.days) for metric in metrics if metric.is_summed)]) + 1)
    names = [name for metric in metrics for name in metric.stored_names()]
    state = MetricState.objects.filter(metric=OuterRef("metric")).values("computed_at")[:1]
    points = MetricPoint.objects.filter(metric__in=names, organization_key="", day__gte=first)
    stored: dict[str, _Stored] = defaultdict(_Stored)
    rows = points.annotate(computed_at=Subquery(state)).values_list("metric", "day", "value", "computed_at")
    for name, day, value, computed_at in rows:
        stored[name].points[day] = value
        stored[name].computed_at = computed_at
    return stored


@dataclass(slots=True)
class _Plan:
    """How the values of a metric are computed, after the batch was fetched."""

    metric: Metric
    now: datetime

    def values(self, batch: _Batch) -> list[Value]:
        raise NotImplementedError


def _plan(metric: Metric, stored: dict[str, _Stored], batch: _Batch, now: datetime) -> _Plan:
    if metric.per_day is not None:
        return _Summed(metric, now, stored[metric.name], batch)
    if metric.total is not None:
        return _Total(metric, now, stored[metric.name], batch)
    if metric.live is not None:
        return _Live(metric, now, batch)
    return _Nightly(metric, now, stored)


class _Summed(_Plan):
    def __init__(self, metric: Metric, now: datetime, stored: _Stored, batch: _Batch) -> None:
        super().__init__(metric, now)
        self.stored = stored
        self.today = days.today(now)
        self.rest = {number: self._rest(number, batch) for number in metric.days}

    def _first_missing(self, number: int) -> date:
        first = self.today - timedelta(days=number - 1)
        last = self.stored.last
        return first if last is None else max(first, last + timedelta(days=1))

    def _rest(self, number: int, batch: _Batch) -> tuple[Any, Any, int | None]:
        """Return the queries for the days that are not stored, and the most rows that they count."""
        rows: QuerySet[Any] = self.metric.per_day()  # type: ignore[misc]  # as _plan() has checked
        at = self.metric.at
        missing = self._first_missing(number)
        part = rows.filter(**{f"{at}__gte": days.midnight(missing)})
        if scalars.is_indexed(rows.model, at):
            most = None if (self.today - missing).days < _RECENT else MOST_ROWS
            return batch.add(scalars.count(part, most=most), rows.db), None, most
        # Rows of these days have the largest keys, if keys grow with time.
        beyond = batch.add(scalars.beyond_newest(rows, at), rows.db)
        return batch.add(scalars.count(scalars.newest(part)), rows.db), beyond, MOST_ROWS

    def values(self, batch: _Batch) -> list[Value]:
        return [self._value(number, batch) for number in self.metric.days]

    def _value(self, number: int, batch: _Batch) -> Value:
        query, beyond, most = self.rest[number]
        first, missing = self.today - timedelta(days=number - 1), self._first_missing(number)
        points = [value for day, value in self.stored.points.items() if first <= day < missing]
        rest = batch[query]
        exact = len(points) == (missing - first).days and (most is None or rest <= most)
        if beyond is not None and batch[beyond] is not None:
            limit = scalars.as_time(batch[beyond], using=query[0])
            exact = exact and self._grows_with_keys() and limit is not None and limit < days.midnight(missing)
        return Value(self.metric, number, sum(points) + min(rest, most or rest), exact, self.now)

    def _grows_with_keys(self) -> bool:
        """Return whether rows get the time when they are created, so that later rows have later times."""
        model = self.metric.per_day().model  # type: ignore[misc]  # as _plan() has checked
        column: Any = model._meta.get_field(self.metric.at)
        return bool(getattr(column, "auto_now_add", False)) or column.has_default()


class _Total(_Plan):
    def __init__(self, metric: Metric, now: datetime, stored: _Stored, batch: _Batch) -> None:
        super().__init__(metric, now)
        self.stored = stored
        rows: QuerySet[Any] = metric.total()  # type: ignore[misc]  # as _plan() has checked
        self.bounded = batch.add(scalars.count(rows, most=MOST_ROWS), rows.db)
        self.estimate = None
        if connections[rows.db].vendor == "postgresql" and _is_whole_table(rows):
            self.estimate = batch.add(scalars.estimate(rows.model, using=rows.db), rows.db)

    def values(self, batch: _Batch) -> list[Value]:
        number = batch[self.bounded]
        if number <= MOST_ROWS:
            return [Value(self.metric, None, number, True, self.now)]
        estimate = batch[self.estimate] if self.estimate is not None else None
        if estimate is not None and estimate >= number:
            return [Value(self.metric, None, estimate, False, self.now)]
        if self.stored.last is not None:
            value = max(number, self.stored.points[self.stored.last])
            return [Value(self.metric, None, value, False, self.stored.computed_at or self.now)]
        return [Value(self.metric, None, number, False, self.now)]


class _Live(_Plan):
    def __init__(self, metric: Metric, now: datetime, batch: _Batch) -> None:
        super().__init__(metric, now)
        rows: QuerySet[Any] = metric.live()  # type: ignore[misc]  # as _plan() has checked
        query = scalars.count(rows, most=MOST_ROWS) if metric.age is None else scalars.oldest(rows, metric.age)
        self.query = batch.add(query, rows.db)

    def values(self, batch: _Batch) -> list[Value]:
        value = batch[self.query]
        if self.metric.age is None:
            return [Value(self.metric, None, min(value, MOST_ROWS), value <= MOST_ROWS, self.now)]
        time = scalars.as_time(value, using=self.query[0])
        age = 0 if time is None else max(0, int((self.now - time).total_seconds()))
        return [Value(self.metric, None, age, True, self.now)]


class _Nightly(_Plan):
    def __init__(self, metric: Metric, now: datetime, stored: dict[str, _Stored]) -> None:
        super().__init__(metric, now)
        self.stored = stored

    def values(self, batch: _Batch) -> list[Value]:
        result = []
        for number in self.metric.days:
            stored = self.stored[f"{self.metric.name}:{number}"]
            value = None if stored.last is None else stored.points[stored.last]
            result.append(Value(self.metric, number, value, value is not None, stored.computed_at or self.now))
        return result


def _is_whole_table(rows: QuerySet[Any]) -> bool:
    query = rows.query
    return not (query.where or query.is_sliced or query.distinct or query.combinator)


@dataclass(frozen=True, slots=True)
class Point:
    day: date
    value: int | None
    exact: bool


def series(
    metric: Metric, first: date, last: date, *, period: int | None = None, organization: str = ""
) -> list[Point]:
    """Return a value for each day from ``first`` to ``last``. It is None for a day that is not stored.

    Today and yesterday are counted if they are not stored, for a metric that is counted by day. ``period`` selects the
    period of a metric that is counted at night, and ``organization`` the values of one organization, which are stored.
    """
    name = metric.name if metric.nightly is None else f"{metric.name}:{period or metric.days[0]}"
    points = MetricPoint.objects.filter(metric=name, day__range=(first, last), organization_key__in={"", organization})
    stored: dict[date, int] = {}
    for day, key, value in points.values_list("day", "organization_key", "value"):
        # A stored day without rows of the organization has no point of it.
        stored[day] = value if key == organization else stored.get(day, 0)
    today = days.today()
    missing = [day for day in days.between(first, last) if day not in stored and (today - day).days < _RECENT]
    counted = {} if organization else _count_days(metric, missing)
    values = stored | counted
    return [Point(day, values.get(day), day in values) for day in days.between(first, last)]


def _count_days(metric: Metric, missing: Sequence[date]) -> dict[date, int]:
    if metric.per_day is None or not missing:
        return {}
    rows = metric.per_day()
    if not scalars.is_indexed(rows.model, metric.at):
        rows = scalars.newest(rows)
    queries = [
        scalars.count(
            rows.filter(
                **{f"{metric.at}__gte": days.midnight(day), f"{metric.at}__lt": days.midnight(day + timedelta(days=1))}
            )
        )
        for day in missing
    ]
    return dict(zip(missing, scalars.fetch(queries, using=rows.db), strict=True))
