"""Policies: the limit, its window, and which requests are counted together."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.http import HttpRequest
from rest_framework.request import Request

from dovetail_core import context
from dovetail_core.net import client_network

BY = ("anonymous", "user", "caller", "address", "organization")
ON_ERROR = ("allow", "deny", "local")
_PERIODS = {"s": 1, "m": 60, "h": 3600, "d": 86400}

AnyRequest = HttpRequest | Request


@dataclass(frozen=True, slots=True)
class Policy:
    """``limit`` requests in ``window`` seconds; at most ``burst`` of them (default: all) at once.

    ``limit`` may be a function of the request, for limits by plan; None means no limit. ``by`` selects the requests
    that are counted together: ``"user"`` (signed-in users only), ``"anonymous"`` (other requests only, by address),
    ``"caller"`` (either), ``"address"``, ``"organization"``, or a function ``(request) -> str or None``, where None
    means no limit. ``cost`` is the weight of one request. ``on_error`` overrides ``CONTRACT_RATE_LIMIT_ON_ERROR``.
    Response headers contain the name.
    """

    name: str
    limit: int | Callable[[AnyRequest], int | None]
    window: int
    burst: int = 0
    by: str | Callable[[AnyRequest], str | None] = "caller"
    cost: int = 1
    on_error: str = ""

    def subject(self, request: AnyRequest) -> str | None:
        """Return the subject whose count the request increases. None if the policy does not apply."""
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


def address(request: AnyRequest) -> str:
    """Return the client's network. Only trusted proxies may name it, because clients can forge headers."""
    plain: HttpRequest = getattr(request, "_request", request)
    return f"address:{client_network(plain) or 'local'}"


@lru_cache(maxsize=512)
def parse_rate(rate: str) -> tuple[int, int]:
    """Return ``(600, 60)`` for ``"600/min"``, in REST framework's notation. Raise ``ValueError``."""
    matched = re.fullmatch(r"([1-9][0-9]{0,8})/([smhd])[a-z]*", rate)
    if matched is None:
        raise ValueError(f"{rate!r} is not a rate; use a number and a period (s, m, h or d), such as '600/min'.")
    return int(matched[1]), _PERIODS[matched[2]]


_BY_NAME = {"anon": "anonymous", "user": "user"}

#: A rate, a mapping of a policy's fields, or a policy.
Declaration = str | Mapping[str, Any] | Policy


def make_policy(name: str, declared: Declaration) -> Policy:
    """Return a policy from a rate, a mapping of its fields (``rate`` sets ``limit`` and ``window``), or a ``Policy``.

    Raise ``ValueError`` for an invalid declaration.
    """
    if isinstance(declared, Policy):
        return declared
    fields: dict[str, Any] = {"rate": declared} if isinstance(declared, str) else dict(declared)
    if "rate" in fields:
        fields["limit"], fields["window"] = parse_rate(str(fields.pop("rate")))
    if unknown := set(fields) - {"limit", "window", "burst", "by", "cost", "on_error"}:
        raise ValueError(f"{name} has unknown fields: {', '.join(sorted(unknown))}.")
    policy = Policy(name=name, **{"by": _BY_NAME.get(name, "caller"), **fields})
    for field in ("limit", "window"):
        value = getattr(policy, field)
        if not callable(value) and (not isinstance(value, int) or value < 1):
            raise ValueError(f"The {field} of {name} is {value!r}; it must be a whole number of at least 1.")
    if not callable(policy.by) and policy.by not in BY:
        raise ValueError(f"'by' of {name} is {policy.by!r}; it must be a function or one of {', '.join(BY)}.")
    if policy.on_error not in ("", *ON_ERROR):
        raise ValueError(f"'on_error' of {name} is {policy.on_error!r}; it must be one of {', '.join(ON_ERROR)}.")
    return policy


def find_policy(
    name: str, declared: Mapping[str, Declaration], rates: Mapping[str, Declaration | None]
) -> Policy | None:
    """Return the policy from ``CONTRACT_RATE_LIMITS`` (``declared``), else from ``rates``. None if neither has it."""
    declaration = declared[name] if name in declared else rates.get(name)
    if declaration is None or isinstance(declaration, Policy):
        return declaration
    try:
        return _cached(name, declaration if isinstance(declaration, str) else tuple(declaration.items()))
    except TypeError:  # a value of the project is not hashable
        return make_policy(name, declaration)


@lru_cache(maxsize=512)
def _cached(name: str, declared: str | tuple[tuple[str, Any], ...]) -> Policy:
    return make_policy(name, declared if isinstance(declared, str) else dict(declared))
