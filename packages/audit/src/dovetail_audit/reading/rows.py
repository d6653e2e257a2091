"""Querysets of entries."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple
from uuid import UUID

from django.db import DataError
from django.db.models import Exists, OuterRef, QuerySet, Subquery

from dovetail_audit.models import Entry, Leaf


class Chunk(NamedTuple):
    """Entries, and the ids of rows that hold values which no application wrote."""

    entries: list[Entry]
    unreadable: list[UUID]


def with_sealed(rows: QuerySet[Entry]) -> QuerySet[Entry]:
    """Annotate each entry with ``sealed``: whether the Merkle tree holds it."""
    return rows.annotate(sealed=Exists(Leaf._default_manager.filter(entry=OuterRef("pk"))))


def with_leaf(rows: QuerySet[Entry]) -> QuerySet[Entry]:
    """Annotate each entry with ``leaf_hash``, the hash of its leaf, or None."""
    return rows.annotate(leaf_hash=Subquery(Leaf._default_manager.filter(entry=OuterRef("pk")).values("hash")[:1]))


def read(rows: QuerySet[Entry], form: Callable[[QuerySet[Entry]], Iterable[Entry]] = iter) -> Chunk:
    """Return the entries of the rows in the order of the query, and the ids of those that cannot be read.

    The attack: a column with a value that Django cannot convert, such as a time of infinity (PostgreSQL) or text in a
    binary column (SQLite), fails the query, and hides what else was tampered with. ``form`` reads the rows.
    """
    try:
        return Chunk(list(form(rows)), [])
    except Exception as error:
        if not _is_unreadable(error):
            raise
    chunk = Chunk([], [])
    for key in list(rows.values_list("pk", flat=True)):
        try:
            # Not a filter of ``rows``, which may be a slice.
            chunk.entries.extend(form(Entry._base_manager.using(rows.db).filter(pk=key)))
        except Exception as error:
            if not _is_unreadable(error):
                raise
            chunk.unreadable.append(key)
    return chunk


def _is_unreadable(error: Exception) -> bool:
    # SQLite's driver also has an OperationalError for text that is no UTF-8.
    wrong = (DataError, ArithmeticError, AttributeError, TypeError, ValueError)
    return isinstance(error, wrong) or "decode to UTF-8" in str(error)


def batches(rows: QuerySet[Entry], size: int = 500) -> Iterator[list[Any]]:
    """Yield all rows in lists of at most ``size``, oldest first, each by a query of its own.

    Not ``QuerySet.iterator()``: MySQL's driver loads the whole result into memory, and a server-side cursor of
    PostgreSQL keeps a transaction open as long as the slowest reader, which stops VACUUM. Each list begins after the
    last key, so memory and the cost of a list do not grow with the number of rows.
    """
    rows = rows.order_by("pk")
    batch = list(rows[:size])
    while batch:
        yield batch
        batch = list(rows.filter(pk__gt=batch[-1].pk)[:size]) if len(batch) == size else []
