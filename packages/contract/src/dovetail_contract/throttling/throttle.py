"""The throttle class: selects the policies of a request, and refuses it if one of them does."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rest_framework.exceptions import Throttled
from rest_framework.request import Request
from rest_framework.settings import api_settings
from rest_framework.throttling import BaseThrottle

from dovetail_contract.conf import conf, contract_of
from dovetail_contract.problems.builder import Problem
from dovetail_contract.problems.handlers import RETRY_AFTER
from dovetail_contract.throttling.limiter import Decision, Limited, limiter
from dovetail_contract.throttling.policies import find_policy

if TYPE_CHECKING:
    # Not at run time: rest_framework.views imports this module.
    from rest_framework.views import APIView

logger = logging.getLogger("dovetail.ratelimit")

#: The attribute of a request with the decision, which the middleware turns into headers.
DECISION = "dovetail_rate_limits"


class RateLimited(Throttled):
    """REST framework's exception, with the name of the ``policy`` that refused the request."""

    def __init__(self, decision: Decision) -> None:
        super().__init__(wait=decision.retry_after)
        refused = decision.refused
        self.extensions = {"policy": refused[0].policy.name} if refused else {}


class RateLimitThrottle(BaseThrottle):
    """One throttle for all policies of a request: those in ``CONTRACT_RATE_LIMIT_DEFAULT``, and those of the view.

    A view names its policies in ``contract = {"throttle": "exports"}`` or in REST framework's ``throttle_scope``. Their
    rates are in ``DEFAULT_THROTTLE_RATES`` or ``CONTRACT_RATE_LIMITS``. A name without a rate has no effect.
    """

    def allow_request(self, request: Request, view: APIView) -> bool:
        """Raise ``RateLimited``; or 503, if the store is unavailable and ``on_error`` of a policy is ``deny``."""
        if request.method == "OPTIONS":
            return True  # a browser's CORS preflight
        decision = limiter().decide(list(self.limited(request, view)))
        setattr(request._request, DECISION, decision)
        if decision.unavailable:
            raise Problem("unavailable", headers={"Retry-After": str(RETRY_AFTER)})
        if decision.refused is None:
            return True
        if conf.RATE_LIMIT_MODE == "shadow":
            logger.warning("The rate limit %s would have refused the request.", decision.refused[0].policy.name)
            return True
        raise RateLimited(decision)

    def limited(self, request: Request, view: APIView) -> Iterator[Limited]:
        rates: dict[str, Any] = api_settings.DEFAULT_THROTTLE_RATES or {}
        scopes = (contract_of(view).get("throttle"), getattr(view, "throttle_scope", None))
        names = [name for scope in scopes if scope for name in ([scope] if isinstance(scope, str) else scope)]
        for name in dict.fromkeys([*conf.RATE_LIMIT_DEFAULT, *names]):
            policy = find_policy(name, conf.RATE_LIMITS, rates)
            if policy is None:
                continue
            limit = policy.limit(request) if callable(policy.limit) else policy.limit
            subject = policy.subject(request) if limit is not None else None
            if limit is not None and subject is not None:
                yield Limited(policy, limit, subject)
