"""Who still uses what is deprecated: counted in the process, and handed on in one call for many requests.

``CONTRACT_DEPRECATED_USAGE`` names who takes the counts: a function of a list of :class:`Usage`. It is called in the
thread of a request, after its answer is made; what it raises is logged, and those counts are lost.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache

from django.http import HttpRequest

from dovetail_contract.conf import conf
from dovetail_contract.correlation import caller

logger = logging.getLogger("dovetail.deprecation")

# Operations times callers; beyond it the counts are handed on before their time.
_MOST = 10_000


@dataclass(frozen=True, slots=True)
class Usage:
    """``count`` requests for one deprecated operation (``"GET /api/v1/orders/<pk>"``) by callers of one kind.

    ``principal_kind`` is ``user``, ``api_key`` or ``nobody``; ``api_key`` the public prefix of the key. Persons are
    not told apart. All texts are bounded by what the project's own routes and rows have.
    """

    operation: str
    organization_id: str | None
    principal_kind: str
    api_key: str | None
    count: int = 0


_lock = threading.Lock()
_counts: Counter[Usage] = Counter()
_handed_on = [0.0]


def count(request: HttpRequest) -> bool:
    """Count a request that has been answered. Whether :func:`hand_on` is due: the first use is told at once."""
    match = request.resolver_match
    if match is None or conf.DEPRECATED_USAGE is None:
        return False
    by = caller(request)
    usage = Usage(f"{request.method} /{match.route}", by.organization_id, by.kind, by.api_key)
    _hand_on_at_exit()
    with _lock:
        _counts[usage] += 1
        last = _handed_on[0]
        return not last or time.monotonic() - last >= conf.DEPRECATED_USAGE_SECONDS or len(_counts) >= _MOST


def hand_on() -> None:
    """Give what was counted since the last time to ``CONTRACT_DEPRECATED_USAGE``."""
    with _lock:
        taken = [replace(usage, count=number) for usage, number in _counts.items()]
        _counts.clear()
        _handed_on[0] = time.monotonic()
    take = conf.DEPRECATED_USAGE
    if not taken or take is None:
        return
    try:
        take(taken)
    except Exception:
        # The request that happened to bring them is none of it.
        logger.exception("CONTRACT_DEPRECATED_USAGE failed")


def log(usages: Sequence[Usage]) -> None:
    """The default: one line for each, at INFO, on the logger ``dovetail.deprecation``."""
    for usage in usages:
        # In one member: beside it stands who sent the request that happened to bring the line.
        logger.info(
            "%s is deprecated, and was used %d times", usage.operation, usage.count, extra={"usage": asdict(usage)}
        )


def forget() -> None:
    """For tests: nothing was counted, and nothing handed on."""
    with _lock:
        _counts.clear()
        _handed_on[0] = 0.0


@cache
def _hand_on_at_exit() -> None:
    atexit.register(hand_on)
