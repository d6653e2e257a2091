from __future__ import annotations


class InvalidOrExpired(Exception):
    """A mailed token is malformed, forged, used, superseded or too old. Callers do not learn which."""
