"""What became of work outside of the database whose process died, or failed on the way: its view is asked.

``contract = {"external": True, "recover": "shop.payments.recover"}``, or ``CONTRACT_IDEMPOTENCY_RECOVER`` for all.
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
    """What an answer is not given for. ``NOT_DONE``: the work is done now; ``UNKNOWN``: 409, and asked again later."""

    NOT_DONE = "not_done"
    UNKNOWN = "unknown"


#: Takes the request that came again and the record of the key; answers with the answer to give, or an ``Outcome``.
Recover = Callable[[Request, AbstractIdempotencyRecord], HttpResponseBase | Outcome]


def declared(contract: Mapping[str, Any]) -> Recover | None:
    """The view's own, else the project's. Raises ``ImportError`` for a path that leads nowhere."""
    own = contract.get("recover")
    found: Recover | None = import_string(own) if isinstance(own, str) else own or conf.IDEMPOTENCY_RECOVER
    return found


def ask(recover: Recover, request: Request, record: AbstractIdempotencyRecord) -> HttpResponseBase | Outcome:
    """Raises ``TypeError`` for what is neither an answer nor an ``Outcome``: nothing is done on a misunderstanding."""
    told: Any = recover(request, record)
    if not isinstance(told, HttpResponseBase | Outcome):
        raise TypeError(
            f"{recover!r} answered {told!r}; it takes an HTTP response, Outcome.NOT_DONE or Outcome.UNKNOWN."
        )
    return told
