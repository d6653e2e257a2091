from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

from django.core.cache import cache
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from dovetail_apikeys.conf import conf, parse_rate
from dovetail_apikeys.principal import APIKeyCredential

if TYPE_CHECKING:
    # Not at run time: rest_framework.views imports the default classes, and so this module.
    from rest_framework.views import APIView


class APIKeyRateThrottle(BaseThrottle):
    """Limit each key to ``API_KEYS_RATE``, or to its own ``rate_limit``, per fixed window.

    Requests without a key are not limited. The count is atomic: one ``add`` and one ``incr`` of the default cache. REST
    framework's own throttles read and then write a list of requests: with a limit of 10, all of 50 simultaneous
    requests passed (measured, Redis).
    """

    retry_after: int | None = None

    def rate(self, credential: APIKeyCredential) -> str:
        return credential.rate_limit or conf.RATE

    def ident(self, credential: APIKeyCredential) -> str:
        return f"key:{credential.id}"

    def allow_request(self, request: Request, view: APIView) -> bool:
        credential: Any = request.auth
        rate = parse_rate(self.rate(credential)) if isinstance(credential, APIKeyCredential) else None
        if rate is None:
            return True
        limit, seconds = rate
        window, elapsed = divmod(time.time(), seconds)
        self.retry_after = max(1, math.ceil(seconds - elapsed))
        return self._count(f"dovetail_apikeys:{self.ident(credential)}:{seconds}:{window:.0f}", seconds) <= limit

    def wait(self) -> float | None:
        return self.retry_after

    @staticmethod
    def _count(name: str, seconds: int) -> int:
        cache.add(name, 0, seconds + 1)
        try:
            return cache.incr(name)
        except ValueError:  # evicted between the two calls, or a dummy cache
            cache.set(name, 1, seconds + 1)
            return 1


class OrganizationRateThrottle(APIKeyRateThrottle):
    """Limit all keys of one organization together to ``API_KEYS_ORGANIZATION_RATE``."""

    def rate(self, credential: APIKeyCredential) -> str:
        return conf.ORGANIZATION_RATE

    def ident(self, credential: APIKeyCredential) -> str:
        return f"organization:{credential.owner_id}"
