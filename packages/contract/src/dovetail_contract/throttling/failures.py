"""Limits before authentication: floods from one address, and failed authentications.

REST framework throttles after authentication and permissions, so it never throttles a client that guesses credentials.
"""

from __future__ import annotations

import re
import time
from functools import lru_cache

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from dovetail_contract.conf import conf
from dovetail_contract.problems.builder import problem
from dovetail_contract.problems.handlers import RETRY_AFTER, from_api_exception
from dovetail_contract.throttling.limiter import Decision, Limited, limiter
from dovetail_contract.throttling.policies import Policy, address, make_policy
from dovetail_contract.throttling.throttle import DECISION, RateLimited
from dovetail_core.conf import conf as core
from dovetail_core.net import environ_name

# Networks with a failed authentication, and when each entry expires. Only requests from these networks are checked
# before authentication, so clients without a failure cost nothing.
_suspects: dict[str, float] = {}
_MAX_SUSPECTS = 100_000

# Headers that browsers, their tracing libraries and proxies add to requests. X-Forwarded-* is no prefix here, because
# X-Forwarded-Access-Token is a credential, and neither is Sec-*, because Sec-WebSocket-Protocol may contain one.
_ORDINARY_HEADERS = re.compile(
    r"HTTP_(ACCEPT.*|ACCESS_CONTROL_REQUEST_.*|CACHE_CONTROL|CONNECTION|CONTENT_.*|COOKIE|DNT|HOST|IF_.*|KEEP_ALIVE|ORIGIN"
    r"|PRAGMA|PRIORITY|RANGE|REFERER|SAVE_DATA|SEC_(CH|FETCH)_.*|SEC_GPC|SEC_PURPOSE|TE|UPGRADE_INSECURE_REQUESTS|USER_AGENT"
    r"|X_REQUESTED_WITH|BAGGAGE|SENTRY_TRACE|TRACEPARENT|TRACESTATE|X_AMZN_TRACE_ID|X_CLOUD_TRACE_CONTEXT|X_REQUEST_ID"
    r"|CDN_LOOP|CF_(CONNECTING_IP|IPCOUNTRY|RAY|VISITOR)|FORWARDED|VIA|X_REAL_IP|X_REQUEST_START|X_SCHEME"
    r"|X_FORWARDED_(BY|FOR|HOST|PORT|PREFIX|PROTO|PROTOCOL|SCHEME|SERVER|SSL))"
)


def request_needs_store() -> bool:
    """Return whether :func:`check_request` may read counts, which needs a thread under ASGI."""
    return bool(conf.RATE_LIMIT_FLOOD or _suspects)


def response_needs_store(request: HttpRequest, response: HttpResponseBase) -> bool:
    return _has_failed(request, response) and _failures() is not None


def check_request(request: HttpRequest) -> HttpResponseBase | None:
    """Return a refusal, or None if the request may proceed."""
    limits: list[tuple[Limited, bool]] = []
    if conf.RATE_LIMIT_FLOOD:
        limits.append((_limited(_by_address("address", conf.RATE_LIMIT_FLOOD), address(request)), True))
    policy = _failures()
    if policy is not None and _suspects:
        subject = address(request)
        if _suspects.get(subject, 0) > time.monotonic():
            limits.append((_limited(policy, subject), False))
    for limited, charge in limits:
        decision = limiter().decide([limited], charge=charge)
        if decision.unavailable or decision.refused:
            return _refusal(decision)
    return None


def check_response(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    """Return ``response`` with rate limit headers, or a refusal if its network failed too often."""
    policy = _failures() if _has_failed(request, response) else None
    if policy is not None:
        subject = address(request)
        _remember(subject, policy.window)
        decision = limiter().decide([_limited(policy, subject)])
        if decision.refused:
            # Many guesses may run at once. Those above the limit must not learn whether they were right.
            response = _refusal(decision)
            setattr(request, DECISION, decision)
    headers: Decision | None = getattr(request, DECISION, None)
    if headers is not None:
        for name, value in headers.headers().items():
            response.headers[name] = value
    return response


def reset() -> None:
    """Reset the failures, for tests."""
    _suspects.clear()


def _limited(policy: Policy, subject: str) -> Limited:
    return Limited(policy, int(policy.limit), subject)  # type: ignore[arg-type]  # the limit of a rate is a number


def _failures() -> Policy | None:
    rate = conf.RATE_LIMIT_FAILURES
    return _by_address("failures", rate) if rate else None


@lru_cache(maxsize=16)
def _by_address(name: str, rate: str) -> Policy:
    return make_policy(name, {"rate": rate, "by": "address"})


def _has_failed(request: HttpRequest, response: HttpResponseBase) -> bool:
    if response.status_code not in {401, 403}:
        return False
    data = getattr(response, "data", None)
    code = data.get("code", getattr(data.get("detail"), "code", None)) if isinstance(data, dict) else None
    if response.status_code == 403:
        # REST framework answers 403 if the first authentication class has no WWW-Authenticate.
        return code == "authentication_failed"
    if request.method not in {"GET", "HEAD", "OPTIONS"} or "HTTP_AUTHORIZATION" in request.META:
        return True
    if code == "not_authenticated":
        # A page polls its lists after its session expired. A class that rejects a credential raises another exception.
        return False
    # A page asks again and again whether somebody is signed in, and guesses nothing.
    return isinstance(code, str) or _may_have_credential(request)


def _may_have_credential(request: HttpRequest) -> bool:
    """Return whether a view may read a credential from the query, the body or a header other than a cookie.

    The attack: a client guesses values of ``?token=`` or ``X-API-Key``, for a view or an exception handler of the
    project whose 401 has no code. So every unknown header counts.
    """
    meta = request.META
    if meta.get("QUERY_STRING") or meta.get("CONTENT_LENGTH") not in {None, "", "0"}:
        return True
    others = {settings.CSRF_HEADER_NAME, environ_name(core.CLIENT_ADDRESS_HEADER)}
    names = (name for name in meta if name.startswith("HTTP_") and name not in others)
    return not all(_ORDINARY_HEADERS.fullmatch(name) for name in names)


def _remember(subject: str, window: int) -> None:
    if len(_suspects) >= _MAX_SUSPECTS:
        now = time.monotonic()
        expired = [network for network, until in _suspects.items() if until <= now]
        for network in expired or list(_suspects)[: _MAX_SUSPECTS // 2]:
            _suspects.pop(network, None)
    _suspects[subject] = time.monotonic() + window


def _refusal(decision: Decision) -> HttpResponseBase:
    if decision.unavailable:
        return problem(503, headers={"Retry-After": str(RETRY_AFTER)})
    response = from_api_exception(RateLimited(decision))
    for name, value in decision.headers().items():
        response.headers[name] = value
    return response
