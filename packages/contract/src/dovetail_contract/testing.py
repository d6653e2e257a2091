"""For the test suites of projects that have switched the contract on."""

from __future__ import annotations

from dovetail_contract.ratelimit import failures
from dovetail_contract.ratelimit.limiter import limiter


def reset_rate_limits() -> None:
    """Forget what this process has counted, so that no test inherits another's. Counts in Redis stay."""
    failures.forget()
    limiter().local.clear()
