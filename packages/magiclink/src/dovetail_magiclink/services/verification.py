"""Verify a code or the secret of a link, and sign its owner in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Literal
from uuid import UUID, uuid4

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.sessions.backends.base import SessionBase
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connections, router, transaction
from django.db.models import F, QuerySet
from django.db.models.lookups import LessThan
from django.http import HttpRequest
from django.utils import timezone
from django.utils.functional import Promise
from django.views.decorators.debug import sensitive_variables

from dovetail_core.accounts import has_field
from dovetail_core.events import emit
from dovetail_core.transactions import Vanished, retry_on_conflict
from dovetail_magiclink import events, get_magic_link_model
from dovetail_magiclink.accounts import address_key, owner_of
from dovetail_magiclink.base import AbstractMagicLink
from dovetail_magiclink.conf import conf
from dovetail_magiclink.issuers import reject_foreign, token_issuer
from dovetail_magiclink.models import MagicSignIn
from dovetail_magiclink.secrets.codes import hash_of_key, hashes_of_code, parse_code, parse_key
from dovetail_magiclink.services import limits

Links = QuerySet[AbstractMagicLink]


@dataclass(frozen=True)
class SignIn:
    """``answer`` holds the issuer's keys. ``complete`` is False if the user must pass a second factor first: then it
    holds the page of ``MAGIC_LINK_ALLOWED`` as ``next``, and nobody is signed in.
    """

    user: Any
    answer: Mapping[str, Any] = field(repr=False)
    complete: bool = True


Issue = Callable[[AbstractBaseUser], SignIn | None]


@dataclass(frozen=True)
class Attempt:
    """Filters for a link: ``target`` selects the link that the request names, if any. ``secrets`` matches its mail.

    ``by`` is the part of the mail that was sent. A ``bound_code`` comes with a target, a ``code`` alone.
    """

    by: Literal["link", "bound_code", "code"]
    target: Mapping[str, Any]
    secrets: Mapping[str, Any] = field(repr=False)


@sensitive_variables()
def verify(
    *,
    token: str,
    key: str | None = None,
    request_id: UUID | str | None = None,
    email: str | None = None,
    request: HttpRequest | None,
) -> Any | None:
    """Return the user that a mail was sent to, once. Emit ``magic_link.verified``, but do not sign the user in.

    ``token`` is the code or the secret of the link, and ``key`` is the secret. ``request_id`` or ``email`` name the
    link that a code belongs to.

    Return None if the proof is wrong, used, superseded, expired or locked. Attempts are counted in separate
    transactions: if you call this inside a transaction, do not roll it back after None. ``MAGIC_LINK_ALLOWED`` is not
    called: if your code signs the user in, it must ask for the second factor.
    """
    signed_in = _use(_parse(token, key, request_id, email), request, lambda user: SignIn(user, {}))
    return None if signed_in is None else signed_in.user


@sensitive_variables()
def sign_in(
    *,
    token: str,
    key: str | None = None,
    request_id: UUID | str | None = None,
    email: str | None = None,
    request: HttpRequest | None,
) -> SignIn | None:
    """Verify like :func:`verify`, then call ``MAGIC_LINK_ALLOWED`` and ``MAGIC_LINK_TOKEN_ISSUER``.

    If either raises or rejects the user, the proof stays valid. Both are called again if the transaction loses a race.
    """
    return _use(_parse(token, key, request_id, email), request, partial(_issue, request=request))


def _issue(user: AbstractBaseUser, *, request: HttpRequest | None) -> SignIn | None:
    # The attack: a page of another site sends the attacker's code, and ALLOWED writes the attacker into the visitor's
    # session as the user who must pass the second factor. The session is saved with a response of 403 too.
    if conf.ALLOWED is not None and request is not None:
        reject_foreign(request)
    # Before the issuer: after it, a person who reads the mailbox would be signed in without the second factor.
    decision: object = True if conf.ALLOWED is None else conf.ALLOWED(user, request=request)
    if isinstance(decision, str | Promise) and decision:
        return SignIn(user, {"next": str(decision)}, complete=False)
    if not isinstance(decision, bool):
        raise TypeError(f"MAGIC_LINK_ALLOWED must return True, False or a URL. It returned {decision!r}.")
    if not decision:
        return None
    # RFC 8176 has no value for mail. "otp" is a code that is used once.
    answer = token_issuer()(user, request=request, amr=("otp",))
    return None if answer is None else SignIn(user, answer)


def last_magic_sign_in(user: AbstractBaseUser) -> datetime | None:
    """Return the time of the last sign-in of ``user`` by mail."""
    return MagicSignIn._base_manager.filter(user=user.pk).values_list("last_at", flat=True).first()


@sensitive_variables()
def _parse(token: str, key: str | None, request_id: UUID | str | None, email: str | None) -> Attempt | None:
    if key or parse_key(token):
        secret = parse_key(key or token)
        return Attempt("link", {}, {"key_hash": hash_of_key(secret)}) if secret else None
    code = parse_code(token)
    if code is None:
        return None
    target: dict[str, Any] = {}
    if email:
        target["pending_key"] = address_key(email)
    if request_id:
        try:
            target["pk"] = request_id if isinstance(request_id, UUID) else UUID(request_id)
        except ValueError:
            return None  # not a code that was sent alone
    return Attempt("bound_code" if target else "code", target, {"code_hash__in": list(hashes_of_code(code))})


@sensitive_variables()
def _use(attempt: Attempt | None, request: HttpRequest | None, issue: Issue) -> SignIn | None:
    if attempt is None:
        return None
    model = get_magic_link_model()
    using = router.db_for_write(model)
    live = limits.live_links(model._base_manager.using(using))
    reservation = _reserve(attempt, live, request)
    if reservation is None:
        return None
    try:
        signed_in = _consume_and_sign_in(attempt, live, request, issue, using)
    except Vanished:  # the owner deletes the account at this moment
        return None
    if signed_in is not None:
        reservation.refund()
    return signed_in


@retry_on_conflict
@sensitive_variables()
def _consume_and_sign_in(
    attempt: Attempt, live: Links, request: HttpRequest | None, issue: Issue, using: str
) -> SignIn | None:
    session_key = _session_key(request)
    try:
        with transaction.atomic(using=using):
            link = _consume(attempt, live, request, using)
            return None if link is None else _sign_in_owner(link, attempt, request, issue, using)
    except Exception:
        if request is not None and _session_key(request) != session_key:
            _undo_login(request.session)
        raise


def _session_key(request: HttpRequest | None) -> str | None:
    return getattr(getattr(request, "session", None), "session_key", None)


def _undo_login(session: SessionBase) -> None:
    # The rollback has deleted the row of the new session, and saving the session would fail after the second attempt.
    data = {name: value for name, value in session.items() if not name.startswith("_auth_user_")}
    session.flush()
    session.update(data)


def _reserve(attempt: Attempt, live: Links, request: HttpRequest | None) -> limits.Reservation | None:
    """Count and commit the attempt before it is compared. Otherwise parallel guesses would all see the same count."""
    if attempt.by == "link":
        return limits.reserve_link(request)
    if attempt.by == "code":
        return None if conf.UNBOUND_CODES == "off" else limits.reserve_code(request)
    counted = _unlocked(live.filter(**attempt.target)).update(attempts=F("attempts") + 1)
    return limits.Reservation() if counted else None


def _unlocked(links: Links) -> Links:
    failures = F("attempts") + F("prior_failures")
    return links.filter(LessThan(failures, conf.MAX_FAILURES), attempts__lt=conf.MAX_ATTEMPTS)


def _consume(attempt: Attempt, live: Links, request: HttpRequest | None, using: str) -> AbstractMagicLink | None:
    """Mark the link as used by one conditional UPDATE, and return it to exactly one of several parallel requests."""
    receipt = uuid4().hex
    links = live.filter(**attempt.target, **attempt.secrets)
    if attempt.by == "code":
        # A code that wrong guesses have locked must not open without its request_id.
        links = _unlocked(links)
        if conf.UNBOUND_CODES == "same_network":
            links = links.filter(network=limits.wide_network(request) or "")
    try:
        with transaction.atomic(using=using):
            used = links.update(used_at=timezone.now(), pending_key=None, code_hash=receipt)
    except IntegrityError:
        return None  # two links have the same code, under two peppers, and cannot be told apart
    return links.model._base_manager.using(using).get(code_hash=receipt) if used else None


def _sign_in_owner(
    link: AbstractMagicLink, attempt: Attempt, request: HttpRequest | None, issue: Issue, using: str
) -> SignIn | None:
    """Sign in the current owner of the address. Without an owner, the proof is used nevertheless."""
    owner = owner_of(link.email)
    created = owner.user is None and not owner.taken and conf.SIGNUP is True
    user = _create_user(link, request) if created else owner.user
    if user is None:
        return None
    data = {"request_id": str(link.pk), "by": attempt.by, "network": limits.network_of(request), "created": created}
    emit(events.MAGIC_LINK_VERIFIED, actor=user, target=user, data=data, using=using)
    before = getattr(user, "last_login", None)
    signed_in = issue(user)
    if signed_in is None:
        transaction.set_rollback(True, using)
    elif signed_in.complete:
        _record_sign_in(user, login_recorded=getattr(user, "last_login", None) != before)
    return signed_in


def _create_user(link: AbstractMagicLink, request: HttpRequest | None) -> AbstractBaseUser | None:
    try:
        with transaction.atomic(using=router.db_for_write(get_user_model())):
            user: AbstractBaseUser = conf.CREATE_USER(email=link.email, request=request)
    except (IntegrityError, ValidationError):
        return None  # another user has the user name, or the model rejects it
    return user


def _record_sign_in(user: AbstractBaseUser, *, login_recorded: bool) -> None:
    """Write the time to ``last_login``, unless the issuer did, and to ``MagicSignIn``."""
    if not login_recorded and has_field(user, "last_login"):
        # Django's update_last_login() cannot be imported without django.contrib.auth in INSTALLED_APPS.
        user.last_login = timezone.now()
        user.save(update_fields=["last_login"])
    using = router.db_for_write(MagicSignIn)
    named = connections[using].features.supports_update_conflicts_with_target
    MagicSignIn._base_manager.using(using).bulk_create(
        [MagicSignIn(user_id=user.pk, last_at=timezone.now())],
        update_conflicts=True,
        unique_fields=["user"] if named else None,
        update_fields=["last_at"],
    )
