"""The rules of idempotency that write.

A claim commits before the work. The response is stored in the transaction of the work.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, router, transaction
from django.utils import timezone

from dovetail_contract import get_idempotency_model
from dovetail_contract.base import AbstractIdempotencyRecord
from dovetail_contract.conf import conf
from dovetail_contract.problems.builder import Problem
from dovetail_core.commands import Progress, delete_in_batches

__all__ = ["Claim", "claim", "complete", "database", "leave_open", "purge_idempotency_records", "release"]

_IN_PROGRESS, _COMPLETED = AbstractIdempotencyRecord.IN_PROGRESS, AbstractIdempotencyRecord.COMPLETED
# An attempt fails if another request changes the record in between; then that request makes progress.
_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to do the work. ``attempt`` becomes invalid when another request takes over.

    ``unfinished`` is the record of an earlier attempt whose outcome is unknown.
    """

    digest: str
    attempt: int
    unfinished: AbstractIdempotencyRecord | None = None


def database() -> str:
    """The database alias of the records, and of the work's transaction."""
    return router.db_for_write(get_idempotency_model())


def claim(
    *,
    digest: str,
    fingerprint: str,
    identity: Mapping[str, str],
    external: bool = False,
    retention_hours: int | None = None,
) -> Claim | AbstractIdempotencyRecord:
    """The right to do the work, or the record of the response to replay.

    ``external`` work has effects that no rollback undoes: if an earlier attempt is unfinished, the claim has its record
    in ``unfinished``, and the caller must find out its outcome first. ``retention_hours`` overrides
    ``CONTRACT_IDEMPOTENCY_RETENTION_HOURS``.

    Raises ``Problem``: 422 ``idempotency_key_reused`` or 409 ``idempotency_in_progress``.
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
            return record  # type: ignore[no-any-return]  # of the model that the setting names
        takeover = _take_over(record, external=external)
        if takeover is not None:
            return takeover
    raise Problem("idempotency_in_progress", headers={"Retry-After": "1"})


def complete(*, claim: Claim, status: int, headers: Mapping[str, str], body: bytes | None) -> bool:
    """Store the response, in the transaction of the work. False if another attempt holds the claim: then roll back."""
    held = _rows().filter(pk=claim.digest, attempt=claim.attempt, state=_IN_PROGRESS)
    return bool(held.update(state=_COMPLETED, status=status, headers=dict(headers), body=body))


def release(*, claim: Claim) -> None:
    """Free the key: the work had no effect."""
    _rows().filter(pk=claim.digest, attempt=claim.attempt, state=_IN_PROGRESS).delete()


def leave_open(*, claim: Claim) -> None:
    """Keep the key claimed, because the outcome of the work is unknown. The next request asks for it."""
    held = _rows().filter(pk=claim.digest, attempt=claim.attempt, state=_IN_PROGRESS)
    held.update(locked_until=timezone.now())


def purge_idempotency_records(*, batch_size: int = 1000, progress: Progress | None = None) -> int:
    """Delete the records that have expired, and return their number. Each batch commits."""
    expired = _rows().filter(expires_at__lt=timezone.now()).order_by("expires_at")
    return delete_in_batches(expired, batch_size=batch_size, progress=progress)


def _rows() -> Any:
    return get_idempotency_model()._default_manager.using(database())


def _insert(digest: str, fingerprint: str, identity: Mapping[str, str], hours: int) -> Claim | None:
    now = timezone.now()
    try:
        with _recoverable():
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


def _take_over(record: Any, *, external: bool) -> Claim | None:
    now = timezone.now()
    if record.locked_until > now:
        raise Problem("idempotency_in_progress", headers={"Retry-After": "1"})
    # The process that held the claim died, and its transaction was rolled back. One of the waiting requests goes on.
    lease = now + timedelta(seconds=conf.IDEMPOTENCY_LEASE_SECONDS)
    held = _rows().filter(pk=record.pk, attempt=record.attempt, state=_IN_PROGRESS)
    if held.update(attempt=record.attempt + 1, locked_until=lease):
        return Claim(record.pk, record.attempt + 1, record if external else None)
    return None


@contextmanager
def _recoverable() -> Iterator[None]:
    # A savepoint is needed inside a transaction only; outside, BEGIN and COMMIT would cost a round trip.
    if not transaction.get_connection(database()).in_atomic_block:
        yield
        return
    with transaction.atomic(using=database()):
        yield
