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


def check_settings(**_: Any) -> list[CheckMessage]:
    return conf.check()


# A warning and not an error, because a project's own tests need no such page.
def check_verify_url(**_: Any) -> Iterator[CheckMessage]:
    if conf.VERIFY_URL == "":
        yield Warning(
            "MAGIC_LINK_VERIFY_URL is not set: magic/request/ raises RuntimeError, because mails need a link.",
            hint="Set it to the absolute URL of the page of your app that posts token and k to magic/verify/.",
            id="dovetail_magiclink.W002",
        )


def check_expiry(**_: Any) -> Iterator[CheckMessage]:
    minutes: object = conf.EXPIRY_MINUTES
    if isinstance(minutes, int) and minutes > 15:
        yield Warning(
            f"MAGIC_LINK_EXPIRY_MINUTES is {minutes}: the longer codes live, the more codes a guess can hit.",
            hint="Set it to at most 15. OWASP ASVS 5.0 6.5.5 and NIST SP 800-63B-4 require 10.",
            id="dovetail_magiclink.W003",
        )


def check_cache(**_: Any) -> Iterator[CheckMessage]:
    cache = _cache()
    if cache is None:
        yield Error(
            f"MAGIC_LINK_CACHE is {conf.CACHE!r}, which is not in CACHES.",
            hint=f"Set it to one of: {', '.join(map(repr, settings.CACHES))}.",
            id="dovetail_magiclink.E002",
        )
    # BaseCache.incr reads, adds and writes, so two parallel guesses can count as one. DummyCache stores nothing.
    elif isinstance(cache, DummyCache) or type(cache).incr is BaseCache.incr:
        yield Error(
            f"MAGIC_LINK_CACHE is {conf.CACHE!r}, a {type(cache).__name__}, whose increments are not atomic: parallel "
            "guesses would not be counted.",
            hint="Name a Redis or Memcached cache. LocMemCache works for a single process.",
            id="dovetail_magiclink.E003",
        )


def check_shared_cache(**_: Any) -> Iterator[CheckMessage]:
    if isinstance(_cache(), LocMemCache):
        yield Warning(
            f"MAGIC_LINK_CACHE is {conf.CACHE!r}, a LocMemCache: each process has its own counts of guesses and "
            "requests, and loses them when it ends.",
            hint="Name a Redis or Memcached cache, which all processes share.",
            id="dovetail_magiclink.W004",
        )


def check_echo(**_: Any) -> Iterator[CheckMessage]:
    if conf.DEBUG_ECHO_TOKEN:
        yield Error(
            "MAGIC_LINK_DEBUG_ECHO_TOKEN is True: where DEBUG is True as well, anybody can sign in as anybody.",
            hint="Remove it from the settings of your deployments.",
            id="dovetail_magiclink.E004",
        )


def check_signup(**_: Any) -> Iterator[CheckMessage]:
    if conf.SIGNUP is True and conf.CREATE_USER is create_user and (missing := missing_fields()):
        yield Error(
            f"MAGIC_LINK_SIGNUP is True, but {get_user_model()._meta.label} cannot be created from an address: it also "
            f"requires {', '.join(missing)}.",
            hint="Set MAGIC_LINK_CREATE_USER to your own function, or remove MAGIC_LINK_SIGNUP.",
            obj=get_user_model(),
            id="dovetail_magiclink.E005",
        )


def check_address_field(**_: Any) -> Iterator[CheckMessage]:
    if email_field() is None:
        model = get_user_model()
        yield Error(
            f"{model._meta.label} has no field {getattr(model, 'EMAIL_FIELD', 'email')!r}, so no address can be found.",
            hint="Set EMAIL_FIELD of the model to the name of its field for e-mail addresses.",
            obj=model,
            id="dovetail_magiclink.E006",
        )


def check_session(**_: Any) -> Iterator[CheckMessage]:
    try:
        session = token_issuer() is django_session
    except ImportError:
        return  # reported as E001
    if session and not any(name.endswith("SessionMiddleware") for name in settings.MIDDLEWARE):
        yield Error(
            "Sign-in by mail starts a Django session, but MIDDLEWARE has no SessionMiddleware.",
            hint="Add django.contrib.sessions.middleware.SessionMiddleware to MIDDLEWARE, install "
            "dovetail-magiclink[jwt], or set MAGIC_LINK_TOKEN_ISSUER.",
            id="dovetail_magiclink.E007",
        )


def check_limits(**_: Any) -> Iterator[CheckMessage]:
    names = ("RISK_BUDGET", "FAILURES_PER_NETWORK", "REQUESTS_PER_ADDRESS", "REQUESTS_PER_NETWORK", "REQUESTS_PER_SITE")
    if disabled := [f"MAGIC_LINK_{name}" for name in names if not getattr(conf, name)]:
        yield Warning(
            f"{', '.join(disabled)}: an empty value disables the limit.",
            hint="Remove the setting, or set limits that suit your site.",
            id="dovetail_magiclink.W005",
        )


def _cache() -> BaseCache | None:
    try:
        return caches[conf.CACHE]
    except (InvalidCacheBackendError, TypeError):
        return None
