"""The settings that every request asks for, read once.

To read a setting that a project has not made takes Django a raised and caught ``AttributeError``; the nine of a
request were half of what an authentication from memory cost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from django.core.signals import setting_changed

from dovetail_apikeys import get_api_key_model
from dovetail_apikeys.conf import conf
from dovetail_apikeys.verification import verifiers
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


_hot: Hot | None = None


def hot() -> Hot:
    """As they are now; ``override_settings`` is seen."""
    global _hot
    found = _hot
    if found is None:
        found = _hot = Hot(
            model=get_api_key_model(),
            header=f"HTTP_{conf.HEADER.upper().replace('-', '_')}" if conf.HEADER else "",
            brands=frozenset({conf.BRAND, *conf.FORMER_BRANDS}),
            verifiers=verifiers.verifiers(),
            cache_ttl=conf.CACHE_TTL,
            last_used_interval=conf.LAST_USED_INTERVAL,
            principal=conf.PRINCIPAL,
            behind_proxies=bool(core.TRUSTED_PROXIES),
        )
    return found


def _forget(**kwargs: Any) -> None:
    global _hot
    _hot = None


setting_changed.connect(_forget, dispatch_uid="dovetail_apikeys.hot")
