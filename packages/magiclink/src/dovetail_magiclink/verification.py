"""Signing in by a code or the secret of a link."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid4

from django.contrib.auth import get_user_model
from django.contrib.auth.models import update_last_login
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connections, router, transaction
from django.db.models import F
from django.db.models.lookups import LessThan
from django.http import HttpRequest
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from dovetail_core.events import emit
from dovetail_magiclink import events, get_magic_link_model, limits
from dovetail_magiclink.accounts import address_key, has_field, owner_of
from dovetail_magiclink.codes import hash_of_key, hashes_of_code, read_code, read_key
from dovetail_magiclink.conf import conf
from dovetail_magiclink.issuers import token_issuer
from dovetail_magiclink.limits import Reservation
from dovetail_magiclink.models import MagicSignIn
from dovetail_magiclink.networks import wide_network


class By(StrEnum):
    """What a person proved to read the mail by."""

    LINK = "link"
    BOUND_CODE = "bound_code"
    CODE = "code"


@dataclass(frozen=True)
class SignIn:
    """``answer`` is what the token issuer returned."""

    user: Any
    answer: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True)
class Attempt:
    """What was sent, as filters: ``which`` link is meant where that is said, and ``proof`` of having its mail."""

    by: By
    which: Mapping[str, Any]
    proof: Mapping[str, Any] = field(repr=False)


@sensitive_variables()
def verify(
    *,
    token: str,
    key: str | None = None,
    request_id: UUID | str | None = None,
    email: str | None = None,
    request: HttpRequest | None,
) -> Any | None:
    """The user whom a mail was for, once; None for what is wrong, used, superseded, expired or locked.

    ``token`` is the code, or the link's secret, which ``key`` is as well. ``request_id`` or ``email`` say which code is
    meant. Emits ``magic_link.verified``; signs nobody in: :func:`sign_in` does. Attempts are counted in transactions of
    their own: inside one of yours, do not roll it back after None.
    """
    signed_in = _use(_attempt(token, key, request_id, email), request, lambda user: {})
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
    """As :func:`verify`, and what ``MAGIC_LINK_TOKEN_ISSUER`` answers. Where that raises, nothing was used."""
    issue = token_issuer()
    # RFC 8176 knows no mail; a code that is used once is "otp".
    return _use(
        _attempt(token, key, request_id, email), request, lambda user: issue(user, request=request, amr=("otp",))
    )


def last_magic_sign_in(user: Any) -> datetime | None:
    """When ``user`` last signed in by mail."""
    return MagicSignIn._base_manager.filter(user=user.pk).values_list("last_at", flat=True).first()


@sensitive_variables()
def _attempt(token: str, key: str | None, request_id: UUID | str | None, email: str | None) -> Attempt | None:
    if key or read_key(token):
        secret = read_key(key or token)
        return Attempt(By.LINK, {}, {"key_hash": hash_of_key(secret)}) if secret else None
    code = read_code(token)
    if code is None:
        return None
    proof = {"code_hash__in": list(hashes_of_code(code))}
    which: dict[str, Any] = {}
    if email:
        which["pending_key"] = address_key(email)
    if request_id:
        try:
            which["pk"] = request_id if isinstance(request_id, UUID) else UUID(request_id)
        except ValueError:
            return None  # and not a code that was sent alone
    return Attempt(By.BOUND_CODE if which else By.CODE, which, proof)


@sensitive_variables()
def _use(
    attempt: Attempt | None, request: HttpRequest | None, issue: Callable[[Any], Mapping[str, Any] | None]
) -> SignIn | None:
    if attempt is None:
        return None
    model = get_magic_link_model()
    using = router.db_for_write(model)
    live = model._base_manager.using(using).filter(**limits.is_live(timezone.now()))
    reservation = _reserve(attempt, live, request)
    if reservation is None:
        return None
    with transaction.atomic(using=using):
        link = _consume(attempt, live, request, using)
        if link is None:
            return None
        signed_in = _open(link, attempt, request, issue, using)
    if signed_in is not None:
        reservation.refund()
    return signed_in


def _reserve(attempt: Attempt, live: Any, request: HttpRequest | None) -> Reservation | None:
    """Count the attempt before it is compared, and committed: parallel guesses would all see the count from before."""
    if attempt.by == By.LINK:
        return limits.reserve_link(request)
    if attempt.by == By.CODE:
        return None if conf.UNBOUND_CODES == "off" else limits.reserve_code(request)
    counted = _unlocked(live.filter(**attempt.which)).update(attempts=F("attempts") + 1)
    return Reservation() if counted else None


def _unlocked(links: Any) -> Any:
    failures = F("attempts") + F("prior_failures")
    return links.filter(LessThan(failures, conf.MAX_FAILURES), attempts__lt=conf.MAX_ATTEMPTS)


def _consume(attempt: Attempt, live: Any, request: HttpRequest | None, using: str) -> Any:
    """The link of this proof, if this is who used it: one conditional UPDATE, of which one of many succeeds."""
    receipt = uuid4().hex
    links = live.filter(**attempt.which, **attempt.proof)
    if attempt.by == By.CODE:
        # A code that was locked by guesses stays so without its request_id.
        links = _unlocked(links)
        if conf.UNBOUND_CODES == "same_network":
            links = links.filter(network=wide_network(request) or "")
    try:
        with transaction.atomic(using=using):
            used = links.update(used_at=timezone.now(), pending_key=None, code_hash=receipt)
    except IntegrityError:
        return None  # two have the same code, under two peppers: neither can be told from the other
    return links.model._base_manager.using(using).get(code_hash=receipt) if used else None


def _open(
    link: Any,
    attempt: Attempt,
    request: HttpRequest | None,
    issue: Callable[[Any], Mapping[str, Any] | None],
    using: str,
) -> SignIn | None:
    """Sign in the one whom the address belongs to now. None where that is nobody: the code is used all the same."""
    owner = owner_of(link.email)
    created = owner.user is None and not owner.taken and conf.SIGNUP is True
    user = _create(link, request) if created else owner.user
    if user is None:
        return None
    data = {
        "request_id": str(link.pk),
        "by": str(attempt.by),
        "network": limits.network_of(request),
        "created": created,
    }
    emit(events.MAGIC_LINK_VERIFIED, actor=user, target=user, data=data, using=using)
    before = getattr(user, "last_login", None)
    answer = issue(user)
    if answer is None:
        transaction.set_rollback(True, using)
        return None
    _note(user, noted=getattr(user, "last_login", None) != before)
    return SignIn(user, answer)


def _create(link: Any, request: HttpRequest | None) -> Any:
    try:
        with transaction.atomic(using=router.db_for_write(get_user_model())):
            return conf.CREATE_USER(email=link.email, request=request)
    except (IntegrityError, ValidationError):
        return None  # somebody else has the name, or the model takes no such one


def _note(user: Any, *, noted: bool) -> None:
    """When this was: ``last_login``, unless the issuer wrote it, and the row of our own."""
    if not noted and has_field(user, "last_login"):
        update_last_login(None, user)  # type: ignore[arg-type]  # a signal receiver, called as Django calls it
    using = router.db_for_write(MagicSignIn)
    named = connections[using].features.supports_update_conflicts_with_target
    MagicSignIn._base_manager.using(using).bulk_create(
        [MagicSignIn(user_id=user.pk, last_at=timezone.now())],
        update_conflicts=True,
        unique_fields=["user"] if named else None,
        update_fields=["last_at"],
    )
