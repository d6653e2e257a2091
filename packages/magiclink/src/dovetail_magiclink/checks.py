from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core import mail
from django.core.cache import InvalidCacheBackendError, caches
from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.locmem import LocMemCache
from django.core.checks import CheckMessage, Error, Warning  # noqa: A004  # Django's names
from django.core.exceptions import ImproperlyConfigured
from django.db.models import Model

from dovetail_core.accounts import email_field, second_factor_app
from dovetail_core.inspection import classes_of, routes
from dovetail_magiclink.accounts import create_user, missing_fields
from dovetail_magiclink.conf import conf
from dovetail_magiclink.issuers import (
    SESSION,
    SIMPLEJWT,
    default_authenticators,
    is_accepted,
    issuer_path,
    token_issuer,
)


def check_settings(**_: Any) -> list[CheckMessage]:
    return conf.check()


def check_verify_url(**_: Any) -> Iterator[CheckMessage]:
    if conf.VERIFY_URL != "":
        return
    # Django's test runner runs the checks with DEBUG = False, and a project's own tests need no such page.
    production = not settings.DEBUG and not hasattr(mail, "outbox")
    yield (Error if production else Warning)(
        "MAGIC_LINK_VERIFY_URL is not set: magic/request/ raises RuntimeError, because mails need a link.",
        hint="Set it to the absolute URL of the page of your app that posts token and k to magic/verify/.",
        id="dovetail_magiclink.E010" if production else "dovetail_magiclink.W002",
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
    model = _user_model()
    if model and conf.SIGNUP is True and conf.CREATE_USER is create_user and (missing := missing_fields()):
        yield Error(
            f"MAGIC_LINK_SIGNUP is True, but {model._meta.label} cannot be created from an address: it also "
            f"requires {', '.join(missing)}.",
            hint="Set MAGIC_LINK_CREATE_USER to your own function, or remove MAGIC_LINK_SIGNUP.",
            obj=model,
            id="dovetail_magiclink.E005",
        )


def check_address_field(**_: Any) -> Iterator[CheckMessage]:
    model = _user_model()
    if model is not None and email_field(model) is None:
        yield Error(
            f"{model._meta.label} has no field {getattr(model, 'EMAIL_FIELD', 'email')!r}, so no address can be found.",
            hint="Set EMAIL_FIELD of the model to the name of its field for e-mail addresses.",
            obj=model,
            id="dovetail_magiclink.E006",
        )


def check_session(**_: Any) -> Iterator[CheckMessage]:
    session = _issuer_path() == SESSION
    if session and not apps.is_installed("django.contrib.auth"):
        yield Error(
            "Sign-in by mail starts a Django session, but django.contrib.auth, which loads its user, is not installed.",
            hint="Set MAGIC_LINK_TOKEN_ISSUER to the dotted path of a function (user, request=…, amr=…) that returns "
            "what your API accepts, or add django.contrib.auth to INSTALLED_APPS.",
            id="dovetail_magiclink.E011",
        )
        return
    if session and not any(name.endswith("SessionMiddleware") for name in settings.MIDDLEWARE):
        yield Error(
            "Sign-in by mail starts a Django session, but MIDDLEWARE has no SessionMiddleware.",
            hint="Add django.contrib.sessions.middleware.SessionMiddleware to MIDDLEWARE, add a JWT class to "
            "REST_FRAMEWORK['DEFAULT_AUTHENTICATION_CLASSES'], or set MAGIC_LINK_TOKEN_ISSUER.",
            id="dovetail_magiclink.E007",
        )


def check_issuer(**_: Any) -> Iterator[CheckMessage]:
    path = _issuer_path()
    if path is None:
        return
    if path == SIMPLEJWT and (problem := _pair_problem()):
        yield Error(
            f"The API does not accept the tokens that {SIMPLEJWT} returns: {problem}",
            hint="Correct ALGORITHM, SIGNING_KEY, VERIFYING_KEY and AUTH_TOKEN_CLASSES in SIMPLE_JWT, or set "
            "MAGIC_LINK_TOKEN_ISSUER.",
            id="dovetail_magiclink.E009",
        )
    defaults = default_authenticators()
    # A project that names the session itself may have views of Django and no API.
    pages = path == SESSION and conf.TOKEN_ISSUER is not None and _has_middleware("AuthenticationMiddleware")
    if pages or is_accepted(path, defaults) or is_accepted(path, _authenticators_of_views()):
        return
    names = ", ".join(authenticator.__name__ for authenticator in defaults) or "none"
    yield Error(
        f"Sign-in by mail calls {path}, but no authentication class of the API accepts its result. "
        f"DEFAULT_AUTHENTICATION_CLASSES: {names}.",
        hint="Set MAGIC_LINK_TOKEN_ISSUER to the dotted path of a function (user, request=…, amr=…) that returns what "
        f"the API accepts, or to {SESSION!r} if the sign-in is for pages of Django.",
        id="dovetail_magiclink.E008",
    )


def check_second_factor(**_: Any) -> Iterator[CheckMessage]:
    app = second_factor_app()
    if app is not None and conf.ALLOWED is None:
        yield Warning(
            f"{app} is installed, but MAGIC_LINK_ALLOWED is not set: a magic link signs users in without "
            "their second factor.",
            hint="Set MAGIC_LINK_ALLOWED to a function (user, request=…) that returns False, or the URL of the page "
            "that asks for the second factor, for users who have one. The README of dovetail-magiclink has examples.",
            id="dovetail_magiclink.W006",
        )


def check_limits(**_: Any) -> Iterator[CheckMessage]:
    names = ("RISK_BUDGET", "FAILURES_PER_NETWORK", "REQUESTS_PER_ADDRESS", "REQUESTS_PER_NETWORK", "REQUESTS_PER_SITE")
    if disabled := [f"MAGIC_LINK_{name}" for name in names if not getattr(conf, name)]:
        yield Warning(
            f"{', '.join(disabled)}: an empty value disables the limit.",
            hint="Remove the setting, or set limits that suit your site.",
            id="dovetail_magiclink.W005",
        )


def _user_model() -> type[Model] | None:
    try:
        return get_user_model()
    except ImproperlyConfigured:
        return None  # not installed: Django reports it (fields.E300)


def _issuer_path() -> str | None:
    try:
        token_issuer()
    except ImportError:
        return None  # reported as E001, or by Django REST framework
    return issuer_path()


def _pair_problem() -> str | None:
    from dovetail_magiclink.contrib.simplejwt import problem

    return problem()


def _authenticators_of_views() -> Iterator[type]:
    # Imported late: it imports all authentication classes, which a process that runs no checks may not need.
    from rest_framework.schemas.generators import is_api_view

    for view in (route.callback for route in routes()):
        if is_api_view(view):
            yield from classes_of(view, "authentication_classes")


def _has_middleware(name: str) -> bool:
    return any(path.rpartition(".")[2] == name for path in settings.MIDDLEWARE)


def _cache() -> BaseCache | None:
    try:
        return caches[conf.CACHE]
    except (InvalidCacheBackendError, TypeError):
        return None
