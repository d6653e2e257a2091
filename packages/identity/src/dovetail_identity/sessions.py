"""Sessions and their tokens: how one begins, goes on and ends.

A refresh token carries its session (``sid``) and its generation (``gen``) in it. Using one for the first time makes it
the session's newest; only then is its predecessor dead. Each use answers with the successor, which is derived from the
session's row: the same one however often and in parallel it is asked for. So a lost answer costs nothing and a client
that keeps only its first refresh token stays signed in, while a token that comes back after its successor was used is
in two hands, and ends the session (RFC 9700 4.14.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final, TypedDict, TypeVar
from uuid import UUID, uuid5

from django.contrib.auth import get_user_model
from django.contrib.auth.models import update_last_login
from django.core.exceptions import ValidationError
from django.db import router, transaction
from django.db.models import Case, Exists, F, OuterRef, Q, Value, When
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from rest_framework_simplejwt import tokens as simplejwt
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import Token, UntypedToken
from rest_framework_simplejwt.utils import datetime_to_epoch, get_md5_hash_password

from dovetail_core.events import emit
from dovetail_core.net import client_address, client_network
from dovetail_identity import events
from dovetail_identity.devices import device_label
from dovetail_identity.models import Session

T = TypeVar("T", bound=Token)

SESSION_CLAIM: Final = "sid"  # OpenID Connect Front-Channel Logout 1.0
GENERATION_CLAIM: Final = "gen"

#: How long a refresh token still works after its successor was used: as long as a request of another tab may be under
#: way, and too short for a thief to live on.
TOLERANCE: Final = timedelta(seconds=10)


class Tokens(TypedDict):
    access: str
    refresh: str


class Ended(StrEnum):
    """Why a session is over."""

    SIGNED_OUT = "signed_out"
    REVOKED = "revoked"
    REUSED = "reused"
    PASSWORD_CHANGED = "password_changed"  # noqa: S105  # a reason, no password
    PASSWORD_RESET = "password_reset"  # noqa: S105


class RefreshToken(simplejwt.RefreshToken):
    """simplejwt's, without its blacklist and its table of outstanding tokens, which keeps them as they are sent.

    The session's row takes the place of both.
    """

    no_copy_claims: Any = (*simplejwt.RefreshToken.no_copy_claims, GENERATION_CLAIM)

    def check_blacklist(self) -> None:
        pass

    def place(self, session_id: UUID, generation: int) -> None:
        self[SESSION_CLAIM] = str(session_id)
        self[GENERATION_CLAIM] = generation
        self[api_settings.JTI_CLAIM] = uuid5(session_id, str(generation)).hex

    @property
    def position(self) -> tuple[UUID, int]:
        """Session and generation. Raises ``TokenError`` for a token that has none."""
        generation = self.get(GENERATION_CLAIM)
        if type(generation) is not int or not 0 < generation < 2**31 - 1:
            raise TokenError(_("Token is invalid"))
        return session_of(self), generation


def session_of(token: Any) -> UUID:
    """The session that a token (or ``request.auth``) belongs to. Raises ``TokenError`` where it names none."""
    try:
        return UUID(token.get(SESSION_CLAIM))
    except (AttributeError, TypeError, ValueError):
        raise TokenError(_("Token is invalid")) from None


def issue_tokens(user: Any, *, request: HttpRequest | None, amr: Sequence[str] = ("pwd",)) -> Tokens:
    """Sign ``user`` in: a new session and its simplejwt pair, with lifetimes and claims from ``SIMPLE_JWT``.

    ``amr`` says how the person proved who they are (RFC 8176: ``pwd``, ``otp``, …); it and ``auth_time`` (seconds
    since 1970, OpenID Connect Core 2) are claims of both tokens. ``request`` is where it came from, None outside a
    request. Raises ``TokenError`` for an account that may not sign in. Emits ``user.signed_in``, and
    ``user.new_device`` where the account has sessions, but none on such a device.
    """
    if not api_settings.USER_AUTHENTICATION_RULE(user):
        raise TokenError(_("No active account found with the given credentials"))
    using = alias_of(user)
    token = _first_token(user)
    token["amr"] = list(amr)
    token["auth_time"] = token["iat"]
    with transaction.atomic(using=using):
        session = Session(user=user, device=device_label(request), address=_address(request), **_times())
        session.save(using=using, force_insert=True)
        others = set(_sessions(user, using).exclude(pk=session.pk).values_list("device", flat=True).distinct())
        token.place(session.pk, 1)
        if api_settings.UPDATE_LAST_LOGIN and has_field(user, "last_login"):
            update_last_login(None, user)  # type: ignore[arg-type]  # a signal receiver, called as simplejwt calls it
        data = {"session_id": str(session.pk), "amr": list(amr), "network": network_of(request)}
        emit(events.USER_SIGNED_IN, actor=user, target=user, data=data, using=using)
        if others and session.device not in others:
            data = {"session_id": str(session.pk), "device": session.device, "network": network_of(request)}
            emit(events.USER_NEW_DEVICE, actor=user, target=user, data=data, using=using)
    return {"access": str(token.access_token), "refresh": str(token)}


def refresh_tokens(refresh: str, *, request: HttpRequest | None) -> Tokens:
    """A new access token and the successor of ``refresh``.

    Raises ``TokenError`` for a token that is malformed, forged, expired, superseded or not a refresh token, whose
    session is over, or whose account is gone or may not sign in any more. A superseded token revokes its session; call
    this in a transaction of your own, and do not let the error roll that back.
    """
    token = parse(RefreshToken, refresh)
    session_id, generation = token.position
    now = timezone.now()
    using = router.db_for_write(Session)
    _note_use(session_id, generation, request, now, using)
    session = Session._base_manager.using(using).filter(pk=session_id).first()
    if session is None or not session.lives(now) or generation > session.generation:
        raise TokenError(_("The session is over."))
    if not _acceptable(generation, session, now):
        revoke_session(session, reason=Ended.REUSED)
        raise TokenError(_("The session is over."))
    user = _user(token)
    permit(user, token)
    if user.pk != session.user_id:
        raise TokenError(_("The session is over."))
    access = str(token.access_token)
    token.place(session_id, generation + 1)
    token.set_iat(at_time=session.rotated_at)
    token.payload["exp"] = datetime_to_epoch(session.expires_at)
    return {"access": access, "refresh": str(token)}


def verify_token(token: str) -> None:
    """Raise ``TokenError`` unless an endpoint would take this access token, or the refresh endpoint this one."""
    verified: Token = parse(UntypedToken, token)
    condition = Q()
    if verified.get(api_settings.TOKEN_TYPE_CLAIM) == RefreshToken.token_type:
        _session, generation = parse(RefreshToken, token).position
        recent = Q(generation=generation + 1, rotated_at__gte=timezone.now() - TOLERANCE)
        condition = Q(generation__in=(generation - 1, generation)) | recent
    user = account_of(verified, condition)
    permit(user, verified)
    if not user.identity_session_lives:
        raise TokenError(_("The session is over."))


def account_of(token: Token, condition: Q | None = None) -> Any:
    """The user whom a verified token names, in one query, or None; of those who cannot sign in as well.

    Its attribute ``identity_session_lives`` says whether the token's session is there, goes on and meets
    ``condition``.
    """
    session = Session._base_manager.filter(
        condition or Q(), pk=session_of(token), user=OuterRef("pk"), revoked_at=None, expires_at__gt=timezone.now()
    )
    return _user(token, identity_session_lives=Exists(session))


def permit(user: Any, token: Token) -> None:
    """Raise ``TokenError`` unless ``user`` is there, may sign in, and ``token`` is not from before a password.

    The latter only with simplejwt's ``CHECK_REVOKE_TOKEN``.
    """
    if not api_settings.USER_AUTHENTICATION_RULE(user):
        raise TokenError(_("No active account found for the given token."))
    revocable = api_settings.CHECK_REVOKE_TOKEN
    if revocable and token.get(api_settings.REVOKE_TOKEN_CLAIM) != get_md5_hash_password(user.password):
        raise TokenError(_("The user's password has been changed."))


def revoke_session(session: Session, *, reason: str = Ended.REVOKED) -> bool:
    """End one session, its access tokens included. Emits ``session.revoked``; False where it was over already."""
    return bool(_revoke(session.user, Q(pk=session.pk), reason))


def revoke_all_sessions(user: Any, *, reason: str = Ended.REVOKED, keep: UUID | None = None) -> int:
    """End every session of ``user`` except ``keep``, and tell how many. Emits ``session.revoked`` if there was one."""
    return _revoke(user, ~Q(pk=keep) if keep else Q(), reason)


def sign_out(refresh: str) -> None:
    """End the session of this refresh token, superseded or not. Raises ``TokenError`` where it is none of ours."""
    session_id, _generation = parse(RefreshToken, refresh).position
    session = Session._base_manager.select_related("user").filter(pk=session_id, revoked_at=None).first()
    if session is not None:
        revoke_session(session, reason=Ended.SIGNED_OUT)


def live_sessions(user: Any) -> Any:
    """The sessions of ``user`` that go on."""
    return _sessions(user, alias_of(user)).filter(revoked_at=None, expires_at__gt=timezone.now())


def purge_sessions(*, batch: int = 1000) -> int:
    """Delete the sessions that have expired, ``batch`` rows at a time, and tell how many."""
    using = router.db_for_write(Session)
    expired = Session._base_manager.using(using).filter(expires_at__lte=timezone.now()).order_by("expires_at")
    deleted = 0
    while keys := list(expired.values_list("pk", flat=True)[:batch]):
        deleted += Session._base_manager.using(using).filter(pk__in=keys).delete()[0]
    return deleted


def parse(kind: type[T], encoded: Any) -> T:
    # encoded is Any because simplejwt annotates the string that it takes as a Token.
    return kind(encoded)


def network_of(request: HttpRequest | None) -> str | None:
    return None if request is None else client_network(request)


def has_field(user: Any, name: str) -> bool:
    return any(field.name == name for field in user._meta.concrete_fields)


def alias_of(user: Any) -> str:
    return router.db_for_write(user.__class__, instance=user)


def _first_token(user: Any) -> RefreshToken:
    # What the blacklist's for_user adds is a row with the token in it, where that app is installed.
    return Token.for_user.__func__(RefreshToken, user)  # type: ignore[attr-defined, no-any-return]  # of a classmethod


def _note_use(session_id: UUID, generation: int, request: HttpRequest | None, now: datetime, using: str) -> None:
    """One statement makes the generation the newest if it is next, and writes before anything was read.

    A read first would need another after a lost race, and under SQLite's deferred transactions fail with a lock.
    """
    # Whole seconds, as tokens have them: what a database rounds must not make two successors of one.
    stamp = now.replace(microsecond=0)
    next_one = Q(generation=generation - 1)
    rows = Session._base_manager.using(using).filter(
        pk=session_id, generation__in=(generation - 1, generation), revoked_at=None, expires_at__gt=now
    )
    rows.update(
        rotated_at=Case(When(next_one, then=Value(stamp)), default=F("rotated_at")),
        expires_at=Case(When(next_one, then=Value(stamp + RefreshToken.lifetime)), default=F("expires_at")),
        last_used_at=now,
        address=_address(request),
        # Last, because MySQL's assignments see those before them.
        generation=generation,
    )


def _acceptable(generation: int, session: Session, now: datetime) -> bool:
    if generation == session.generation:
        return True
    return generation == session.generation - 1 and now - session.rotated_at <= TOLERANCE


def _revoke(user: Any, which: Q, reason: str) -> int:
    using = alias_of(user)
    with transaction.atomic(using=using):
        # Written before read: SQLite refuses a transaction that read first and was overtaken by another's write.
        now = timezone.now()
        ended: int = _sessions(user, using).filter(which, revoked_at=None).update(revoked_at=now, revoked_reason=reason)
        if ended:
            keys = _sessions(user, using).filter(which, revoked_at=now).values_list("pk", flat=True)
            data = {"session_ids": [str(key) for key in keys], "reason": str(reason)}
            emit(events.SESSION_REVOKED, target=user, data=data, using=using)
    return ended


def _sessions(user: Any, using: str) -> Any:
    return Session._base_manager.using(using).filter(user=user.pk)


def _user(token: Token, **annotations: Any) -> Any:
    """Whom a token names, from the database that is written: a replica may not know of a sign-in or sign-out yet."""
    model = get_user_model()
    users = model._default_manager.using(router.db_for_write(model)).annotate(**annotations)
    try:
        user = users.get(**{api_settings.USER_ID_FIELD: token.get(api_settings.USER_ID_CLAIM)})
    except (model.DoesNotExist, ValidationError, ValueError, TypeError):
        # The latter three: "42" from the time before the primary key became a UUID.
        return None
    return user


def _times() -> dict[str, datetime]:
    now = timezone.now()
    times = dict.fromkeys(("created_at", "last_used_at", "rotated_at"), now)
    return times | {"expires_at": now + RefreshToken.lifetime}


def _address(request: HttpRequest | None) -> str | None:
    address = None if request is None else client_address(request)
    return None if address is None else str(address)
