"""Claim idempotency keys, and store the responses of their requests.

A claim is committed before the view runs. The response is stored in the transaction of the view.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, OperationalError, connections, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model, QuerySet
from django.db.models.signals import post_save, pre_save
from django.utils import timezone

from dovetail_contract import get_idempotency_model
from dovetail_contract.base import AbstractIdempotencyRecord
from dovetail_contract.conf import conf
from dovetail_contract.problems.builder import Problem
from dovetail_core.commands import Progress, delete_in_batches
from dovetail_core.sql import CompiledInsert, CompiledQuery, CompiledUpdate, Placeholder, is_plain, once
from dovetail_core.transactions import is_conflict

_IN_PROGRESS, _COMPLETED = AbstractIdempotencyRecord.IN_PROGRESS, AbstractIdempotencyRecord.COMPLETED
_TIMES = ("locked_until", "created_at", "expires_at")
# The methods that a project may override to change what is saved.
_SAVING = ("save", "save_base", "_save_table", "_do_insert")
# An attempt fails only if another request changes the record in between, so some request always makes progress.
_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to run the view. ``attempt`` becomes invalid when another request takes over the key.

    ``unfinished`` is the record of an earlier attempt whose outcome is unknown.
    """

    digest: str
    attempt: int
    unfinished: AbstractIdempotencyRecord | None = None


def database() -> str:
    """Return the database alias of the records, and of the view's transaction."""
    return router.db_for_write(get_idempotency_model())


def claim(
    *,
    digest: str,
    fingerprint: str,
    identity: Mapping[str, str],
    external: bool = False,
    retention_hours: int | None = None,
) -> Claim | AbstractIdempotencyRecord:
    """Return a claim of the key, or the completed record whose response is to be replayed.

    ``external`` means that the view has effects that a rollback does not undo. If an earlier attempt did not finish,
    the claim then has its record in ``unfinished``, and the caller must determine its outcome before it runs the view.
    ``retention_hours`` overrides ``CONTRACT_IDEMPOTENCY_RETENTION_HOURS``.

    Raise ``Problem``: 422 ``idempotency_key_reused`` or 409 ``idempotency_in_progress``.
    """
    for _ in range(_ATTEMPTS):
        new_claim = _insert(
            digest, fingerprint, identity, retention_hours or conf.IDEMPOTENCY_RETENTION_HOURS, external
        )
        if new_claim is not None:
            return new_claim
        record = _record(digest)
        if record is None:
            continue
        if record.expires_at <= timezone.now():
            _rows().filter(pk=digest, expires_at=record.expires_at).delete()
            continue
        if record.fingerprint != fingerprint:
            raise Problem("idempotency_key_reused")
        if record.state == _COMPLETED:
            return record
        takeover = _take_over(record, external=external)
        if takeover is not None:
            return takeover
    raise _in_progress(timezone.now())


def in_progress(*, claim: Claim) -> Problem:
    """Return the refusal of an attempt that has lost its claim to another one."""
    until = _rows().filter(pk=claim.digest, state=_IN_PROGRESS).values_list("locked_until", flat=True).first()
    return _in_progress(until or timezone.now())


def complete(*, claim: Claim, status: int, headers: Mapping[str, str], body: bytes | None) -> bool:
    """Store the response, in the transaction of the view. False if another attempt has the claim: roll back."""
    response: dict[str, Any] = {"status": status, "headers": dict(headers), "body": body}
    update = once(_compile_completion, get_idempotency_model(), using=database())
    if update is None:
        return bool(_claimed(claim).update(state=_COMPLETED, **response))
    return bool(update.execute({"digest": claim.digest, "attempt": claim.attempt, **response}))


def _compile_completion(model: type[Model], using: str) -> CompiledUpdate | None:
    """Compile the statement of ``complete()``, or return None if the ORM must build it each time."""
    # MySQL has another placeholder for binary data.
    if not _is_compilable(model) or connections[using].vendor == "mysql":
        return None
    fields: dict[str, Any] = {name: model._meta.get_field(name) for name in ("attempt", "status", "headers", "body")}
    places = {name: Placeholder(name, field) for name, field in fields.items()}
    digest = Placeholder("digest", model._meta.pk)
    rows = model._default_manager.filter(pk=digest, attempt=places.pop("attempt"), state=_IN_PROGRESS)
    return CompiledUpdate(rows, {"state": _COMPLETED, **places}, using=using)


def _is_compilable(model: type[Model]) -> bool:
    # A project's own manager may select other rows, its own field may convert its value in SQL or when it is saved, and
    # a parent's field is in another table.
    return (
        is_plain(model._default_manager)
        and not model._meta.parents
        and all(type(field).__module__.startswith("django.db.models.") for field in model._meta.concrete_fields)
    )


def release(*, claim: Claim) -> None:
    """Delete the record, because the view had no effect. The key can be used again."""
    _claimed(claim).delete()


def leave_open(*, claim: Claim) -> None:
    """Keep the record as unfinished, because the outcome is unknown. The next request takes over at once."""
    _claimed(claim).update(locked_until=timezone.now())


