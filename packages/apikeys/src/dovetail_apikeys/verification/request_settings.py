"""The settings that every request needs, read once.

For a setting that a project does not set, Django raises and catches an ``AttributeError``; the nine settings of a
request were half of the cost of an authentication from memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from dovetail_apikeys import get_api_key_model
from dovetail_apikeys.conf import conf
from dovetail_apikeys.verification import verifiers
from dovetail_core.conf import cached_until_settings_change
from dovetail_core.conf import conf as core


class Hot(NamedTuple):
    model: Any
    header: str
    brands: frozenset[str]
    verifiers: Sequence[verifiers.Verifier]
    cache_ttl: float
    last_used_interval: float
    principal: Callable[[Any], Any]
    behind_proxies: bool


@cached_until_settings_change
def hot() -> Hot:
    """The present values."""
    return Hot(
        model=get_api_key_model(),
        header=f"HTTP_{conf.HEADER.upper().replace('-', '_')}" if conf.HEADER else "",
        brands=frozenset({conf.BRAND, *conf.FORMER_BRANDS}),
        verifiers=verifiers.verifiers(),
        cache_ttl=conf.CACHE_TTL,
        last_used_interval=conf.LAST_USED_INTERVAL,
        principal=conf.PRINCIPAL,
        behind_proxies=bool(core.TRUSTED_PROXIES),
    )
