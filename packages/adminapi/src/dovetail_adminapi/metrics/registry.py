"""Metrics: figures that administrators see, and how each is computed without counting large tables."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from importlib import import_module
from typing import Any, ClassVar, Final

from django.core.exceptions import FieldDoesNotExist
from django.db.models import QuerySet
from django.utils.functional import Promise
from django.utils.module_loading import autodiscover_modules

from dovetail_adminapi.conf import conf
from dovetail_adminapi.models import NAME_LENGTH

_NAME: Final = re.compile(r"[a-z0-9_]+(?:\.[a-z0-9_]+)*")
#: Room for ":366" in the name of the points of a period.
_LONGEST: Final = NAME_LENGTH - 4

Rows = Callable[[], QuerySet[Any]]
Period = Callable[[datetime, datetime], QuerySet[Any]]


class Metric:
    """A figure. Exactly one of these arguments tells how to compute it:

    ``per_day``
        A function that returns a queryset, whose rows are counted by the day of the field ``at``: new users, failed
        sign-ins. The nightly rollup stores each day. An answer is the sum of the stored days and a part for the rest,
        which should have an index on ``at``. ``days`` are the periods, in days that end with today. With
        ``organization``, the name of a field, there is also a series for each organization.
    ``total``
        A function that returns a queryset, whose rows are counted. The answer is exact for small tables. For a large
        one it is an estimate: of PostgreSQL's statistics if the queryset is not filtered, else of the last rollup.
    ``live``
        A function that returns a queryset of few rows that an index finds, which are counted with each answer: queued
        jobs. With ``age``, the name of a field, the answer is instead the age in seconds of the oldest row.
    ``nightly``
        A function ``(start, end)`` of two aware times that returns a queryset. Only the rollup counts its rows, for the
        ``days`` before each midnight in UTC: users who were active, which have to be counted anew for each period.
    """

    def __init__(
        self,
        name: str,
        *,
        label: str | Promise = "",
        per_day: Rows | None = None,
        at: str = "created_at",
        days: Sequence[int] = (1, 7, 30),
        organization: str | None = None,
        total: Rows | None = None,
        live: Rows | None = None,
        age: str | None = None,
        nightly: Period | None = None,
    ) -> None:
        self.name = name
        self.label = label or name.replace(".", " ").replace("_", " ").capitalize()
        self.per_day = per_day
        self.at = at
        self.days = tuple(days)
        self.organization = organization
        self.total = total
        self.live = live
        self.age = age
        self.nightly = nightly
        registry.add(self)

    @property
    def is_summed(self) -> bool:
        """Whether the values of days can be added up."""
        return self.per_day is not None

    def stored_names(self) -> list[str]:
        """Return the names under which points are stored: one for each period of a nightly count."""
        return [f"{self.name}:{days}" for days in self.days] if self.nightly else [self.name]

    def mistake(self) -> str | None:
        """Return an error text, or None."""
        if not _NAME.fullmatch(self.name) or len(self.name) > _LONGEST:
            return (
                f"The name of the metric {self.name!r} must have at most {_LONGEST} lower-case letters, digits and "
                "underscores, in words that dots separate."
            )
        sources = [self.per_day, self.total, self.live, self.nightly]
        if sum(source is not None for source in sources) != 1:
            return f"The metric {self.name!r} needs exactly one of per_day, total, live and nightly."
        if not all(type(days) is int and 1 <= days <= 366 for days in self.days):
            return f"The days of the metric {self.name!r} must be whole numbers from 1 to 366, and not {self.days!r}."
        return None


class Registry:
    """The metrics of the process."""

    builtin: ClassVar[str] = "dovetail_adminapi.metrics.builtin"

    def __init__(self) -> None:
        self._metrics: dict[str, Metric] = {}
        self._problems: list[str] = []
        self._is_loaded = False

    def add(self, metric: Metric) -> None:
        if mistake := metric.mistake():
            self._problems.append(mistake)
        else:
            # The last one counts, so that a project can replace a metric of a package.
            self._metrics[metric.name] = metric

    def load(self) -> None:
        """Import the module ``admin_metrics`` of each app and the modules of ``ADMINAPI_METRICS``, once a process."""
        if not self._is_loaded:
            import_module(self.builtin)
            autodiscover_modules("admin_metrics")
            self._is_loaded = True
        for module in conf.METRICS:
            import_module(module)

    def all(self) -> list[Metric]:
        """Return the metrics in the order of names."""
        self.load()
        return [self._metrics[name] for name in sorted(self._metrics)]

    def get(self, name: str) -> Metric | None:
        self.load()
        return self._metrics.get(name)

    def problems(self) -> list[str]:
        """Return what is wrong with declarations of metrics."""
        self.load()
        return [*self._problems, *filter(None, map(_mistake_in_rows, self._metrics.values()))]


def _mistake_in_rows(metric: Metric) -> str | None:
    """Return an error text for a field that the rows of a metric do not have. Querysets need the loaded models."""
    names = [metric.at, metric.organization] if metric.per_day else [metric.age]
    source = metric.per_day or metric.live
    if source is None or names == [None]:
        return None
    model = source().model
    for name in filter(None, names):
        try:
            model._meta.get_field(name)
        except FieldDoesNotExist:
            return f"The metric {metric.name!r} counts {model._meta.label}, which has no field {name!r}."
    return None


registry = Registry()
