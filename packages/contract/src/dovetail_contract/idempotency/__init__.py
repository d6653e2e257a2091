"""``Idempotency-Key``: a request that is sent again has its effect once, and its answer as often as it is asked for."""

from __future__ import annotations
