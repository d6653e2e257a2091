from __future__ import annotations

from dovetail_contract.base import AbstractIdempotencyRecord


class IdempotencyRecord(AbstractIdempotencyRecord):
    class Meta(AbstractIdempotencyRecord.Meta):
        swappable = "CONTRACT_IDEMPOTENCY_MODEL"
