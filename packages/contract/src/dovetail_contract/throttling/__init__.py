"""Rate limits::

REST_FRAMEWORK = {"DEFAULT_THROTTLE_CLASSES": ["dovetail_contract.throttling.RateLimitThrottle"]}

``throttle`` selects the ``policies`` of a request, ``limiter`` decides about all of them at once, ``stores`` hold the
counts, and ``failures`` limits failed authentications and floods, which REST framework does not throttle.
"""

from __future__ import annotations

from dovetail_contract.throttling.policies import Policy
from dovetail_contract.throttling.throttle import RateLimited, RateLimitThrottle

__all__ = ["Policy", "RateLimitThrottle", "RateLimited"]
