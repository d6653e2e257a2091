"""``notify.v1``, what a socket and its server say to each other. Each frame is a JSON object with a ``type``.

The client opens ``/ws/notifications/`` with the subprotocol ``notify.v1`` and its credential: a ticket as a second
subprotocol (``new WebSocket(url, ["notify.v1", "ticket." + ticket])``), an ``Authorization`` header, or the session's
cookie together with an allowed ``Origin``. Nothing is read from the query string, which ends up in logs.

From the server:

================  ====================================================================================================
``hello``         ``cursor``, ``unread``, ``capped``, ``expires_in`` (seconds, or null): what comes from now on comes
                  by itself
``notification``  ``cursor``, ``data``: a new one, as the list shows it. It may come twice, and a later one may come
                  first: tell them by ``data.id``
``state``         ``unread``, ``capped``, and of what changed ``ids`` or ``upto``, with ``read_at``, ``seen_at`` or
                  ``archived_at``, or ``removed``: another tab, or the API, has changed it
``resumed``       ``replayed``, ``cursor``, ``unread``, ``capped``: everything missed has been sent
``resync``        there was more than could be kept or replayed: read the list again
``expiring``      ``expires_in``: the credential ends; send ``auth`` with a new ticket, or be closed with 4408
``authenticated`` ``expires_in``: the ticket was taken
``ping``          a sign of life every 30 seconds; needs no answer
``pong``          the answer to a ``ping``
``error``         ``detail``: a frame that says nothing we know
================  ====================================================================================================

From the client, at most 4 KiB each and 20 in 10 seconds:

================  ====================================================================================================
``resume``        ``cursor``: the last one it got. Answered by what was missed and ``resumed``, or by ``resync``
``auth``          ``ticket``: a new one of the same person for the same organization
``ping``          answered by ``pong``
``pong``          taken for a sign of life
================  ====================================================================================================

A socket that is refused is accepted first and then closed, because a browser tells its page no other code than 1006
of one that is not. The close codes, with their reasons:

====  ================================================================================================================
1009  ``too_big``: a frame of more than 4 KiB
4400  ``malformed``: a frame that is no JSON object
4401  ``unauthenticated``: no credential, or one that is unknown, used or late
4403  ``origin``: a cookie from another site; ``session_revoked``: signed out, or the session or key was revoked;
      ``account_inactive``; ``membership_removed``; ``other_account``: a new ticket of somebody else
4406  ``protocol``: ``notify.v1`` was not offered
4408  ``expired``: the credential is over
4429  ``too_many_sockets`` of one person, or ``too_many_frames``
4500  ``unavailable``: the database could not be asked; try again
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
    """The socket is to be closed with this code, for this reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}")
        self.code = code
        self.reason = reason


def frame(kind: str, **content: Any) -> str:
    from rest_framework.utils.encoders import JSONEncoder

    return json.dumps({"type": kind, **content}, cls=JSONEncoder, ensure_ascii=False, separators=(",", ":"))
