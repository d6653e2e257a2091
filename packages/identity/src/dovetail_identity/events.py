"""The domain events of this package (see ``dovetail_core.events``).

=====================  ======  =======================================================================================
name                   target  data
=====================  ======  =======================================================================================
user.signed_in         user    ``session_id``; ``amr``: how the person signed in (RFC 8176), such as ``["pwd"]``;
                               ``network``: the client's IPv4 address or IPv6 /64, or None
user.new_device        user    ``session_id``; ``device``: "Firefox on Windows"; ``network``. The account has other
                               sessions, all of them on other devices
session.revoked        user    ``session_ids``: the sessions that ended; ``reason``: signed_out, revoked (by the person
                               or an administrator), reused (a superseded refresh token came back),
                               password_changed, password_reset, or a reason of your own code
user.sign_in_failed    None    ``amr``; ``network``; ``identifier_hash``: 64 hex digits, the same for every attempt on
                               one name
user.password_changed  user    ``by``: change (with the current one) or reset (by a mailed link)
user.registered        user    empty; the address is verified and the account created
user.updated           user    ``fields``: names of the fields that were written
user.deleted           user    ``user_id``; the row is deleted, ``target`` still has its primary key
=====================  ======  =======================================================================================

A failed sign-in has no target: the time of a lookup would reveal that the account exists. The typed name is only
there as a keyed hash, because people type passwords into the wrong field.
"""

from __future__ import annotations

from typing import Final

USER_SIGNED_IN: Final = "user.signed_in"
USER_NEW_DEVICE: Final = "user.new_device"
USER_SIGN_IN_FAILED: Final = "user.sign_in_failed"
USER_PASSWORD_CHANGED: Final = "user.password_changed"  # noqa: S105  # an event, no password
USER_REGISTERED: Final = "user.registered"
USER_UPDATED: Final = "user.updated"
USER_DELETED: Final = "user.deleted"
SESSION_REVOKED: Final = "session.revoked"
