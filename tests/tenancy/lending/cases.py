"""What must show nothing of another organization: one case a line, for any library that keeps organizations apart.

A case runs in the name of ``mine``, which owns no row, and answers with what it saw of ``theirs``: anything true is
a leak, and so is any change to a row that mentions them. What a case needs beforehand, another function makes while
``theirs`` is active; it is then ``m.prepared``.
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
    """Run a case under ``scope`` and undo what it did."""
    held = m.row
    with transaction.atomic():
        try:
            # Copies: an instance remembers what was found of its relations, and that nothing was.
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
    """Whether there is anything in it: nothing is an empty queryset, a count of 0, ``[(None, 0)]``."""
    if isinstance(answer, dict):
        answer = answer.values()
    elif isinstance(answer, models.Model | str) or not hasattr(answer, "__iter__"):
        return bool(answer)
    return sum(map(seen, answer)) > 0  # all of them, not up to the first: each may refuse


def named(table: dict[str, Callable[[World], Any]]) -> list[Case]:
    return [Case(name, run) for name, run in table.items()]


def own(m: World, **book: Any) -> Any:
    """A book of mine, on a shelf of mine."""
    with m.within(m.mine):
        shelf = m.Shelf.objects.create(name="mine", organization=m.mine)
        return m.Book.objects.create(**{"title": "", "shelf": shelf, "organization": m.mine, **book})


def stolen(row: Any, **changes: Any) -> Any:
    """A copy of a row of theirs with other values, as code that holds it would change it."""
    row = copy.copy(row)
    for name, value in {"title": "stolen", **changes}.items():
        setattr(row, name, value)
    return row


def for_them(m: World, **fields: Any) -> dict[str, Any]:
    return {"title": "new", "shelf": m.row["shelf"], "organization": m.theirs, **fields}
