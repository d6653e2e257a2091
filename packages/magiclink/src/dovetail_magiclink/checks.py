from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.cache import InvalidCacheBackendError, caches
from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.locmem import LocMemCache
from django.core.checks import CheckMessage, Error, Warning  # noqa: A004  # Django's names

from dovetail_core.accounts import email_field
from dovetail_magiclink.accounts import create_user, missing_fields
from dovetail_magiclink.conf import conf
from dovetail_magiclink.issuers import django_session, token_issuer

_LONGEST_MINUTES = 15


def check_settings(**_: Any) -> list[CheckMessage]:
    return conf.check()


# A warning, because a project's own tests need no such page. Without it, a request for a mail is a RuntimeError.
def check_verify_url(**_: Any) -> Iterator[CheckMessage]:
    if conf.VERIFY_URL == "":
        yield Warning(
            "MAGIC_LINK_VERIFY_URL is not set: magic/request/ is a RuntimeError, because a mail needs a link.",
            hint="Set it to the absolute address of the page of your app that posts token and k to magic/verify/.",
            id="dovetail_magiclink.W002",
        )


def check_expiry(**_: Any) -> Iterator[CheckMessage]:
    minutes: Any = conf.EXPIRY_MINUTES
    if isinstance(minutes, int) and minutes > _LONGEST_MINUTES:
        yield Warning(
            f"MAGIC_LINK_EXPIRY_MINUTES is {minutes}: the longer codes live, the more codes a guess can hit.",
            hint=f"Set it to at most {_LONGEST_MINUTES}; OWASP ASVS 5.0 6.5.5 and NIST SP 800-63B-4 ask for 10.",
            id="dovetail_magiclink.W003",
        )


def check_cache(**_: Any) -> Iterator[CheckMessage]:
    try:
        cache = caches[conf.CACHE]
    except (InvalidCacheBackendError, TypeError):
        yield Error(
            f"MAGIC_LINK_CACHE is {conf.CACHE!r}, which is no alias of a cache.",
            hint=f"Set it to one of: {', '.join(map(repr, settings.CACHES))}.",
            id="dovetail_magiclink.E002",
        )
        return
    # BaseCache reads, adds and writes: two parallel guesses count as one. The dummy stores nothing.
    if isinstance(cache, DummyCache) or type(cache).incr is BaseCache.incr:
        yield Error(
            f"MAGIC_LINK_CACHE is {conf.CACHE!r}, a {type(cache).__name__}, whose increments are not atomic: parallel "
            "guesses would not be counted.",
            hint="Name a cache of Redis or Memcached there; in one process, LocMemCache.",
            id="dovetail_magiclink.E003",
        )


def check_shared_cache(**_: Any) -> Iterator[CheckMessage]:
    try:
        alone = isinstance(caches[conf.CACHE], LocMemCache)
    except (InvalidCacheBackendError, TypeError):
        return
    if alone:
        yield Warning(
            f"MAGIC_LINK_CACHE is {conf.CACHE!r}, a LocMemCache: every process counts guesses and requests by itself, "
            "and forgets them when it ends.",
            hint="Name a cache there that all processes share, of Redis or Memcached.",
            id="dovetail_magiclink.W004",
        )


def check_echo(**_: Any) -> Iterator[CheckMessage]:
    if conf.DEBUG_ECHO_TOKEN:
        yield Error(
            "MAGIC_LINK_DEBUG_ECHO_TOKEN is on: wherever DEBUG is on as well, anybody signs in as anybody.",
            hint="Leave it out of the settings of every deployment.",
            id="dovetail_magiclink.E004",
        )


def check_signup(**_: Any) -> Iterator[CheckMessage]:
    if conf.SIGNUP is True and conf.CREATE_USER is create_user and (missing := missing_fields()):
        yield Error(
            f"MAGIC_LINK_SIGNUP is True, but an address makes no {get_user_model()._meta.label}: it needs "
            f"{', '.join(missing)}.",
            hint="Name a function of your own in MAGIC_LINK_CREATE_USER, or leave MAGIC_LINK_SIGNUP out.",
            obj=get_user_model(),
            id="dovetail_magiclink.E005",
        )


def check_address_field(**_: Any) -> Iterator[CheckMessage]:
    if email_field() is None:
        model: Any = get_user_model()
        yield Error(
            f"{model._meta.label} has no field {getattr(model, 'EMAIL_FIELD', 'email')!r}: no address has an account.",
            hint="Name the model's field of e-mail addresses in its EMAIL_FIELD.",
            obj=model,
            id="dovetail_magiclink.E006",
        )


def check_session(**_: Any) -> Iterator[CheckMessage]:
    try:
        session = token_issuer() is django_session
    except ImportError:
        return  # E001 says so
    if session and not any(name.endswith("SessionMiddleware") for name in settings.MIDDLEWARE):
        yield Error(
            "Signing in by mail ends in Django's session, and there is no SessionMiddleware.",
            hint="Add django.contrib.sessions.middleware.SessionMiddleware to MIDDLEWARE, install "
            "dovetail-magiclink[jwt], or name a token issuer in MAGIC_LINK_TOKEN_ISSUER.",
            id="dovetail_magiclink.E007",
        )


def check_limits(**_: Any) -> Iterator[CheckMessage]:
    names = ("RISK_BUDGET", "FAILURES_PER_NETWORK", "REQUESTS_PER_ADDRESS", "REQUESTS_PER_NETWORK", "REQUESTS_PER_SITE")
    if off := [f"MAGIC_LINK_{name}" for name in names if not getattr(conf, name)]:
        yield Warning(
            f"{', '.join(off)} is empty: nothing is limited by it.",
            hint="Leave it out, or give it the limits that your site can bear.",
            id="dovetail_magiclink.W005",
        )
