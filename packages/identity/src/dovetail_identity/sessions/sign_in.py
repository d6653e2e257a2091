"""Sign-in with a password, or with any other authentication method."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from django.contrib.auth import authenticate, get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import update_last_login
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_variables
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.settings import api_settings

from dovetail_core.accounts import has_field
from dovetail_core.events import emit
from dovetail_core.transactions import retry_on_conflict
from dovetail_identity import events
from dovetail_identity.models import Session
from dovetail_identity.sessions import attempts
from dovetail_identity.sessions.clients import address_of, device_label, network_of
from dovetail_identity.sessions.queries import Tokens, alias_of, sessions_of
from dovetail_identity.sessions.tokens import RefreshToken, first_refresh_token

logger = logging.getLogger("dovetail.identity")


@sensitive_variables("password")
def sign_in(*, username: str, password: str, request: HttpRequest) -> Tokens | None:
    """Return a token pair for the account with this ``USERNAME_FIELD`` and password, or None.

    Raises ``TooManyAttempts``, whether the account exists or not. The result is None for an unknown or ambiguous
    username, a wrong password and an inactive account. All of them take two queries and one password hash. Emits
    ``user.signed_in``, ``user.sign_in_failed`` or ``user.sign_in_limited``.
    """
    # Accounts are stored with the normalized username. Django's login form also normalizes it.
    username = get_user_model().normalize_username(username)
    with attempts.managed(request, username) as attempt:
        user = _authenticate(username, password, request)
    if user is None or not api_settings.USER_AUTHENTICATION_RULE(user):
        emit(
            events.USER_SIGN_IN_FAILED,
            data={
                "amr": ["pwd"],
                "identifier_hash": attempt.account,
                "network": network_of(request),
            },
        )
        return None
    attempt.refund()
    tokens = issue_tokens(user, request=request)
    attempt.remember_other_names(user)
    return tokens


@retry_on_conflict
@sensitive_variables("token")
def issue_tokens(user: AbstractBaseUser, *, request: HttpRequest | None, amr: Sequence[str] = ("pwd",)) -> Tokens:
    """Create a session for ``user`` and return its token pair, with lifetimes and claims from ``SIMPLE_JWT``.

    ``amr`` lists the authentication methods (RFC 8176: ``pwd``, ``otp``, …). It and ``auth_time`` (seconds since 1970,
    OpenID Connect Core 2) are claims of both tokens. ``request`` is None outside a request. Raises ``TokenError`` for
    an account that may not sign in, and ``Vanished`` for one that was deleted meanwhile. Emits ``user.signed_in``, and
    ``user.new_device`` if the account has other sessions, all of them on other devices.
    """
    if not api_settings.USER_AUTHENTICATION_RULE(user):
        raise TokenError(_("No active account found with the given credentials"))
    using = alias_of(user)
    token = first_refresh_token(user)
    token["amr"] = list(amr)
    token["auth_time"] = token["iat"]
    now = timezone.now()
    with transaction.atomic(using=using):
        session = Session(
            user=user,  # type: ignore[misc]  # the plugin knows one user model
            device=device_label(request),
            address=address_of(request),
            created_at=now,
            last_used_at=now,
            rotated_at=now,
            expires_at=now + RefreshToken.lifetime,
        )
        session.save(using=using, force_insert=True)
        devices = set(sessions_of(user).exclude(pk=session.pk).values_list("device", flat=True).distinct())
        token.set_position(session.pk, 1)
        if api_settings.UPDATE_LAST_LOGIN and has_field(user, "last_login"):
            update_last_login(None, user)  # type: ignore[arg-type]  # a signal receiver, which simplejwt calls like this
        data = {"session_id": str(session.pk), "amr": list(amr), "network": network_of(request)}
        emit(events.USER_SIGNED_IN, actor=user, target=user, data=data, using=using)
        if devices and session.device not in devices:
            data = {"session_id": str(session.pk), "device": session.device, "network": network_of(request)}
            emit(events.USER_NEW_DEVICE, actor=user, target=user, data=data, using=using)
    attempts.remember_network(user, request)
    return {"access": str(token.access_token), "refresh": str(token)}


@sensitive_variables("password")
def _authenticate(username: str, password: str, request: HttpRequest) -> Any:
    model = get_user_model()
    if _fits_column(username):
        try:
            return authenticate(request, **{model.USERNAME_FIELD: username, "password": password})
        except model.MultipleObjectsReturned:
            logger.warning(
                "Sign-in was rejected: several rows of %s have the same %s. Make it unique regardless of case.",
                model._meta.label,
                model.USERNAME_FIELD,
            )
    # Takes the same time as an existing account. ModelBackend does the same for an unknown username.
    make_password(password)
    return None


def _fits_column(username: str) -> bool:
    """Return whether a query for ``username`` is possible. Text raises an exception for a numeric or UUID column."""
    model: Any = get_user_model()
    try:
        model._meta.get_field(model.USERNAME_FIELD).to_python(username)
    except ValidationError:
        return False
    return True
