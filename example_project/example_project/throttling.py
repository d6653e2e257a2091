"""DRF's throttles, told apart by the client's address as the nearest trusted proxy saw it."""

from __future__ import annotations

from typing import Any

from rest_framework import throttling
from rest_framework.request import Request

from dovetail_core.net import client_network


class _ByNetwork:
    # DRF's own takes X-Forwarded-For as the client sent it: a new address for every request is no limit.
    def get_ident(self, request: Request) -> str:
        return client_network(request._request) or "local"


class AnonRateThrottle(_ByNetwork, throttling.AnonRateThrottle):
    pass


class UserRateThrottle(_ByNetwork, throttling.UserRateThrottle):
    pass


class ScopedRateThrottle(_ByNetwork, throttling.ScopedRateThrottle):
    """By the scope that a view's ``contract`` names; one without a rate in the settings is not limited."""

    def allow_request(self, request: Request, view: Any) -> bool:
        self.scope = getattr(view, "contract", {}).get("throttle")
        if self.scope not in self.THROTTLE_RATES:
            return True
        self.rate = self.get_rate()
        self.num_requests, self.duration = self.parse_rate(self.rate)
        return throttling.SimpleRateThrottle.allow_request(self, request, view)
