"""``Idempotency-Key``: a repeated request takes effect once, and gets the first response again.

Only requests with a method of ``CONTRACT_IDEMPOTENCY_METHODS`` enter this package.
"""

from __future__ import annotations
