"""The domain events of this package. See ``dovetail_core.events``.

=====================  ======  =======================================================================================
name                   target  data
=====================  ======  =======================================================================================
user.signed_in         user    ``session_id``; ``amr``: authentication methods (RFC 8176), such as ``["pwd"]``;
                               ``network``: the client's IPv4 address or IPv6 /64, or None
user.new_device        user    ``session_id``; ``device``, such as "Firefox on Windows"; ``network``. Sent if the user
                               has other sessions, all of them on other devices
session.revoked        user    ``session_ids``: the sessions that ended; ``reason``: signed_out, revoked (by the user
                               or an administrator), reused (a superseded refresh token was used again),
                               password_changed, password_reset, or a reason of your own code
user.sign_in_failed    None    ``amr``; ``network``; ``identifier_hash``: 64 hex digits, equal for all attempts with
                               the same username, in any case
user.sign_in_limited   None    ``budget``: "network", "account", "link" (tokens of mails) or "change" (current
                               passwords); ``identifier_hash`` as above, or None; ``network``. Sent once per period of
                               a budget, when it refuses its first attempt
user.password_changed  user    ``by``: change (with the current password) or reset (by a link in a mail)
user.registered        user    none. The address is verified and the account is created
user.updated           user    ``fields``: names of the fields that were changed
user.deleted           user    ``user_id``. The row is deleted; ``target`` still has its primary key
=====================  ======  =======================================================================================

A failed sign-in has no target, because the duration of a lookup would reveal whether the account exists. The username
is a keyed hash, because people type passwords into the wrong field.
"""

from __future__ import annotations

from typing import Final

USER_SIGNED_IN: Final = "user.signed_in"
USER_NEW_DEVICE: Final = "user.new_device"
USER_SIGN_IN_FAILED: Final = "user.sign_in_failed"
USER_SIGN_IN_LIMITED: Final = "user.sign_in_limited"
USER_PASSWORD_CHANGED: Final = "user.password_changed"  # noqa: S105  # an event, not a password
USER_REGISTERED: Final = "user.registered"
USER_UPDATED: Final = "user.updated"
USER_DELETED: Final = "user.deleted"
SESSION_REVOKED: Final = "session.revoked"
