"""Sealed logs, and ways to tamper with them by SQL, as somebody would who owns the tables."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import transaction

from dovetail_audit.entries.building import authenticate
from dovetail_audit.entries.canonical import canonical
from dovetail_audit.models import PERSONAL, Checkpoint, Entry, Leaf
from dovetail_audit.sealing.merkle import leaf_hash
from dovetail_audit.services import record_many, seal
from dovetail_audit.verification.findings import Kind
from dovetail_core.models import uuid7

ENTRIES = Entry._base_manager
LEAVES = Leaf._base_manager
CHECKPOINTS = Checkpoint._base_manager


@contextmanager
def rolled_back() -> Iterator[None]:
    """For Hypothesis, whose examples share the transaction of the test."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def write(count: int, start: int = 0, **arguments: Any) -> None:
    record_many(
        {
            "action": "invoice.paid",
            "target": ("shop.Invoice", number),
            "parameters": {"amount": number},
            "personal": {"payer": f"payer-{number}@example.com"},
            **arguments,
        }
        for number in range(start, start + count)
    )


def sealed_log(*sizes: int) -> None:
    """Write entries and seal them, once for each size."""
    for size in sizes:
        write(size)
        seal()


def rewrite() -> None:
    """Replace the whole log, as somebody with all secrets of the host can."""
    ENTRIES.all().delete()
    LEAVES.all().delete()
    CHECKPOINTS.all().delete()
    sealed_log(4, 3)


@dataclass
class Expected:
    """The kinds of which at least one must be found, and all entries that must be named, and no others."""

    kinds: set[Kind]
    entries: set[UUID] = field(default_factory=set)


Attack = Callable[[random.Random], Expected]


def _entry(chance: random.Random) -> Entry:
    return chance.choice(list(ENTRIES.order_by("pk")))


def _two(chance: random.Random) -> list[Leaf]:
    return chance.sample(list(LEAVES.order_by("pk")), 2)


def _change(chance: random.Random) -> dict[str, Any]:
    changes: list[dict[str, Any]] = [
        {"action": "invoice.refunded"},
        {"actor": "1"},
        {"actor_kind": "user"},
        {"auth": "jwt"},
        {"impersonator": "2"},
        {"organization": "acme"},
        {"outcome": "denied"},
        {"status": 403},
        {"problem": "forbidden"},
        {"target_kind": "shop.Order"},
        {"target": "-1"},
        {"origin": "task"},
        {"request_id": "r"},
        {"data": {}},
        {"data": {"parameters": {"amount": "0"}}},
        {"version": 2},
        {"mac": bytes(32)},
        {"commitment": bytes(32)},
    ]
    return chance.choice(changes)


def edit(chance: random.Random) -> Expected:
    entry = _entry(chance)
    ENTRIES.filter(pk=entry.pk).update(**_change(chance))
    return Expected({Kind.ALTERED}, {entry.pk})


def edit_time(chance: random.Random) -> Expected:
    entry = _entry(chance)
    ENTRIES.filter(pk=entry.pk).update(at=entry.at + timedelta(microseconds=1))
    return Expected({Kind.ALTERED}, {entry.pk})


def edit_personal(chance: random.Random) -> Expected:
    entry = _entry(chance)
    change: dict[str, Any] = chance.choice(
        [{"ip": "192.0.2.1"}, {"user_agent": "x"}, {"actor_label": "Eve"}, {"private": None}, {"salt": bytes(16)}]
    )
    ENTRIES.filter(pk=entry.pk).update(**change)
    return Expected({Kind.ALTERED}, {entry.pk})


def erase_without_record(chance: random.Random) -> Expected:
    entry = _entry(chance)
    ENTRIES.filter(pk=entry.pk).update(**dict.fromkeys(PERSONAL), erased_at=entry.at)
    return Expected({Kind.ALTERED})


def erase_in_part(chance: random.Random) -> Expected:
    entry = _entry(chance)
    ENTRIES.filter(pk=entry.pk).update(**{**dict.fromkeys(PERSONAL), "ip": "192.0.2.1"}, erased_at=entry.at)
    return Expected({Kind.ALTERED}, {entry.pk})


def remove_salt(chance: random.Random) -> Expected:
    entry = _entry(chance)
    ENTRIES.filter(pk=entry.pk).update(**dict.fromkeys(PERSONAL))
    return Expected({Kind.ALTERED}, {entry.pk})


def edit_with_leaf(chance: random.Random) -> Expected:
    entry = _entry(chance)
    ENTRIES.filter(pk=entry.pk).update(action="invoice.refunded")
    _reseal(entry.pk)
    return Expected({Kind.ALTERED, Kind.ROOT_MISMATCH}, {entry.pk})


def edit_with_secret_keys(chance: random.Random) -> Expected:
    entry = _entry(chance)
    entry.action = "invoice.refunded"
    authenticate(entry)
    ENTRIES.filter(pk=entry.pk).update(action=entry.action, mac=entry.mac, commitment=entry.commitment)
    _reseal(entry.pk)
    return Expected({Kind.ROOT_MISMATCH})


def delete(chance: random.Random) -> Expected:
    entry = _entry(chance)
    ENTRIES.filter(pk=entry.pk).delete()
    return Expected({Kind.MISSING}, {entry.pk})


