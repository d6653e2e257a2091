"""Every rule that signs people in and changes or ends their accounts. Works on any ``AUTH_USER_MODEL``."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict, TypeVar

from django.contrib.auth import authenticate, get_user_model
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import update_last_login
from django.core.exceptions import ValidationError
from django.db import router, transaction
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_variables
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import RefreshToken, Token, UntypedToken
from rest_framework_simplejwt.utils import get_md5_hash_password

from dovetail_core.events import emit
from dovetail_core.net import client_network
from dovetail_core.secrets import keyed_hash
from dovetail_identity import events

T = TypeVar("T", bound=Token)

logger = logging.getLogger("dovetail.identity")


class Tokens(TypedDict):
    access: str
    refresh: str


@sensitive_variables("password")
def sign_in(*, username: str, password: str, request: HttpRequest) -> Tokens | None:
    """A token pair for the account that ``username`` (its ``USERNAME_FIELD``) and ``password`` name, or None.

    None does not tell an unknown name from a wrong password, an inactive account or a name that several accounts
    have: each takes one query and one password hash. Emits ``user.signed_in`` or ``user.sign_in_failed``.
    """
    user = _authenticate(username, password, request)
    if user is None or not api_settings.USER_AUTHENTICATION_RULE(user):
        emit(
            events.USER_SIGN_IN_FAILED,
            data={
                "amr": ["pwd"],
                "identifier_hash": keyed_hash("dovetail_identity.sign_in", username.strip().casefold()),
                "network": _network(request),
            },
        )
        return None
    return issue_tokens(user, request=request)


def issue_tokens(user: Any, *, request: HttpRequest | None, amr: Sequence[str] = ("pwd",)) -> Tokens:
    """Sign ``user`` in: a simplejwt pair with its lifetimes and claims from ``SIMPLE_JWT``.

    ``amr`` says how the person proved who they are (RFC 8176: ``pwd``, ``otp``, …); it and ``auth_time`` (seconds
    since 1970, OpenID Connect Core 2) are claims of both tokens. ``request`` is where it came from, None outside a
    request. Raises ``TokenError`` for an account that may not sign in. Emits ``user.signed_in``.
    """
    if not api_settings.USER_AUTHENTICATION_RULE(user):
        raise TokenError(_("No active account found with the given credentials"))
    using = _alias(user)
    with transaction.atomic(using=using):
        token = RefreshToken.for_user(user)
        token["amr"] = list(amr)
        token["auth_time"] = token["iat"]
        if api_settings.UPDATE_LAST_LOGIN and _has_field(user, "last_login"):
            update_last_login(None, user)  # type: ignore[arg-type]  # a signal receiver, called as simplejwt calls it
        data = {"amr": list(amr), "network": _network(request)}
        emit(events.USER_SIGNED_IN, actor=user, target=user, data=data, using=using)
    return {"access": str(token.access_token), "refresh": str(token)}


def refresh_tokens(refresh: str, *, request: HttpRequest | None) -> Tokens:
    """The pair that follows ``refresh``: by ``ROTATE_REFRESH_TOKENS`` with a new refresh token or with the same one.

    Raises ``TokenError`` for a token that is malformed, forged, expired, revoked or not a refresh token, and for an
    account that is gone or may not sign in any more.
    """
    token = _parse(RefreshToken, refresh)
    user = account_of(token)
    if not api_settings.ROTATE_REFRESH_TOKENS:
        return {"access": str(token.access_token), "refresh": refresh}
    with transaction.atomic(using=_alias(user)):
        if api_settings.BLACKLIST_AFTER_ROTATION and hasattr(token, "blacklist"):
            token.blacklist()
        token.set_jti()
        token.set_exp()
        token.set_iat()
        token.outstand()
    return {"access": str(token.access_token), "refresh": str(token)}


def verify_token(token: str) -> None:
    """Raise ``TokenError`` unless an endpoint would take this access token, or the refresh endpoint this one."""
    verified: Token = _parse(UntypedToken, token)
    if verified.get(api_settings.TOKEN_TYPE_CLAIM) == RefreshToken.token_type:
        verified = _parse(RefreshToken, token)  # which asks simplejwt's blacklist, where that is installed
    account_of(verified)


def account_of(token: Token) -> Any:
    """The user whom a verified token names. Raises ``TokenError`` where there is none who may sign in."""
    model = get_user_model()
    user_id = token.get(api_settings.USER_ID_CLAIM)
    user: Any
    try:
        user = model._default_manager.get(**{api_settings.USER_ID_FIELD: user_id})
    except (model.DoesNotExist, ValidationError, ValueError, TypeError):
        # The latter three: "42" from the time before the primary key became a UUID.
        user = None
    if not api_settings.USER_AUTHENTICATION_RULE(user):
        raise TokenError(_("No active account found for the given token."))
    revocable = api_settings.CHECK_REVOKE_TOKEN
    if revocable and token.get(api_settings.REVOKE_TOKEN_CLAIM) != get_md5_hash_password(user.password):
        raise TokenError(_("The user's password has been changed."))
    return user


def update_user(user: Any, *, changes: Mapping[str, Any]) -> None:
    """Write ``changes`` (field name to validated value) and nothing else of ``user``. Emits ``user.updated``."""
    changed = {name: value for name, value in changes.items() if getattr(user, name) != value}
    if not changed:
        return
    for name, value in changed.items():
        setattr(user, name, value)
    using = _alias(user)
    # A whole save would write back the password and the rights as they were when this request began.
    stamps = [field.name for field in user._meta.concrete_fields if getattr(field, "auto_now", False)]
    with transaction.atomic(using=using):
        user.save(update_fields=[*changed, *stamps], using=using)
        emit(events.USER_UPDATED, target=user, data={"fields": sorted(changed)}, using=using)


def delete_user(user: Any) -> None:
    """Delete the account and what the database cascades to. ``user`` keeps its primary key; emits ``user.deleted``.

    Raises ``ProtectedError`` or ``RestrictedError`` where a foreign key forbids it, and whatever a ``pre_delete``
    receiver raises; then nothing has changed.
    """
    using, user_id = _alias(user), user.pk
    with transaction.atomic(using=using):
        user.delete(using=using)
        # Receivers and the request's principal still have to say who this was.
        user.pk = user_id
        # After the deletion: a protecting foreign key refuses many, and the log must not say they happened.
        emit(events.USER_DELETED, target=user, data={"user_id": str(user_id)}, using=using)


@sensitive_variables("password")
def _authenticate(username: str, password: str, request: HttpRequest) -> Any:
    model = get_user_model()
    # As Django's login form does: accounts are stored under the normal form.
    username = model.normalize_username(username)
    if _possible(model, username):
        try:
            return authenticate(request, **{model.USERNAME_FIELD: username, "password": password})
        except model.MultipleObjectsReturned:
            logger.warning(
                "Sign-in refused: several rows of %s have the %s that was given. Make it unique in any case.",
                model._meta.label,
                model.USERNAME_FIELD,
            )
    # As ModelBackend does for an unknown name, so that the answer takes no less time.
    make_password(password)
    return None


def _possible(model: Any, username: str) -> bool:
    """Whether the field could hold it: a staff number or UUID is asked for in the query and would raise there."""
    try:
        model._meta.get_field(model.USERNAME_FIELD).to_python(username)
    except ValidationError:
        return False
    return True


def _parse(kind: type[T], encoded: Any) -> T:
    # encoded is Any because simplejwt annotates the string that it takes as a Token.
    return kind(encoded)


def _network(request: HttpRequest | None) -> str | None:
    return None if request is None else client_network(request)


def _has_field(user: Any, name: str) -> bool:
    return any(field.name == name for field in user._meta.concrete_fields)


def _alias(user: Any) -> str:
    return router.db_for_write(user.__class__, instance=user)
