"""Flags of Unleash. Requires the extra ``unleash``::

    FLAGS_PROVIDER = "dovetail_flags.contrib.unleash.provider"
    FLAGS_PROVIDER_OPTIONS = {
        "url": "https://unleash.example.com/api",
        "app_name": "shop",
        "api_token": env("UNLEASH_API_TOKEN"),
    }

The targeting key is Unleash's ``userId``. Attributes keep their names: a constraint on ``organization`` matches the
attribute ``organization``. Unleash cannot tell a flag that is off from a flag that does not exist.
"""

from __future__ import annotations

from openfeature.contrib.provider.unleash import UnleashProvider

from dovetail_flags.contrib.openfeature import OpenFeatureBridge


def provider(*, url: str, app_name: str, api_token: str, refresh_seconds: int = 15) -> OpenFeatureBridge:
    """Return the provider for ``FLAGS_PROVIDER``. Changes arrive within ``refresh_seconds``."""

    def create() -> UnleashProvider:
        unleash = UnleashProvider(url=url, app_name=app_name, api_token=api_token)
        # The provider has no argument for it, and reads it when the bridge initializes the client.
        unleash.client.unleash_refresh_interval = refresh_seconds
        return unleash

    return OpenFeatureBridge(create)
