"""``Idempotency-Key``: a repeated request takes effect once, and gets the same response.

Only requests with a method in ``CONTRACT_IDEMPOTENCY_METHODS`` enter this package.
"""
