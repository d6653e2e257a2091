"""Policies: the limit, its window, and whose requests count together."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.http import HttpRequest

from dovetail_core import context
from dovetail_core.conf import conf as core
from dovetail_core.net import client_network

BY = ("anonymous", "user", "caller", "address", "organization")
ON_ERROR = ("allow", "deny", "local")
_PERIODS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True, slots=True)
class Policy:
    """``limit`` requests in ``window`` seconds; at most ``burst`` of them (default: all) at once.

    ``limit`` may be a function of the request, for limits by plan; None is no limit. ``by`` says whose requests count
    together: ``"user"`` (signed-in users only), ``"anonymous"`` (other requests only, by address), ``"caller"``
    (either), ``"address"``, ``"organization"``, or a function ``(request) -> str or None``, where None is not limited.
    ``cost`` is the weight of one request. ``on_error`` overrides ``CONTRACT_RATE_LIMIT_ON_ERROR``. Clients see
    the name.
    """

    name: str
    limit: int | Callable[[Any], int | None]
    window: int
    burst: int = 0
    by: str | Callable[[Any], str | None] = "caller"
    cost: int = 1
    on_error: str = ""

    def subject(self, request: Any) -> str | None:
        """The subject whose count the request increases; None if the policy does not apply to it."""
        if callable(self.by):
            return self.by(request)
        user = getattr(request, "user", None) if self.by != "address" else None
        signed_in = bool(getattr(user, "is_authenticated", False))
        if self.by == "organization":
            organization = context.organization_id()
            return None if organization is None else f"organization:{organization}"
        if self.by in ("user", "caller") and signed_in:
            return f"user:{getattr(getattr(user, '_meta', None), 'label_lower', '')}:{getattr(user, 'pk', user)}"
        if self.by == "user" or (self.by == "anonymous" and signed_in):
            return None
        return address(request)


def address(request: Any) -> str:
    """The client's network. ``X-Forwarded-For`` counts from trusted proxies only, as clients can forge it."""
    plain: HttpRequest = getattr(request, "_request", request)
    meta = plain.META
    return _address(meta.get("REMOTE_ADDR", ""), meta.get("HTTP_X_FORWARDED_FOR", ""), tuple(core.TRUSTED_PROXIES))


@lru_cache(maxsize=4096)
def _address(remote: str, forwarded_for: str, proxies: tuple[str, ...]) -> str:
    # Cached, because clients return: parsing an address costs more than counting the request.
    request = HttpRequest()
    request.META = {"REMOTE_ADDR": remote, "HTTP_X_FORWARDED_FOR": forwarded_for}
    return f"address:{client_network(request) or 'local'}"


@lru_cache(maxsize=512)
def parse_rate(rate: str) -> tuple[int, int]:
    """``(600, 60)`` for ``"600/min"``, as REST framework writes rates. Raises ``ValueError``."""
    matched = re.fullmatch(r"([1-9][0-9]{0,8})/([smhd])[a-z]*", rate)
    if matched is None:
        raise ValueError(f"{rate!r} is no rate; write a number and a period: '600/min' (s, m, h or d).")
    return int(matched[1]), _PERIODS[matched[2]]


_BY_NAME = {"anon": "anonymous", "user": "user"}


def make(name: str, declared: Any) -> Policy:
    """A policy from a rate, or from a mapping of its fields (``rate`` for ``limit`` and ``window``), or a ``Policy``.

    Raises ``ValueError`` with a message about the mistake.
    """
    if isinstance(declared, Policy):
        return declared
    fields = {"rate": declared} if isinstance(declared, str) else dict(declared)
    if "rate" in fields:
        fields["limit"], fields["window"] = parse_rate(str(fields.pop("rate")))
    if unknown := set(fields) - {"limit", "window", "burst", "by", "cost", "on_error"}:
        raise ValueError(f"{name} has no field {', '.join(sorted(unknown))}.")
    policy = Policy(name=name, **{"by": _BY_NAME.get(name, "caller"), **fields})
    return _valid(policy)


def _valid(policy: Policy) -> Policy:
    name = policy.name
    for field in ("limit", "window"):
        value = getattr(policy, field)
        if not callable(value) and (not isinstance(value, int) or value < 1):
            raise ValueError(f"{name} has a {field} of {value!r}; it takes a whole number of at least 1.")
    if not callable(policy.by) and policy.by not in BY:
        raise ValueError(f"{name} counts by {policy.by!r}; it takes a function or one of {', '.join(BY)}.")
    if policy.on_error not in ("", *ON_ERROR):
        raise ValueError(f"{name} has on_error {policy.on_error!r}; it takes one of {', '.join(ON_ERROR)}.")
    return policy


def named(name: str, declared: Mapping[str, Any], rates: Mapping[str, Any]) -> Policy | None:
    """The policy in ``CONTRACT_RATE_LIMITS``, else in ``DEFAULT_THROTTLE_RATES``; None if neither has the name."""
    if name in declared:
        return _made(name, declared[name])
    rate = rates.get(name)
    return None if rate is None else _from_rate(name, rate)


@lru_cache(maxsize=512)
def _from_rate(name: str, rate: str) -> Policy:
    return make(name, rate)


def _made(name: str, declared: Any) -> Policy:
    if isinstance(declared, str):
        return _from_rate(name, declared)
    if isinstance(declared, Policy):
        return declared
    try:
        return _from_fields(name, tuple(declared.items()))
    except TypeError:  # a project's function without a hash
        return make(name, declared)


@lru_cache(maxsize=512)
def _from_fields(name: str, fields: tuple[tuple[str, Any], ...]) -> Policy:
    return make(name, dict(fields))