def purge_idempotency_records(*, batch_size: int = 1000, progress: Progress | None = None) -> int:
    """Delete expired records, and return their number. Each batch is committed separately."""
    expired = _rows().filter(expires_at__lt=timezone.now()).order_by("expires_at")
    return delete_in_batches(expired, batch_size=batch_size, progress=progress)


def _rows() -> QuerySet[Any]:
    return get_idempotency_model()._default_manager.using(database())


def _claimed(claim: Claim) -> QuerySet[Any]:
    return _rows().filter(pk=claim.digest, attempt=claim.attempt, state=_IN_PROGRESS)


def _in_progress(locked_until: datetime) -> Problem:
    # The end of the lease, when a retry is certain to get an answer: the process of the first request may be dead.
    seconds = math.ceil((locked_until - timezone.now()).total_seconds())
    return Problem("idempotency_in_progress", headers={"Retry-After": str(max(1, seconds))})


def _lease(attempt: int, *, external: bool) -> timedelta:
    # Short, because a client waits for it after a worker was killed: an attempt that loses its claim cannot commit. It
    # grows, so that a view that takes longer than the first lease finishes. External work would happen twice.
    longest = max(conf.IDEMPOTENCY_LEASE_SECONDS, conf.IDEMPOTENCY_MAX_LEASE_SECONDS)
    doubled = conf.IDEMPOTENCY_LEASE_SECONDS << min(attempt - 1, 16)
    return timedelta(seconds=longest if external else min(doubled, longest))


def _record(digest: str) -> AbstractIdempotencyRecord | None:
    query = once(_compile_record, get_idempotency_model(), using=database())
    if query is None:
        return _rows().filter(pk=digest).first()
    return next(iter(query.instances({"digest": digest})), None)


def _compile_record(model: type[Model], using: str) -> CompiledQuery | None:
    if not is_plain(model._default_manager):
        return None
    return CompiledQuery(model._default_manager.filter(pk=Placeholder("digest", model._meta.pk)), using=using)


def _insert(digest: str, fingerprint: str, identity: Mapping[str, str], hours: int, external: bool) -> Claim | None:
    now = timezone.now()
    values = {
        "digest": digest,
        "fingerprint": fingerprint,
        "locked_until": now + _lease(1, external=external),
        "expires_at": now + timedelta(hours=hours),
        **identity,
    }
    connection = transaction.get_connection(database())
    model = get_idempotency_model()
    insert = None
    if not (pre_save.has_listeners(model) or post_save.has_listeners(model)):
        # In autocommit only: otherwise it would be the setting of the transaction around it.
        asynchronous = not external and connection.vendor == "postgresql" and connection.get_autocommit()
        insert = once(_compile_claim, model, asynchronous, using=connection.alias)
    ignores_conflicts = insert is not None and _ignores_conflicts(connection)
    # Only a transaction needs a savepoint; outside one, BEGIN and COMMIT would cost a round trip.
    savepoint = connection.in_atomic_block and not ignores_conflicts
    try:
        with transaction.atomic(using=connection.alias) if savepoint else nullcontext():
            if insert is None:
                _rows().create(**values)
            elif not insert.execute({**values, "created_at": now}):
                return None
    except IntegrityError:
        return None
    except OperationalError as error:
        # With REPEATABLE READ, PostgreSQL reports a row that another request has inserted since the snapshot.
        if connection.in_atomic_block or connection.vendor != "postgresql" or not is_conflict(error):
            raise
        return None
    return Claim(digest, 1)


def _compile_claim(model: type[Model], asynchronous: bool, using: str) -> CompiledInsert | None:
    """Compile the statement that inserts a record, or return None if the model's own code or fields need the ORM."""
    if not _is_compilable(model) or any(getattr(model, name) is not getattr(Model, name) for name in _SAVING):
        return None
    values: dict[str, Any] = {"state": _IN_PROGRESS, "attempt": 1, "status": None, "headers": {}, "body": None}
    for name in ("digest", "organization", "principal", "key", "fingerprint", *_TIMES):
        field: Any = model._meta.get_field(name)
        values[name] = Placeholder(name, field)
    if {field.name for field in model._meta.concrete_fields} != set(values):
        return None
    insert = CompiledInsert(model, values, using=using, ignore_conflicts=_ignores_conflicts(connections[using]))
    if asynchronous:
        # The commit does not wait for the disk. A crash of the server may lose the claim, but then also the work, which
        # is committed later. A claim that it does not lose is unfinished, and the next request runs the work again.
        insert.sql += " RETURNING set_config('synchronous_commit', 'off', true)"
    return insert


def _ignores_conflicts(connection: BaseDatabaseWrapper) -> bool:
    # MySQL and MariaDB would also ignore values that are too long.
    return connection.vendor in {"postgresql", "sqlite"}


def _take_over(record: AbstractIdempotencyRecord, *, external: bool) -> Claim | None:
    now = timezone.now()
    if record.locked_until > now:
        raise _in_progress(record.locked_until)
    # The process that had the claim died, and its transaction was rolled back. The update lets one request take over.
    attempt = record.attempt + 1
    lease = now + _lease(attempt, external=external)
    if _claimed(Claim(record.pk, record.attempt)).update(attempt=attempt, locked_until=lease):
        return Claim(record.pk, attempt, record if external else None)
    return None
