from __future__ import annotations

from dovetail_apikeys.base import AbstractAPIKey


class APIKey(AbstractAPIKey):
    class Meta(AbstractAPIKey.Meta):
        swappable = "API_KEYS_MODEL"
