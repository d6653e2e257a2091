"""System checks. Those about tokens import simplejwt late: processes that run no checks do not need it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from inspect import signature
from typing import Any, Final, cast

from django.apps import apps
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.backends import BaseBackend
from django.contrib.auth.backends import ModelBackend as DjangoModelBackend
from django.core.cache import InvalidCacheBackendError, caches
from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.db import DatabaseCache
from django.core.checks import CheckMessage, Error, Info, Warning  # noqa: A004  # names of Django
from django.db import connections, models, router
from django.db.models.functions import Lower, Upper
from django.urls import get_resolver
from django.utils.module_loading import import_string
from rest_framework.settings import api_settings

from dovetail_core.accounts import email_field, second_factor_app
from dovetail_core.attempts import is_shared
from dovetail_core.conf import conf as core_conf
from dovetail_core.rest.authentication import claimants_before
from dovetail_identity.backends import LimitsAttempts
from dovetail_identity.conf import conf
from dovetail_identity.fields import NormalizedEmailField
from dovetail_identity.registration import create_user, missing_fields

#: Enough for the counts of thousands of accounts and addresses. Django's default is 300.
_FEWEST_ENTRIES: Final = 10_000

#: Packages whose backends refuse passwords above a limit before the next backends evaluate them.
_LIMITING: Final = ("axes.",)

#: Packages whose backends take any keyword argument, but evaluate no password.
_PASSWORDLESS: Final = ("social_core.", "mozilla_django_oidc.")


def check_settings(**_: Any) -> list[CheckMessage]:
    return conf.check()


def check_simplejwt(**_: Any) -> Iterator[CheckMessage]:
    from rest_framework_simplejwt import settings as simplejwt

    blacklist = "rest_framework_simplejwt.token_blacklist"
    if simplejwt.api_settings.BLACKLIST_AFTER_ROTATION and not apps.is_installed(blacklist):
        yield Error(
            f"SIMPLE_JWT['BLACKLIST_AFTER_ROTATION'] is True, but {blacklist!r} is not in INSTALLED_APPS.",
            hint=f"Add {blacklist!r} to INSTALLED_APPS and run migrate, or remove BLACKLIST_AFTER_ROTATION.",
            id="dovetail_identity.E002",
        )
    model, name = get_user_model(), simplejwt.api_settings.USER_ID_FIELD
    if name not in (names := [field.name for field in model._meta.concrete_fields if field.unique]):
        yield Error(
            f"SIMPLE_JWT['USER_ID_FIELD'] is {name!r}, which is not a unique field of {model._meta.label}.",
            hint=f"Set it to one of: {', '.join(map(repr, names))}.",
            obj=model,
            id="dovetail_identity.E003",
        )


def check_tokens(**_: Any) -> Iterator[CheckMessage]:
    from rest_framework_simplejwt import settings as simplejwt
    from rest_framework_simplejwt.exceptions import InvalidToken

    from dovetail_identity.api.authentication import JWTAuthentication
    from dovetail_identity.sessions.tokens import RefreshToken

    if not _signs_in():
        return
    step, classes = "signing", [item.__name__ for item in simplejwt.api_settings.AUTH_TOKEN_CLASSES]
    # PyJWT and cryptography raise unrelated classes for a key that does not suit the algorithm.
    try:
        refresh = str(RefreshToken())
        access = str(RefreshToken().access_token)
        if simplejwt.api_settings.JWK_URL:
            return  # the key for verification is on another server
        step = "verification"
        RefreshToken(refresh)  # type: ignore[arg-type]  # an encoded token
        JWTAuthentication().get_validated_token(access.encode())
    except InvalidToken:
        yield Error(
            "JWTAuthentication rejects the access tokens of jwt/token/, because SIMPLE_JWT['AUTH_TOKEN_CLASSES'] is "
            f"{', '.join(classes)}.",
            hint="Add 'rest_framework_simplejwt.tokens.AccessToken'. Sessions replace sliding tokens, which have none.",
            id="dovetail_identity.E008",
        )
    except Exception as error:  # noqa: BLE001
        algorithm = simplejwt.api_settings.ALGORITHM
        hint = "Set SIGNING_KEY to a random text of at least 32 characters, or ALGORITHM to one that suits the key."
        if not algorithm.startswith("HS"):
            hint = "Set SIGNING_KEY to the private key and VERIFYING_KEY to the public key, both in PEM format."
        yield Error(
            f"jwt/token/ would respond with a server error: {step} with {algorithm}, the ALGORITHM of SIMPLE_JWT, "
            f"fails: {error}",
            hint=hint,
            id="dovetail_identity.E007",
        )


def check_order(**_: Any) -> Iterator[CheckMessage]:
    from dovetail_identity.api.authentication import JWTAuthentication

    for earlier, order in claimants_before(JWTAuthentication):
        yield Warning(
            f"{earlier} comes before JWTAuthentication and reads all Bearer tokens: it rejects those of jwt/token/, or "
            "accepts them after sign-out.",
            hint=f"Set REST_FRAMEWORK['DEFAULT_AUTHENTICATION_CLASSES'] to {order}. JWTAuthentication leaves other "
            "Bearer tokens to the next classes.",
            id="dovetail_identity.W010",
        )


def check_second_factor(**_: Any) -> Iterator[CheckMessage]:
    app = second_factor_app()
    if app is not None and _signs_in() and "USER_AUTHENTICATION_RULE" not in getattr(settings, "SIMPLE_JWT", {}):
        yield Warning(
            f"{app} is installed, but jwt/token/ signs users in by their password, without their second factor.",
            hint="Set SIMPLE_JWT['USER_AUTHENTICATION_RULE'] to a function (user) that returns False for users who "
            "have a second factor. The README of dovetail-identity has an example.",
            id="dovetail_identity.W011",
        )


def check_registration(**_: Any) -> Iterator[CheckMessage]:
    if conf.REGISTRATION is not True:
        return
    if conf.CREATE_USER is create_user and (missing := missing_fields()):
        yield Error(
            "IDENTITY_REGISTRATION is True, but registrations do not provide required fields of "
            f"{get_user_model()._meta.label}: {', '.join(missing)}.",
            hint="Set IDENTITY_CREATE_USER to a function that creates the user, or remove IDENTITY_REGISTRATION.",
            obj=get_user_model(),
            id="dovetail_identity.E004",
        )
    if not conf.EMAIL_VERIFICATION_URL:
        yield Error(
            "IDENTITY_REGISTRATION is True, but IDENTITY_EMAIL_VERIFICATION_URL is not set.",
            hint="Set it to the page of your app that posts its ?token= to email/verify/.",
            id="dovetail_identity.E005",
        )


# For deployment only, because projects that use the package only for tokens have no such page.
def check_password_reset(**_: Any) -> Iterator[CheckMessage]:
    if not conf.PASSWORD_RESET_URL:
        yield Warning(
            "IDENTITY_PASSWORD_RESET_URL is not set, so password/reset/ does not send mail.",
            hint="Set it to the page of your app that posts its ?token= to password/reset/confirm/.",
            id="dovetail_identity.W004",
        )


# For deployment only, because these settings are harmless and projects may also use simplejwt's views.
def check_rotation(**_: Any) -> Iterator[CheckMessage]:
    from rest_framework_simplejwt import settings as simplejwt

    names = ("ROTATE_REFRESH_TOKENS", "BLACKLIST_AFTER_ROTATION")
    active = [name for name in names if getattr(simplejwt.api_settings, name)]
    if active:
        yield Info(
            f"SIMPLE_JWT[{active[0]!r}] has no effect on dovetail_identity, which rotates refresh tokens by session.",
            hint=f"Remove {' and '.join(active)}, unless you also use simplejwt's views.",
            id="dovetail_identity.I002",
        )


def check_sign_in_email(**_: Any) -> Iterator[CheckMessage]:
    field = _ambiguous_email()
    if field is not None and field.name == get_user_model().USERNAME_FIELD:
        yield Warning(
            f"{field.model._meta.label}.{field.name} is used for sign-in, but is not unique regardless of case.",
            hint=_unique_hint(field),
            obj=field,
            id="dovetail_identity.W002",
        )


# For deployment only, because it applies to Django's own user model and would appear with every command.
def check_other_email(**_: Any) -> Iterator[CheckMessage]:
    field = _ambiguous_email()
    if field is not None and field.name != get_user_model().USERNAME_FIELD:
        yield Info(
            f"{field.model._meta.label}.{field.name} is not unique regardless of case. An address that belongs to "
            "several accounts is treated as unknown.",
            hint=_unique_hint(field),
            obj=field,
            id="dovetail_identity.I001",
        )


def check_signing_key(**_: Any) -> Iterator[CheckMessage]:
    from rest_framework_simplejwt import settings as simplejwt

    symmetric = str(simplejwt.api_settings.ALGORITHM).startswith("HS")
    if symmetric and simplejwt.api_settings.SIGNING_KEY in {settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS}:
        yield Warning(
            "Access tokens are signed with SECRET_KEY. Anyone who has this key can sign in as any user, and the keys "
            "cannot be rotated separately.",
            hint="Set SIMPLE_JWT['SIGNING_KEY'] to another random key of at least 32 characters.",
            id="dovetail_identity.W003",
        )


def check_cache(**_: Any) -> Iterator[CheckMessage]:
    if _cache() is None:
        yield Error(
            f"IDENTITY_CACHE is {conf.CACHE!r}, which is not in CACHES.",
            hint=f"Set it to one of: {', '.join(map(repr, settings.CACHES))}.",
            id="dovetail_identity.E006",
        )


# For deployment only, because tests and development have one process.
def check_shared_cache(**_: Any) -> Iterator[CheckMessage]:
    cache = _cache()
    if cache is None:
        return
    if not is_shared(conf.CACHE):
        yield Warning(
            f"IDENTITY_CACHE is {conf.CACHE!r}, a {type(cache).__name__}, so each process counts wrong passwords for "
            "itself, and a client gets the limits once per process.",
            hint="Name a Redis, Memcached or database cache.",
            id="dovetail_identity.W005",
        )
        return
    if not isinstance(cache, DatabaseCache):
        return
    using = router.db_for_write(cache.cache_model_class)
    if connections.settings[using].get("ATOMIC_REQUESTS"):
        yield Warning(
            f"IDENTITY_CACHE is {conf.CACHE!r}, a DatabaseCache in the database {using!r}, which has ATOMIC_REQUESTS: "
            "if a request is rolled back, as after a 401 of REST framework, only its process keeps the counts.",
            hint="Name a Redis or Memcached cache, or route the table of the cache to a database without "
            "ATOMIC_REQUESTS.",
            id="dovetail_identity.W005",
        )
    if cache._max_entries < _FEWEST_ENTRIES:
        yield Warning(
            f"IDENTITY_CACHE is {conf.CACHE!r}, a DatabaseCache with MAX_ENTRIES of {cache._max_entries}: an attacker "
            "who tries many usernames makes it delete the counts.",
            hint=f"Set CACHES[{conf.CACHE!r}]['OPTIONS']['MAX_ENTRIES'] to at least {_FEWEST_ENTRIES}.",
            id="dovetail_identity.W008",
        )


def check_backends(**_: Any) -> Iterator[CheckMessage]:
    for path in settings.AUTHENTICATION_BACKENDS:
        backend = import_string(path)
        if _comes_from(_LIMITING, backend):
            break
        if not issubclass(backend, LimitsAttempts) and _may_take_a_password(backend):
            hint = "Add dovetail_identity.backends.LimitsAttempts to the bases of every backend that takes passwords."
            if backend is DjangoModelBackend:
                hint = "Use dovetail_identity.backends.ModelBackend in its place."
            yield Warning(
                f"{path} evaluates any number of passwords, for example at the login page of the admin site. If it "
                "accepts a password after another backend has rejected it, the attempt counts as wrong until login(). "
                "The endpoints of dovetail_identity are limited.",
                hint=hint,
                id="dovetail_identity.W006",
            )
    names = ("FAILURES_PER_NETWORK", "FAILURES_PER_ACCOUNT")
    if disabled := [f"IDENTITY_{name}" for name in names if not getattr(conf, name)]:
        yield Warning(
            f"{' and '.join(disabled)}: an empty value disables the limit.",
            hint="Remove the setting, or set limits that suit your site.",
            id="dovetail_identity.W007",
        )


# For deployment only, because development has no proxy. A project without these settings may have no proxy either.
def check_proxy(**_: Any) -> Iterator[CheckMessage]:
    names = ("SECURE_PROXY_SSL_HEADER", "USE_X_FORWARDED_HOST", "USE_X_FORWARDED_PORT")
    active = [name for name in names if getattr(settings, name)]
    if active and conf.FAILURES_PER_NETWORK and not core_conf.TRUSTED_PROXIES:
        yield Warning(
            f"{active[0]} is set, but DOVETAIL_TRUSTED_PROXIES is empty: all clients have the address of the proxy. If "
            "one of them spends the limit of wrong passwords per address, all get 429. Behind a proxy on a loopback "
            "address or a Unix socket, there is no limit per address.",
            hint="Set DOVETAIL_TRUSTED_PROXIES to the networks of your proxies.",
            id="dovetail_identity.W009",
        )


def check_middleware(**_: Any) -> Iterator[CheckMessage]:
    name = "dovetail_identity.middleware.SignInLimitMiddleware"
    if apps.is_installed("django.contrib.admin") and name not in settings.MIDDLEWARE:
        yield Info(
            "The login page of the admin site says that the password is wrong when the limit of attempts is reached, "
            "and its page to change the password evaluates any number of current passwords.",
            hint=f"Add {name!r} to MIDDLEWARE, after AuthenticationMiddleware.",
            id="dovetail_identity.I003",
        )


def _may_take_a_password(backend: type[Any]) -> bool:
    if backend.authenticate is BaseBackend.authenticate or _comes_from(_PASSWORDLESS, backend):
        return False
    parameters = signature(backend.authenticate).parameters
    # **credentials, as in allauth, includes a password.
    return "password" in parameters or any(item.kind is item.VAR_KEYWORD for item in parameters.values())


def _comes_from(packages: tuple[str, ...], backend: type[Any]) -> bool:
    return any(base.__module__.startswith(packages) for base in backend.__mro__)


def _signs_in() -> bool:
    """Return whether the project creates or accepts tokens. Others may use the package for its user model only."""
    from dovetail_identity.api.authentication import JWTAuthentication

    # The stubs know the paths of the setting, and not that api_settings imports them.
    authenticators = cast("Sequence[type]", api_settings.DEFAULT_AUTHENTICATION_CLASSES)
    if any(issubclass(authenticator, JWTAuthentication) for authenticator in authenticators):
        return True
    return hasattr(settings, "ROOT_URLCONF") and "dovetail_identity" in get_resolver().app_dict


def _cache() -> BaseCache | None:
    try:
        return caches[conf.CACHE]
    except (InvalidCacheBackendError, TypeError):
        return None


def _ambiguous_email() -> models.Field[Any, Any] | None:
    field: models.Field[Any, Any] | None = email_field(get_user_model())
    return None if field is None or _unique_in_any_case(field) else field


def _unique_hint(field: models.Field[Any, Any]) -> str:
    return (
        "Make it a unique dovetail_identity.fields.NormalizedEmailField, or add "
        f"UniqueConstraint(Lower({field.name!r}), name=…). First, change rows that differ only by case."
    )


def _unique_in_any_case(field: models.Field[Any, Any]) -> bool:
    # The collation of a unique column is assumed to ignore case.
    if field.unique and (isinstance(field, NormalizedEmailField) or getattr(field, "db_collation", None)):
        return True
    return any(
        isinstance(constraint, models.UniqueConstraint)
        and [_folded(expression) for expression in constraint.expressions] == [field.name]
        for constraint in field.model._meta.constraints
    )


def _folded(expression: object) -> str | None:
    if not isinstance(expression, Lower | Upper):
        return None
    inner = expression.get_source_expressions()[0]
    return inner.name if isinstance(inner, models.F) else None  # type: ignore[attr-defined]  # missing in the stubs
