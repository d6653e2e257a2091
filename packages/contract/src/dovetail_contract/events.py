"""The domain events of this package (see ``dovetail_core.events``).

==========================  ===========================================================================================
name                        data
==========================  ===========================================================================================
deprecated_operation.used   ``operation``: method and route, ``"GET /api/v1/orders/<pk>"``; ``principal_kind``:
                            ``user``, ``api_key`` or ``nobody``; ``key_prefix``: the public prefix of the API key, or
                            None. Emitted once per request, after its response, except for 410. Has no target
==========================  ===========================================================================================

``operation`` has the route and not the path, so that the project's URLconf bounds the number of its values.
"""

from __future__ import annotations

import logging
from typing import Final

from django.http import HttpRequest

from dovetail_contract.correlation import caller
from dovetail_core import events

logger = logging.getLogger("dovetail.deprecation")

DEPRECATED_OPERATION_USED: Final = "deprecated_operation.used"


def emit_deprecated_operation_used(request: HttpRequest) -> None:
    """Emit the event after the response. An exception in a receiver is logged and does not fail the request."""
    match = request.resolver_match
    if match is None:
        return  # without a route, a client could invent any number of operations
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
