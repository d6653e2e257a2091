"""Entries with given columns, written past ``record()``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from dovetail_audit.models import Entry, Leaf
from dovetail_audit.reading.filters import first_id
from dovetail_core.models import uuid7

START = datetime(2026, 1, 1, tzinfo=UTC)


def entry(**columns: Any) -> Entry:
    return entries(1, **columns)[0]


def entries(count: int, **columns: Any) -> list[Entry]:
    """Write entries one second apart, from ``at`` (default: now) on."""
    start = columns.pop("at", None)
    rows = []
    for index in range(count):
        at = datetime.now(UTC) if start is None else start + timedelta(seconds=index)
        key = uuid7()
        if start is not None:
            # The time of the entry, and the random part of a new key.
            key = type(key)(int=first_id(at).int | key.int & ((1 << 62) - 1))
        values = {"actor_kind": "user", "actor": "7", "action": "order.paid", "outcome": "success", "data": {}}
        rows.append(Entry(id=key, at=at, **{**values, "salt": b"s", "commitment": b"c", "mac": b"m", **columns}))
    Entry._base_manager.bulk_create(rows)
    return rows


def sealed(row: Entry) -> Entry:
    """Give the entry a leaf, without a checkpoint."""
    Leaf._base_manager.create(position=Leaf._base_manager.count(), entry=row.pk, hash=b"h" * 32)
    return row
