"""Ask a function of the view or of the project for the outcome of unfinished external work.

``contract = {"external": True, "recover": "shop.payments.recover"}``, or ``CONTRACT_IDEMPOTENCY_RECOVER``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

from django.http.response import HttpResponseBase
from django.utils.module_loading import import_string
from rest_framework.request import Request

from dovetail_contract.base import AbstractIdempotencyRecord
from dovetail_contract.conf import conf


class Outcome(Enum):
    """An outcome without a response. ``NOT_DONE``: the view runs. ``UNKNOWN``: 409, and the next request asks again."""

    NOT_DONE = "not_done"
    UNKNOWN = "unknown"


#: Takes the repeated request and the record of the key; returns the response to send, or an ``Outcome``.
Recover = Callable[[Request, AbstractIdempotencyRecord], HttpResponseBase | Outcome]


def find_function(contract: Mapping[str, Any]) -> Recover | None:
    """Return the view's function, else the project's. Raise ``ImportError`` for a dotted path that does not exist."""
    own = contract.get("recover")
    function: Recover | None = import_string(own) if isinstance(own, str) else own or conf.IDEMPOTENCY_RECOVER
    return function


def find_outcome(
    contract: Mapping[str, Any], request: Request, record: AbstractIdempotencyRecord
) -> HttpResponseBase | Outcome:
    """Call the function. Raise ``TypeError`` for a result that is neither a response nor an ``Outcome``."""
    recover = find_function(contract)
    outcome: object = Outcome.UNKNOWN if recover is None else recover(request, record)
    if not isinstance(outcome, HttpResponseBase | Outcome):
        raise TypeError(f"{recover!r} returned {outcome!r}, not an HTTP response, Outcome.NOT_DONE or Outcome.UNKNOWN.")
    return outcome
