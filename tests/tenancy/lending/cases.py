"""Cases that must show nothing of another organization, for any library that isolates organizations.

A case runs for ``mine``, which owns no row, and returns the data of ``theirs`` that it saw. Any true value is a leak,
and so is any change to a row that mentions them. Before the case, another function may prepare ``m.prepared`` while
``theirs`` is active.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db import models, transaction

from tests.tenancy.lending.world import World


@dataclass(frozen=True)
class Case:
    name: str
    run: Callable[[World], Any]
    prepare: Callable[[World], Any] | None = None
    crossing: bool = False
    """Whether it brings two organizations together, so that only code that sees everything may do it."""


@dataclass(frozen=True)
class Outcome:
    saw: bool = False
    changed: bool = False
    error: Exception | None = None

    @property
    def leaked(self) -> bool:
        return self.saw or self.changed


def attempt(m: World, case: Case, scope: Any) -> Outcome:
    """Run a case under ``scope`` and roll its changes back."""
    held = m.row
    with transaction.atomic():
        try:
            # Copies, because an instance caches its relations, also empty ones.
            m.row = {name: copy.copy(row) for name, row in held.items()}
            with m.within(m.theirs):
                m.prepared = case.prepare(m) if case.prepare else None
            before = m.mentions()
            try:
                with transaction.atomic(), scope:
                    saw, error = seen(case.run(m)), None
            except Exception as raised:  # noqa: BLE001  # each library refuses in its own way
                saw, error = False, raised
            return Outcome(saw, m.mentions() != before, error)
        finally:
            m.row = held
            transaction.set_rollback(True)


def seen(answer: Any) -> bool:
    """Return whether the result contains anything. An empty queryset, a count of 0 and ``[(None, 0)]`` do not."""
    if isinstance(answer, dict):
        answer = answer.values()
    elif isinstance(answer, models.Model | str) or not hasattr(answer, "__iter__"):
        return bool(answer)
    return sum(map(seen, answer)) > 0  # all of them, because each may be refused


def named(table: dict[str, Callable[[World], Any]]) -> list[Case]:
    return [Case(name, run) for name, run in table.items()]


def own(m: World, **book: Any) -> Any:
    """Return a book of mine, on a shelf of mine."""
    with m.within(m.mine):
        shelf = m.Shelf.objects.create(name="mine", organization=m.mine)
        return m.Book.objects.create(**{"title": "", "shelf": shelf, "organization": m.mine, **book})


def stolen(row: Any, **changes: Any) -> Any:
    """Return a changed copy of a row of theirs."""
    row = copy.copy(row)
    for name, value in {"title": "stolen", **changes}.items():
        setattr(row, name, value)
    return row


def for_them(m: World, **fields: Any) -> dict[str, Any]:
    return {"title": "new", "shelf": m.row["shelf"], "organization": m.theirs, **fields}
