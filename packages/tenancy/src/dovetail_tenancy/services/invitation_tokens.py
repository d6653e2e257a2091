"""The token in an invitation's link. The row stores a keyed hash of it (OWASP ASVS 5.0 11.4).

The token is an HMAC of the row's key and expiry, so that a worker that gets the key alone can write the mail, and the
broker holds no token. A copy of the database is not enough to compute it: that takes ``DOVETAIL_SECRET_PEPPERS`` or
``SECRET_KEY`` as well. Each time an invitation is sent its expiry changes, and so does its token.
"""

from __future__ import annotations

from datetime import UTC

from django.views.decorators.debug import sensitive_variables

from dovetail_core.secrets import keyed_hash, keyed_hashes
from dovetail_tenancy.models import Invitation

_TOKEN = "dovetail_tenancy.invitation_token"  # noqa: S105  # the purpose of a hash
_HASH = "dovetail_tenancy.invitation"


def new_token(invitation: Invitation) -> str:
    """Return the token for the invitation's current expiry, as 64 hexadecimal digits."""
    return keyed_hash(_TOKEN, _subject(invitation))


def token_hash(token: str) -> str:
    return keyed_hash(_HASH, token)


def token_hashes(token: str) -> list[str]:
    """Return the hashes of the token under every accepted pepper."""
    # A JSON string may hold lone surrogates, which UTF-8 cannot encode.
    return list(keyed_hashes(_HASH, token.encode("ascii", "backslashreplace").decode()))


@sensitive_variables()
def token_of(invitation: Invitation) -> str | None:
    """Return the token that the stored hash belongs to, or None if its pepper is no longer accepted."""
    # The pepper may have been rotated since the row was written.
    candidates = keyed_hashes(_TOKEN, _subject(invitation))
    return next((token for token in candidates if invitation.token_hash in token_hashes(token)), None)


def _subject(invitation: Invitation) -> str:
    return f"{invitation.pk}:{invitation.expires_at.astimezone(UTC).isoformat()}"
