"""Claim idempotency keys, and store the responses of their requests.

A claim is committed before the view runs. The response is stored in the transaction of the view.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, router, transaction
from django.db.models import QuerySet
from django.utils import timezone

from dovetail_contract import get_idempotency_model
from dovetail_contract.base import AbstractIdempotencyRecord
from dovetail_contract.conf import conf
from dovetail_contract.problems.builder import Problem
from dovetail_core.commands import Progress, delete_in_batches

_IN_PROGRESS, _COMPLETED = AbstractIdempotencyRecord.IN_PROGRESS, AbstractIdempotencyRecord.COMPLETED
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
        new_claim = _insert(digest, fingerprint, identity, retention_hours or conf.IDEMPOTENCY_RETENTION_HOURS)
        if new_claim is not None:
            return new_claim
        record = _rows().filter(pk=digest).first()
        if record is None:
            continue
        if record.expires_at <= timezone.now():
            _rows().filter(pk=digest, expires_at=record.expires_at).delete()
            continue
        if record.fingerprint != fingerprint:
            raise Problem("idempotency_key_reused")
        if record.state == _COMPLETED:
            return record  # type: ignore[no-any-return]  # of the model in the setting
        takeover = _take_over(record, external=external)
        if takeover is not None:
            return takeover
    raise Problem("idempotency_in_progress", headers={"Retry-After": "1"})


def complete(*, claim: Claim, status: int, headers: Mapping[str, str], body: bytes | None) -> bool:
    """Store the response, in the transaction of the view. False if another attempt has the claim: roll back."""
    return bool(_claimed(claim).update(state=_COMPLETED, status=status, headers=dict(headers), body=body))


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


def _insert(digest: str, fingerprint: str, identity: Mapping[str, str], hours: int) -> Claim | None:
    now = timezone.now()
    try:
        # Only a transaction needs a savepoint; outside one, BEGIN and COMMIT would cost a round trip.
        in_transaction = transaction.get_connection(database()).in_atomic_block
        with transaction.atomic(using=database()) if in_transaction else nullcontext():
            _rows().create(
                digest=digest,
                fingerprint=fingerprint,
                locked_until=now + timedelta(seconds=conf.IDEMPOTENCY_LEASE_SECONDS),
                expires_at=now + timedelta(hours=hours),
                **identity,
            )
    except IntegrityError:
        return None
    return Claim(digest, 1)


def _take_over(record: AbstractIdempotencyRecord, *, external: bool) -> Claim | None:
    now = timezone.now()
    if record.locked_until > now:
        raise Problem("idempotency_in_progress", headers={"Retry-After": "1"})
    # The process that had the claim died, and its transaction was rolled back. The update lets one request take over.
    lease = now + timedelta(seconds=conf.IDEMPOTENCY_LEASE_SECONDS)
    if _claimed(Claim(record.pk, record.attempt)).update(attempt=record.attempt + 1, locked_until=lease):
        return Claim(record.pk, record.attempt + 1, record if external else None)
    return None
