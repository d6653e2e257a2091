"""Keys before and after their use: the scopes that a key can get, keys of other libraries, notices of expiry."""

from __future__ import annotations
