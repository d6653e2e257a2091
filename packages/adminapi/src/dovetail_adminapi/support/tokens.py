"""Tokens of support access. The database holds none: a token is derived from the key of its row.

A token has the form ``dsa_<key>_<hash>``: the UUID as 32 hexadecimal digits, and an HMAC-SHA256 of it under
``DOVETAIL_SECRET_PEPPERS`` or ``SECRET_KEY``. A copy of the database is not enough to compute it. Starting an access
twice gives the same token, so a client that lost the response repeats its request.
"""

from __future__ import annotations

import re
from typing import Final
from uuid import UUID

from dovetail_core.secrets import constant_time_compare, keyed_hash, keyed_hashes

_PURPOSE: Final = "dovetail_adminapi.support_access.1"
_TOKEN: Final = re.compile(r"dsa_([0-9a-f]{32})_([0-9a-f]{64})")
PREFIX: Final = "dsa_"


def token_of(key: UUID) -> str:
    return f"{PREFIX}{key.hex}_{keyed_hash(_PURPOSE, key.hex)}"


def key_of(token: str) -> UUID | None:
    """Return the key of the row, or None for a forged or malformed token."""
    match = _TOKEN.fullmatch(token)
    if match is None:
        return None
    # All peppers are compared, because the time must not tell which one matched.
    matches = [constant_time_compare(match[2], value) for value in keyed_hashes(_PURPOSE, match[1])]
    return UUID(match[1]) if any(matches) else None
