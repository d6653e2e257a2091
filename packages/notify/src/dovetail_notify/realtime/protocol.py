"""``notify.v1``, the protocol between a socket and its server. Each frame is a JSON object with a ``type``.

The client opens ``/ws/notifications/`` with the subprotocol ``notify.v1`` and its credential: a ticket as a second
subprotocol (``new WebSocket(url, ["notify.v1", "ticket." + ticket])``), an ``Authorization`` header, or a session
cookie with an allowed ``Origin``. The query string is ignored, because URLs end up in logs.

From the server:

================  ====================================================================================================
``hello``         ``cursor``, ``unread``, ``capped``, ``expires_in`` (seconds, or null): the first frame
``notification``  ``cursor``, ``data``: a new notification, in the same form as in the list. It may arrive twice or out
                  of order: distinguish notifications by ``data.id``
``state``         Another tab or the API changed notifications: ``ids`` or ``upto``, the new ``read_at``, ``seen_at`` or
                  ``archived_at``, or ``removed``; and the new ``unread`` and ``capped``
``hint``          ``kind``: something outside the inbox has changed, read it again. Ignore unknown kinds. Equal hints
                  within a tenth of a second are one frame. A hint may be lost: also read again after ``hello``,
                  ``resumed`` and ``resync``
``resumed``       ``cursor``, ``unread``, ``capped``, ``replayed``: all missed frames have been sent
``resync``        Too many frames were missed or are waiting: read the list again
``expiring``      ``expires_in``: the credential expires soon. Send ``auth`` with a new ticket, or be closed with 4408
``authenticated`` ``expires_in``: the ticket was accepted
``ping``          A heartbeat every 30 seconds. It needs no answer
``pong``          The answer to a ``ping``
``error``         ``detail``: why a frame was ignored
================  ====================================================================================================

From the client, at most 4 KiB each and 20 in 10 seconds:

================  ====================================================================================================
``resume``        ``cursor``: the last one received. The answer is the missed frames and ``resumed``, or ``resync``
``auth``          ``ticket``: a new ticket of the same user for the same organization
``ping``          The answer is ``pong``
``pong``          Ignored
================  ====================================================================================================

The server accepts a socket before it refuses it: if a socket was never accepted, browsers only report the code 1006.
Close codes and their reasons:

====  ================================================================================================================
1009  ``too_big``: a frame of more than 4 KiB
4400  ``malformed``: a frame that is not a JSON object
4401  ``unauthenticated``: no credential, or one that is unknown, used or expired
4403  ``origin``: a cookie from another site; ``session_revoked``: the user signed out, or the session or key was
      revoked; ``account_inactive``; ``membership_removed``; ``other_account``: the new ticket is for another user or
      organization
4406  ``protocol``: the client did not offer ``notify.v1``
4408  ``expired``: the credential has expired
4429  ``too_many_sockets`` of one user, or ``too_many_frames``
4500  ``unavailable``: the server cannot reach its database; try again
====  ================================================================================================================
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from rest_framework.utils.encoders import JSONEncoder

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


def frame(kind: str, /, **content: object) -> str:
    return encode({"type": kind, **content})


def encode(content: Mapping[str, object]) -> str:
    return json.dumps(content, cls=JSONEncoder, ensure_ascii=False, separators=(",", ":"))
