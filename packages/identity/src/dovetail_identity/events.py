"""The domain events of this package (see ``dovetail_core.events``).

=====================  ======  =======================================================================================
name                   target  data
=====================  ======  =======================================================================================
user.signed_in         user    ``session_id``; ``amr``: how the person proved who they are (RFC 8176), ``["pwd"]``;
                               ``network``: the client's IPv4 address or IPv6 /64, or None
user.new_device        user    ``session_id``; ``device``: "Firefox on Windows"; ``network``. Of an account that has
                               sessions, and none on such a device
session.revoked        user    ``session_ids``: those that are over now; ``reason``: signed_out, revoked (by the person
                               or an administrator), reused (a refresh token that had been superseded came back),
                               password_changed, password_reset, or what your own code gave
user.sign_in_failed    None    ``amr``; ``network``; ``identifier_hash``: 64 hex digits, the same for each try on
                               one name
user.password_changed  user    ``by``: change (with the present one) or reset (by an e-mailed link)
user.registered        user    nothing; the address was proved, and the account made
user.updated           user    ``fields``: names of the fields that were written
user.deleted           user    ``user_id``; the row is gone, ``target`` still has its primary key
=====================  ======  =======================================================================================

A failed sign-in has no target: finding one would tell, by the time it takes, that the account exists. What was typed is
only there as a keyed hash, because people type passwords into the wrong field.
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
