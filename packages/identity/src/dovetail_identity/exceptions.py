from __future__ import annotations


class InvalidOrExpired(Exception):
    """The token from a mail is malformed, forged, used, superseded or expired. The reason is not disclosed."""
