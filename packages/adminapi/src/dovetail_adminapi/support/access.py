"""The rules of support access.

An access goes from request to consent to start to end. Each change is one conditional UPDATE, so of two parallel
requests one wins, and the other sees its result. ``actor`` is the administrator, except for the customer's answer.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

from django.contrib.auth import get_user_model
from django.db import router, transaction
from django.db.models import Model, Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from dovetail_adminapi.conf import conf
from dovetail_adminapi.models import SupportAccess
from dovetail_adminapi.permissions.sources import has_more
from dovetail_adminapi.support import events, tokens
from dovetail_adminapi.support.exceptions import (
    AccessOver,
    ConsentRequired,
    InvalidValue,
    OrganizationRequired,
    OwnAccount,
    OwnRequest,
    SupportAccessOff,
    UserInactive,
    UserIsAdministrator,
)
from dovetail_core.accounts import may_sign_in
from dovetail_core.events import emit
from dovetail_core.transactions import retry_on_conflict

#: The longest access, in minutes.
LONGEST: Final = 60
#: How long a request waits for consent, and a consent for its start.
CONSENT_WINDOW: Final = timedelta(days=7)
SCOPES: Final = ("read", "write")


def using() -> str:
    return router.db_for_write(SupportAccess)


def rows() -> QuerySet[SupportAccess]:
    return SupportAccess._base_manager.using(using())


def open_rows(now: datetime) -> QuerySet[SupportAccess]:
    """Return the accesses that have neither ended nor expired: pending, approved or running."""
    waiting = Q(started_at=None, requested_at__gt=now - CONSENT_WINDOW)
    return rows().filter(waiting | Q(started_at__isnull=False, expires_at__gt=now), ended_at=None)


def request_support_access(
    *,
    user: Model,
    actor: Any,
    reason: str,
    ticket: str = "",
    minutes: int = 30,
    scope: str = "read",
    organization: object = None,
) -> SupportAccess:
    """Ask for access to the account of ``user`` for ``minutes`` (1 to 60). Start it if no consent is required.

    ``organization`` is the key of the one organization whose rows the access shows, by default the user's only one.
    Raise ``InvalidValue``, ``OrganizationRequired``, ``OwnAccount``, ``UserInactive``, ``UserIsAdministrator`` or
    ``SupportAccessOff``. Emits ``support_access.requested``, and ``support_access.started`` if it starts.
    """
    if not conf.IMPERSONATION:
        raise SupportAccessOff
    reason = reason.strip()
    if not reason:
        raise InvalidValue("reason", _("Say why: the customer and the record show it."), "reason_required")
    if not 1 <= minutes <= LONGEST:
        raise InvalidValue("minutes", _("Must be from 1 to %(longest)d.") % {"longest": LONGEST})
    if scope not in SCOPES:
        raise InvalidValue("scope", _("Must be one of: %(choices)s.") % {"choices": ", ".join(SCOPES)})
    require_accessible(user, actor)
    return _request(
        SupportAccess(
            admin_key=str(actor.pk),
            user_key=str(user.pk),
            organization_key=_organization_of(user, organization),
            reason=reason,
            ticket=ticket.strip(),
            minutes=minutes,
            scope=scope,
            requested_at=timezone.now(),
        ),
        user,
        actor,
    )


@retry_on_conflict
def _request(access: SupportAccess, user: Model, actor: Any) -> SupportAccess:
    with transaction.atomic(using=using()):
        access.save(using=using(), force_insert=True)
        _emit(events.SUPPORT_ACCESS_REQUESTED, access, actor)
        if conf.IMPERSONATION_CONSENT != "required":
            _start(access, user, actor)
    return access


@retry_on_conflict
def approve_support_access(access: SupportAccess, *, actor: Any) -> SupportAccess:
    """Record the customer's consent. Return the access, also if it was approved before. Raise ``AccessOver``.

    Raise ``OwnRequest`` if ``actor`` is the administrator who asks. Emits ``support_access.approved``.
    """
    if str(actor.pk) == access.admin_key:
        raise OwnRequest
    now = timezone.now()
    with transaction.atomic(using=using()):
        unanswered = open_rows(now).filter(pk=access.pk, approved_at=None, started_at=None)
        if unanswered.update(approved_at=now, approved_by=str(actor.pk)):
            access.refresh_from_db(using=using())
            _emit(events.SUPPORT_ACCESS_APPROVED, access, actor)
        else:
            _refresh_open(access, now)
    return access


@retry_on_conflict
def start_support_access(access: SupportAccess, *, actor: Any) -> tuple[SupportAccess, str]:
    """Start an access of ``actor``, or return the running one. The second value is its token, which is a secret.

    Raise ``ConsentRequired``, ``AccessOver``, or the refusals of ``request_support_access()``: the user may have become
    an administrator since. Emits ``support_access.started``.
    """
    if not conf.IMPERSONATION:
        raise SupportAccessOff
    if str(actor.pk) != access.admin_key:
        raise AccessOver
    user = get_user_model()._default_manager.filter(pk=access.user_key).first()
    if user is None:
        raise AccessOver
    require_accessible(user, actor)
    with transaction.atomic(using=using()):
        if not access.started_at:
            _start(access, user, actor)
        _refresh_open(access, timezone.now())
    return access, issue(access, user, actor)


def issue(access: SupportAccess, user: Model, actor: Any) -> str:
    """Return the token of a running access: that of ``ADMINAPI_IMPERSONATION_ISSUER``, or our own."""
    issuer: Callable[..., str] | None = conf.IMPERSONATION_ISSUER
    if issuer is None:
        return tokens.token_of(access.pk)
    return issuer(user, actor=actor, scope=access.scope, expires=access.expires_at)


@retry_on_conflict
def end_support_access(access: SupportAccess, *, actor: Any = None) -> bool:
    """End an access, running or not. Its token is refused from the next request on. Return False if it had ended.

    Emits ``support_access.ended``.
    """
    now = timezone.now()
    with transaction.atomic(using=using()):
        ended = bool(rows().filter(pk=access.pk, ended_at=None).update(ended_at=now))
        if ended:
            access.ended_at = now
            _emit(events.SUPPORT_ACCESS_ENDED, access, actor)
    return ended


def end_support_accesses_of(admin_key: str) -> int:
    """End all accesses of an administrator, whose session or account has ended. Return their number."""
    accesses = open_rows(timezone.now()).filter(admin_key=admin_key)
    return sum(end_support_access(access) for access in accesses.order_by("pk"))


def state_of(access: SupportAccess, now: datetime | None = None) -> str:
    """Return ``pending``, ``approved``, ``active``, ``expired`` or ``ended``."""
    now = now or timezone.now()
    if access.ended_at is not None:
        return "ended"
    if access.started_at is not None:
        return "active" if access.expires_at is not None and access.expires_at > now else "expired"
    if access.requested_at <= now - CONSENT_WINDOW:
        return "expired"
    return "pending" if access.approved_at is None else "approved"


def require_accessible(user: Any, actor: Any) -> None:
    """Raise ``OwnAccount``, ``UserInactive`` or ``UserIsAdministrator``.

    The attack: an administrator with few rights takes those of another one. So an account that is staff, or has a
    permission that the administrator lacks, is closed to support.
    """
    if str(user.pk) == str(actor.pk):
        raise OwnAccount
    if not may_sign_in(user):
        raise UserInactive
    if getattr(user, "is_staff", False) or getattr(user, "is_superuser", False):
        raise UserIsAdministrator
    if has_more(user, actor):
        raise UserIsAdministrator


def _organization_of(user: Model, organization: object) -> str:
    of_user: Callable[[Model], Any] | None = conf.IMPERSONATION_ORGANIZATIONS
    keys = [] if of_user is None else [str(key) for key in of_user(user)]
    if organization is None and len(keys) < 2:
        return keys[0] if keys else ""
    if organization is None or str(organization) not in keys:
        raise OrganizationRequired(keys)
    return str(organization)


def _start(access: SupportAccess, user: Model, actor: Any) -> None:
    now = timezone.now()
    waiting = open_rows(now).filter(pk=access.pk, started_at=None)
    if conf.IMPERSONATION_CONSENT == "required":
        waiting = waiting.filter(approved_at__isnull=False)
    if waiting.update(started_at=now, expires_at=now + timedelta(minutes=access.minutes)):
        access.refresh_from_db(using=using())
        _emit(events.SUPPORT_ACCESS_STARTED, access, actor)
        return
    _refresh_open(access, now)
    if access.started_at is None:
        raise ConsentRequired


def _refresh_open(access: SupportAccess, now: datetime) -> None:
    access.refresh_from_db(using=using())
    if state_of(access, now) in ("ended", "expired"):
        raise AccessOver


def _emit(name: str, access: SupportAccess, actor: Any) -> None:
    data = {
        "support_access": str(access.pk),
        "user": access.user_key,
        "scope": access.scope,
        "minutes": access.minutes,
        "reason": access.reason,
        "ticket": access.ticket,
    }
    emit(name, actor=actor, organization_id=access.organization_key or None, target=access, data=data, using=using())
