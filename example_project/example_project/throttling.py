"""DRF's throttles, told apart by the client's address as the nearest trusted proxy saw it."""

from __future__ import annotations

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
