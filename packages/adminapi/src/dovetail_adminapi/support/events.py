"""The domain events of support access (see ``dovetail_core.events``). The target is the access.

========================  ===========================================================================================
name                      emitted if
========================  ===========================================================================================
support_access.requested  an administrator asks for access to an account
support_access.approved   the customer approves the request
support_access.started    the access starts, and its token is issued
support_access.used       a request with its token is accepted; the actor is the user
support_access.denied     a request with its token is refused; the actor is the user
support_access.ended      the access is ended, or the request is declined or withdrawn, but not if the time is over
========================  ===========================================================================================

``impersonator_id`` in the data of ``used`` and ``denied`` is the key of the administrator.
"""

from __future__ import annotations

from typing import Final

SUPPORT_ACCESS_REQUESTED: Final = "support_access.requested"
SUPPORT_ACCESS_APPROVED: Final = "support_access.approved"
SUPPORT_ACCESS_STARTED: Final = "support_access.started"
SUPPORT_ACCESS_USED: Final = "support_access.used"
SUPPORT_ACCESS_DENIED: Final = "support_access.denied"
SUPPORT_ACCESS_ENDED: Final = "support_access.ended"
