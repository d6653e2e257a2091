"""The rules of idempotency that write. A claim is committed before the work; its answer in the work's transaction."""

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

__all__ = ["Claim", "claim", "complete", "database", "leave_open", "purge_idempotency_records", "release"]

_IN_PROGRESS, _COMPLETED = AbstractIdempotencyRecord.IN_PROGRESS, AbstractIdempotencyRecord.COMPLETED
# Each turn another request has moved the record in between; one of them makes progress.
_TURNS = 5


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to do the work; ``attempt`` is worth nothing once another has taken over.

    ``unfinished`` is the record of an attempt that began before, where nobody knows how it ended.
    """

    digest: str
    attempt: int
    unfinished: AbstractIdempotencyRecord | None = None


def database() -> str:
    """The alias that the records are written to, and that the work's transaction is opened on."""
    return router.db_for_write(get_idempotency_model())


def claim(
    *,
    digest: str,
    fingerprint: str,
    identity: Mapping[str, str],
    external: bool = False,
    retention_hours: int | None = None,
) -> Claim | AbstractIdempotencyRecord:
    """The right to do the work, or the record of the answer to give again.

    ``external`` work has effects that no rollback takes back: the claim on what another began says so by
    ``unfinished``, and is to ask what became of it before anything else. ``retention_hours`` stands in place of
    ``CONTRACT_IDEMPOTENCY_RETENTION_HOURS``.

    Raises ``Problem``: 422 ``idempotency_key_reused`` or 409 ``idempotency_in_progress``.
    """
    for _ in range(_TURNS):
        made = _insert(digest, fingerprint, identity, retention_hours or conf.IDEMPOTENCY_RETENTION_HOURS)
        if made is not None:
            return made
        found = _rows().filter(pk=digest).first()
        if found is None:
            continue
        if found.expires_at <= timezone.now():
            _rows().filter(pk=digest, expires_at=found.expires_at).delete()
            continue
        if found.fingerprint != fingerprint:
            raise Problem("idempotency_key_reused")
        if found.state == _COMPLETED:
            return found  # type: ignore[no-any-return]  # of the model that the setting names
        taken = _take_over(found, external=external)
        if taken is not None:
            return taken
    raise Problem("idempotency_in_progress", headers={"Retry-After": "1"})


def complete(*, claim: Claim, status: int, headers: Mapping[str, str], body: bytes | None) -> bool:
    """Keep the answer, in the transaction of the work. False if another attempt holds the claim: roll back then."""
    held = _rows().filter(pk=claim.digest, attempt=claim.attempt, state=_IN_PROGRESS)
    return bool(held.update(state=_COMPLETED, status=status, headers=dict(headers), body=body))


def release(*, claim: Claim) -> None:
    """The work left nothing behind: the key is free again."""
    _rows().filter(pk=claim.digest, attempt=claim.attempt, state=_IN_PROGRESS).delete()


def leave_open(*, claim: Claim) -> None:
    """Nobody knows what the work left behind: the key stays taken, and who comes next asks what became of it."""
    held = _rows().filter(pk=claim.digest, attempt=claim.attempt, state=_IN_PROGRESS)
    held.update(locked_until=timezone.now())


def purge_idempotency_records(*, batch_size: int = 1000) -> int:
    """Delete records whose term is over; how many. Each batch commits."""
    purged, now = 0, timezone.now()
    over = _rows().filter(expires_at__lt=now).order_by("expires_at")
    while keys := list(over.values_list("pk", flat=True)[:batch_size]):
        # The condition again: the key may have been used anew since.
        purged += over.filter(pk__in=keys).order_by().delete()[0]
    return purged


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


def _take_over(found: Any, *, external: bool) -> Claim | None:
    now = timezone.now()
    if found.locked_until > now:
        raise Problem("idempotency_in_progress", headers={"Retry-After": "1"})
    # The process that held it died, and its transaction with it. Of those who see that, one goes on.
    lease = now + timedelta(seconds=conf.IDEMPOTENCY_LEASE_SECONDS)
    held = _rows().filter(pk=found.pk, attempt=found.attempt, state=_IN_PROGRESS)
    if held.update(attempt=found.attempt + 1, locked_until=lease):
        return Claim(found.pk, found.attempt + 1, found if external else None)
    return None


@contextmanager
def _recoverable() -> Iterator[None]:
    # Outside of a transaction the failed insert leaves nothing to recover from, and BEGIN and COMMIT cost a round trip.
    if not transaction.get_connection(database()).in_atomic_block:
        yield
        return
    with transaction.atomic(using=database()):
        yield