def delete_leaf(chance: random.Random) -> Expected:
    (leaf, _other) = _two(chance)
    LEAVES.filter(pk=leaf.pk).delete()
    return Expected({Kind.MISSING})


def delete_with_leaf(chance: random.Random) -> Expected:
    (leaf, _other) = _two(chance)
    LEAVES.filter(pk=leaf.pk).delete()
    ENTRIES.filter(pk=leaf.entry).delete()
    return Expected({Kind.MISSING})


def insert(chance: random.Random) -> Expected:
    entry = _copy(chance)
    return Expected({Kind.MAC_INVALID}, {entry.pk})


def insert_with_leaf(chance: random.Random) -> Expected:
    entry = _copy(chance)
    LEAVES.create(position=LEAVES.count(), entry=entry.pk, hash=leaf_hash(canonical(entry), bytes(entry.mac)))
    return Expected({Kind.ROOT_MISMATCH})


def replace_with_leaf(chance: random.Random) -> Expected:
    (leaf, _other) = _two(chance)
    ENTRIES.filter(pk=leaf.entry).delete()
    entry = _copy(chance)
    LEAVES.filter(pk=leaf.pk).update(entry=entry.pk)
    _reseal(entry.pk)
    return Expected({Kind.ALTERED, Kind.REORDERED}, {entry.pk})


def swap_positions(chance: random.Random) -> Expected:
    one, other = _two(chance)
    LEAVES.filter(pk=one.pk).update(position=-1)
    LEAVES.filter(pk=other.pk).update(position=one.pk)
    LEAVES.filter(pk=-1).update(position=other.pk)
    return Expected({Kind.ROOT_MISMATCH})


def swap_entries_of_leaves(chance: random.Random) -> Expected:
    one, other = _two(chance)
    LEAVES.filter(pk=one.pk).update(entry=uuid7())
    LEAVES.filter(pk=other.pk).update(entry=one.entry)
    LEAVES.filter(pk=one.pk).update(entry=other.entry)
    return Expected({Kind.REORDERED}, {one.entry, other.entry})


def swap_contents(chance: random.Random) -> Expected:
    one, other = _two(chance)
    rows = {entry.pk: entry for entry in ENTRIES.filter(pk__in=[one.entry, other.entry])}
    names = [field.name for field in Entry._meta.concrete_fields if field.name != "id"]
    for key, source in ((one.entry, other.entry), (other.entry, one.entry)):
        ENTRIES.filter(pk=key).update(**{name: getattr(rows[source], name) for name in names})
    return Expected({Kind.ALTERED}, {one.entry, other.entry})


def change_leaf(chance: random.Random) -> Expected:
    (leaf, _other) = _two(chance)
    LEAVES.filter(pk=leaf.pk).update(hash=bytes(32))
    return Expected({Kind.ALTERED}, {leaf.entry})


def truncate_entries(chance: random.Random) -> Expected:
    keys = list(LEAVES.order_by("-pk").values_list("entry", flat=True)[: chance.randint(1, 5)])
    ENTRIES.filter(pk__in=keys).delete()
    return Expected({Kind.MISSING}, set(keys))


def truncate_leaves(chance: random.Random) -> Expected:
    last = LEAVES.count() - chance.randint(1, 5)
    keys = list(LEAVES.filter(pk__gte=last).values_list("entry", flat=True))
    LEAVES.filter(pk__gte=last).delete()
    ENTRIES.filter(pk__in=keys).delete()
    return Expected({Kind.MISSING})


def truncate_checkpoints(chance: random.Random) -> Expected:
    CHECKPOINTS.filter(pk=CHECKPOINTS.order_by("-pk").values_list("pk", flat=True)[0]).delete()
    return Expected({Kind.ROOT_MISMATCH})


def change_checkpoint(chance: random.Random) -> Expected:
    row = chance.choice(list(CHECKPOINTS.order_by("pk")))
    note = row.signature.replace("at 20", "at 19") if chance.random() < 0.5 else "nothing\n"
    change: dict[str, Any] = chance.choice(
        [{"root": bytes(32)}, {"frontier": b""}, {"at": row.at + timedelta(seconds=1)}, {"signature": note}]
    )
    CHECKPOINTS.filter(pk=row.pk).update(**change)
    return Expected({Kind.SIGNATURE_INVALID})


ATTACKS: list[Attack] = [
    edit,
    edit_time,
    edit_personal,
    erase_without_record,
    erase_in_part,
    remove_salt,
    edit_with_leaf,
    edit_with_secret_keys,
    delete,
    delete_leaf,
    delete_with_leaf,
    insert,
    insert_with_leaf,
    replace_with_leaf,
    swap_positions,
    swap_entries_of_leaves,
    swap_contents,
    change_leaf,
    truncate_entries,
    truncate_leaves,
    truncate_checkpoints,
    change_checkpoint,
]


def _copy(chance: random.Random) -> Entry:
    entry = _entry(chance)
    entry.pk, entry._state.adding = uuid7(), True
    ENTRIES.bulk_create([entry])
    return entry


def _reseal(key: UUID) -> None:
    entry = ENTRIES.get(pk=key)
    LEAVES.filter(entry=key).update(hash=leaf_hash(canonical(entry), bytes(entry.mac)))
