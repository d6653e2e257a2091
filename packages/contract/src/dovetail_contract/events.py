"""The domain events of this package (see ``dovetail_core.events``).

==========================  ===========================================================================================
name                        data
==========================  ===========================================================================================
deprecated_operation.used   ``operation``: method and route, ``"GET /api/v1/orders/<pk>"``; ``principal_kind``:
                            ``user``, ``api_key`` or ``nobody``; ``key_prefix``: the public prefix of the API key, or
                            None. Once per request, after its response; not for 410. There is no target
==========================  ===========================================================================================

``operation`` has the route and not the path, so that its values are bounded by the project's URLconf.
"""

from __future__ import annotations

import logging
from typing import Final

from django.http import HttpRequest

from dovetail_contract.correlation.callers import caller
from dovetail_core import events

logger = logging.getLogger("dovetail.deprecation")

DEPRECATED_OPERATION_USED: Final = "deprecated_operation.used"


def emit_deprecated_operation_used(request: HttpRequest) -> None:
    """Emit the event after the response. An error of a receiver is logged, and does not fail the request."""
    match = request.resolver_match
    if match is None:
        return  # no route serves the path, and a client could invent any number of paths
    sender = caller(request)
    data = {
        "operation": f"{request.method} /{match.route}",
        "principal_kind": sender.kind,
        "key_prefix": sender.api_key,
    }
    try:
        events.emit(DEPRECATED_OPERATION_USED, organization_id=sender.organization_id, data=data)
    except Exception:
        logger.exception("A receiver of %s failed.", DEPRECATED_OPERATION_USED)
