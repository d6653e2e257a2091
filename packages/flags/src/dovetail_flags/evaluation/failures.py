from __future__ import annotations

import logging
from time import monotonic
from typing import Any, Final

from django.core.exceptions import SynchronousOnlyOperation

from dovetail_flags.types.details import Details, ErrorCode, failure

logger = logging.getLogger("dovetail.flags")

LOG_INTERVAL: Final = 60.0
_IN_EVENT_LOOP: Final = (
    "The context of the request needs a query, which an event loop cannot make. Await flags.aenabled(), avalue() or "
    "adetails(). Before sync calls and templates, await request.flags.aload()."
)


class Failures:
    """Logs the failures of evaluations, at most once a minute.

    A provider that fails in each evaluation once wrote 450 000 lines in 20 seconds.
    """

    def __init__(self) -> None:
        self.next_log = 0.0

    def details(self, default: Any, error: Exception) -> Details:
        """Log the failure of an evaluation, and return its details with the default."""
        if isinstance(error, SynchronousOnlyOperation):
            error = SynchronousOnlyOperation(_IN_EVENT_LOOP)
        if monotonic() >= self.next_log:
            self.next_log = monotonic() + LOG_INTERVAL
            logger.error("The evaluation of flags failed: %s", error, exc_info=error)
        return failure(default, ErrorCode.GENERAL, f"{type(error).__name__}: {error}")
