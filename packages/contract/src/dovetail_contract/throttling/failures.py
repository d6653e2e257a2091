"""Limits before authentication: floods from one address, and failed authentications.

REST framework throttles after authentication and permissions, so it never throttles a client that guesses credentials.
"""

from __future__ import annotations

import time
from functools import lru_cache
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from dovetail_contract.conf import conf
from dovetail_contract.problems.builder import problem
from dovetail_contract.problems.outages import RETRY_AFTER
from dovetail_contract.throttling.limiter import Decision, Limited, limiter
from dovetail_contract.throttling.policies import Policy, address, make
from dovetail_contract.throttling.throttle import DECISION, RateLimited

# Networks with a failed authentication, and until when they are remembered. Only their requests are checked in advance:
# a client without a failure costs nothing.
_suspects: dict[str, float] = {}
_MAX_SUSPECTS = 100_000


def asks_before() -> bool:
    """Whether :func:`before` may read counts, which needs a thread under ASGI. For most requests it does not."""
    return bool(conf.RATE_LIMIT_FLOOD or _suspects)


def asks_after(response: HttpResponseBase) -> bool:
    """The same for :func:`after`."""
    return _has_failed(response) and _failures() is not None


def before(request: HttpRequest) -> HttpResponseBase | None:
    """The refusal of a request, or None if it may go on."""
    for limited, charge in list(_address_limits(request)):
        decision = limiter().decide([limited], charge=charge)
        if decision.unavailable or decision.refused:
            return _refusal(decision)
    return None


def after(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    """``response`` with rate limit headers; or a refusal, if the address has failed too often."""
    policy = _failures() if _has_failed(response) else None
    if policy is not None:
        limited = Limited(policy, int(policy.limit), address(request))  # type: ignore[arg-type]  # a rate's is a number
        _remember(limited.subject, policy.window)
        decision = limiter().decide([limited])
        if decision.refused:
            # Charged after authentication, but many guesses may run at once: those above the limit get no result.
            response = _refusal(decision)
            setattr(request, DECISION, decision)
    headers: Decision | None = getattr(request, DECISION, None)
    if headers is not None:
        for name, value in headers.headers().items():
            response.headers[name] = value
    return response


def forget() -> None:
    """For tests: reset the failures."""
    _suspects.clear()


def _address_limits(request: HttpRequest) -> Any:
    if conf.RATE_LIMIT_FLOOD:
        flood = _by_address("address", conf.RATE_LIMIT_FLOOD)
        yield Limited(flood, int(flood.limit), address(request)), True  # type: ignore[arg-type]  # a rate's is a number
    policy = _failures()
    if policy is None or not _suspects:
        return
    subject = address(request)
    if _suspects.get(subject, 0) > time.monotonic():
        yield Limited(policy, int(policy.limit), subject), False  # type: ignore[arg-type]  # as above


def _failures() -> Policy | None:
    rate = conf.RATE_LIMIT_FAILURES
    return _by_address("failures", rate) if rate else None


@lru_cache(maxsize=16)
def _by_address(name: str, rate: str) -> Policy:
    return make(name, {"rate": rate, "by": "address"})


def _has_failed(response: HttpResponseBase) -> bool:
    if response.status_code == 401:
        return True
    # REST framework answers 403 if the first authentication class has no WWW-Authenticate.
    data = getattr(response, "data", None)
    return response.status_code == 403 and isinstance(data, dict) and data.get("code") == "authentication_failed"


def _remember(subject: str, window: int) -> None:
    if len(_suspects) >= _MAX_SUSPECTS:
        now = time.monotonic()
        for each in [each for each, until in _suspects.items() if until <= now] or list(_suspects)[
            : _MAX_SUSPECTS // 2
        ]:
            _suspects.pop(each, None)
    _suspects[subject] = time.monotonic() + window


def _refusal(decision: Decision) -> HttpResponseBase:
    if decision.unavailable:
        return problem(503, headers={"Retry-After": str(RETRY_AFTER)})
    refused = RateLimited(decision)
    wait = str(decision.retry_after)
    return problem(
        429,
        detail=refused.detail,
        headers={"Retry-After": wait, **decision.headers()},
        extensions={"retry_after": int(wait), **refused.extensions},
    )
