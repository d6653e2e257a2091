"""``notify.v1``, the protocol between a socket and its server. Each frame is a JSON object with a ``type``.

The client opens ``/ws/notifications/`` with the subprotocol ``notify.v1`` and its credential: a ticket as a second
subprotocol (``new WebSocket(url, ["notify.v1", "ticket." + ticket])``), an ``Authorization`` header, or the session's
cookie together with an allowed ``Origin``. Nothing is read from the query string, which ends up in logs.

From the server:

================  ====================================================================================================
``hello``         ``cursor``, ``unread``, ``capped``, ``expires_in`` (seconds, or null): the first frame
``notification``  ``cursor``, ``data``: a new notification, as the list shows it. It may arrive twice or out of order:
                  distinguish notifications by ``data.id``
``state``         ``unread``, ``capped``, and of the changed notifications ``ids`` or ``upto``, with ``read_at``,
                  ``seen_at`` or ``archived_at``, or ``removed``: another tab or the API has changed them
``resumed``       ``replayed``, ``cursor``, ``unread``, ``capped``: everything missed has been sent
``resync``        more was missed than is queued or replayed: read the list again
``expiring``      ``expires_in``: the credential expires; send ``auth`` with a new ticket, or be closed with 4408
``authenticated`` ``expires_in``: the ticket was accepted
``ping``          a heartbeat every 30 seconds; needs no answer
``pong``          the answer to a ``ping``
``error``         ``detail``: the type of a frame is unknown
================  ====================================================================================================

From the client, at most 4 KiB each and 20 in 10 seconds:

================  ====================================================================================================
``resume``        ``cursor``: the last one received. Answered by the missed frames and ``resumed``, or by ``resync``
``auth``          ``ticket``: a new ticket of the same user for the same organization
``ping``          answered by ``pong``
``pong``          ignored
================  ====================================================================================================

A refused socket is accepted first and then closed, because for a socket that was never accepted, browsers report only
the code 1006. The close codes, with their reasons:

====  ================================================================================================================
1009  ``too_big``: a frame of more than 4 KiB
4400  ``malformed``: a frame that is not a JSON object
4401  ``unauthenticated``: no credential, or one that is unknown, used or expired
4403  ``origin``: a cookie from another site; ``session_revoked``: signed out, or the session or key was revoked;
      ``account_inactive``; ``membership_removed``; ``other_account``: a new ticket of another user
4406  ``protocol``: ``notify.v1`` was not offered
4408  ``expired``: the credential has expired
4429  ``too_many_sockets`` of one user, or ``too_many_frames``
4500  ``unavailable``: the database cannot be reached; try again
====  ================================================================================================================
"""

from __future__ import annotations

import json
from typing import Any, Final

PROTOCOL: Final = "notify.v1"
TICKET_PREFIX: Final = "ticket."

TOO_BIG: Final = 1009
MALFORMED: Final = 4400
UNAUTHENTICATED: Final = 4401
FORBIDDEN: Final = 4403
NO_PROTOCOL: Final = 4406
EXPIRED: Final = 4408
TOO_MANY: Final = 4429
UNAVAILABLE: Final = 4500

HEARTBEAT_SECONDS: Final = 30
EXPIRING_SECONDS: Final = 60
FRAME_BYTES: Final = 4096
FRAMES: Final = 20
FRAMES_SECONDS: Final = 10


class Refused(Exception):
    """The socket must be closed with this code and reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}")
        self.code = code
        self.reason = reason


def frame(kind: str, **content: Any) -> str:
    from rest_framework.utils.encoders import JSONEncoder

    return json.dumps({"type": kind, **content}, cls=JSONEncoder, ensure_ascii=False, separators=(",", ":"))
