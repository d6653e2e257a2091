"""Invitations: by e-mail, for one address, into one organization, in one role.

The token is in the e-mail and nowhere else; the row keeps its keyed hash. Who follows it has proven the address.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, router, transaction
from django.http import HttpRequest
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from dovetail_core.secrets import keyed_hash, keyed_hashes, random_token
from dovetail_tenancy import events, get_membership_model, mail
from dovetail_tenancy.conf import conf
from dovetail_tenancy.exceptions import (
    AccountExists,
    AlreadyInvited,
    AlreadyMember,
    InvalidAddress,
    InvalidInvitation,
    InvitationClosed,
    RoleNotAllowed,
    UnknownRole,
    WrongAccount,
)
from dovetail_tenancy.models import Invitation
from dovetail_tenancy.organizations import hooks
from dovetail_tenancy.services.locks import authorize, database, email_field, lock_organization, lock_row, user_model
from dovetail_tenancy.services.members import join, require_role

_PURPOSE = "dovetail_tenancy.invitation"


def invite(*, organization: Any, email: str, role: str, actor: Any = None, language: str | None = None) -> Invitation:
    """Invite the address, and send it the link after the transaction.

    ``language`` is the e-mail's (default: the active one). Raises ``InvalidAddress``, ``UnknownRole``,
    ``RoleNotAllowed``, ``AlreadyMember``, ``AlreadyInvited``, ``LimitReached``, ``Gone``, and
    ``ImproperlyConfigured`` where ``TENANCY_INVITATION_ACCEPT_URL`` is not set.
    """
    address = normalized(email)
    require_role(role)
    mail.require_accept_url()
    using = database(organization)
    with transaction.atomic(using=using):
        locked = lock_organization(organization.pk, using=using)
        authorize(actor, locked.pk, "members.invite", role, using=using)
        hooks.ask("BEFORE_INVITE", organization=locked, email=address, role=role, actor=actor)
        invitation = Invitation(organization=locked, email=address, role=role)
        _require_open(invitation, using=using)
        _send_anew(invitation, actor, language, using=using)
        events.emit_invitation(events.INVITATION_CREATED, invitation, actor=actor, using=using)
    return invitation


def resend_invitation(*, invitation: Any, actor: Any = None, language: str | None = None) -> Invitation:
    """Send a pending or expired invitation again, with a new token and term; the link sent before is dead.

    ``actor`` vouches for it from now on. Raises what ``invite`` raises, and ``InvitationClosed``.
    """
    mail.require_accept_url()
    using = database(invitation)
    with transaction.atomic(using=using):
        lock_organization(invitation.organization_id, using=using)
        current: Invitation = lock_row(Invitation, invitation.pk, using=using)
        require_role(current.role)
        authorize(actor, current.organization_id, "members.invite", current.role, using=using)
        _require_unanswered(current)
        _require_open(current, using=using)
        _send_anew(current, actor, language, using=using)
        events.emit_invitation(events.INVITATION_RESENT, current, actor=actor, using=using)
    return current


def revoke_invitation(*, invitation: Any, actor: Any = None) -> None:
    """Make the link worthless. Raises ``RoleNotAllowed``, ``Gone``, and ``InvitationClosed`` for an answered one."""
    using = database(invitation)
    with transaction.atomic(using=using):
        lock_organization(invitation.organization_id, using=using)
        current: Invitation = lock_row(Invitation, invitation.pk, using=using)
        authorize(actor, current.organization_id, "members.invite", current.role, using=using)
        _require_unanswered(current)
        current.revoked_at, current.pending_key = timezone.now(), None
        current.save(update_fields=["revoked_at", "pending_key"], using=using)
        events.emit_invitation(events.INVITATION_REVOKED, current, actor=actor, using=using)


@sensitive_variables("token")
def decline_invitation(*, token: str) -> None:
    """Answer no. Raises ``InvalidInvitation`` for a token that is unknown, expired, used or revoked."""
    invitation = _pending(token)
    using = database(invitation)
    with transaction.atomic(using=using):
        _answer(invitation, "declined_at", using=using)
        events.emit_invitation(events.INVITATION_DECLINED, invitation, actor=None, using=using)


@sensitive_variables("token")
def accept_invitation(*, token: str, user: Any) -> Any:
    """Make the user, whose address was invited, a member; the membership. One who is one already keeps their role.

    Raises ``InvalidInvitation`` also where the inviter could not grant the role any more, ``WrongAccount`` for a user
    with another address, and ``LimitReached``.
    """
    invitation = _pending(token)
    if address_of(user) != invitation.email:
        raise WrongAccount
    using = database(invitation)
    with transaction.atomic(using=using):
        _take(invitation, using=using)
        return _join(invitation, user, using=using)


@sensitive_variables("token", "tokens")
def sign_up_by_invitation(*, token: str, request: HttpRequest | None) -> tuple[Any, dict[str, str]]:
    """Create the account for the invited address and accept: the membership, and what signs the account in.

    By ``TENANCY_INVITATION_CREATE_USER`` and ``TENANCY_TOKEN_ISSUER``. Raises ``AccountExists`` where the address has
    an account: an invitation signs nobody in past their password. Else what ``accept_invitation`` raises.
    """
    invitation = _pending(token)
    if _accounts(invitation.email).exists():
        raise AccountExists
    using = database(invitation)
    with transaction.atomic(using=using):
        # Before the account: of two that follow one link, one is told that it was used, and no account is left over.
        _take(invitation, using=using)
        try:
            with transaction.atomic(using=using):
                user = conf.INVITATION_CREATE_USER(email=invitation.email, invitation=invitation)
        except IntegrityError:
            if _accounts(invitation.email).exists():
                raise AccountExists from None
            raise
        membership = _join(invitation, user, using=using)
        tokens = conf.TOKEN_ISSUER(user, request=request, amr=("otp",))
    return membership, dict(tokens)


def purge_invitations(*, batch_size: int = 1000) -> int:
    """Delete invitations whose term ended ``TENANCY_INVITATION_RETENTION_DAYS`` ago; how many. Each batch commits."""
    before = timezone.now() - timedelta(days=conf.INVITATION_RETENTION_DAYS)
    purged = 0
    over = _rows().filter(expires_at__lt=before).order_by("expires_at")
    while keys := list(over.values_list("pk", flat=True)[:batch_size]):
        # The condition again: one of them may have been sent anew since.
        purged += over.filter(pk__in=keys).order_by().delete()[0]
    return purged


def normalized(email: str) -> str:
    """The address as it is stored and compared: lower case, without spaces around. Raises ``InvalidAddress``."""
    address = str(email).strip().lower()
    try:
        validate_email(address)
    except ValidationError:
        raise InvalidAddress from None
    if len(address) > 254:  # RFC 5321 4.5.3.1.3
        raise InvalidAddress
    return address


def address_of(user: Any) -> str | None:
    """The normalized address of an account, or None where the user model has none."""
    name = email_field()
    return str(getattr(user, name)).strip().lower() if name and getattr(user, name) else None


def _rows() -> Any:
    # The database that is written, also to read: a replica that lags would call a new token unknown.
    return Invitation._base_manager.using(router.db_for_write(Invitation))


def _accounts(address: str) -> Any:
    name = email_field()
    accounts = user_model()._base_manager.all()
    return accounts.filter(**{f"{name}__iexact": address}) if name else accounts.none()


@sensitive_variables("token")
def _pending(token: str) -> Invitation:
    """By one query, whether the token is unknown or not."""
    # A JSON string may hold lone surrogates, which have no UTF-8.
    written = token.encode("ascii", "backslashreplace").decode()
    hashes = list(keyed_hashes(_PURPOSE, written))
    found: Invitation | None = (
        _rows().filter(token_hash__in=hashes).select_related("organization", "invited_by").first()
    )
    if found is None or found.status != "pending":
        raise InvalidInvitation
    return found


def _answer(invitation: Invitation, how: str, *, using: str) -> None:
    """The one statement that uses the token up."""
    now = timezone.now()
    unanswered = (
        _rows()
        .using(using)
        .filter(
            pk=invitation.pk,
            token_hash=invitation.token_hash,
            accepted_at=None,
            declined_at=None,
            revoked_at=None,
            expires_at__gt=now,
        )
    )
    if not unanswered.update(**{how: now, "pending_key": None}):
        raise InvalidInvitation
    setattr(invitation, how, now)
    invitation.pending_key = None


def _take(invitation: Invitation, *, using: str) -> None:
    """Accept under the organization's lock, if who vouches for the invitation still may."""
    lock_organization(invitation.organization_id, using=using)
    _answer(invitation, "accepted_at", using=using)
    try:
        require_role(invitation.role)
        if invitation.bounded:
            # Without a person any more nobody vouches; None would stand for the system.
            inviter = invitation.invited_by or _NOBODY
            authorize(inviter, invitation.organization_id, "members.invite", invitation.role, using=using)
    except (RoleNotAllowed, UnknownRole):
        raise InvalidInvitation from None


_NOBODY = object()


def _join(invitation: Invitation, user: Any, *, using: str) -> Any:
    organization = invitation.organization
    hooks.ask("BEFORE_ACCEPT_INVITATION", invitation=invitation, user=user)
    membership = get_membership_model()._base_manager.using(using).filter(
        organization=organization.pk, user=user.pk
    ).first() or join(organization, user, invitation.role, actor=user, using=using)
    events.emit_invitation(events.INVITATION_ACCEPTED, invitation, actor=user, using=using, user_id=str(user.pk))
    return membership


def _require_unanswered(invitation: Invitation) -> None:
    if invitation.status not in ("pending", "expired"):
        raise InvitationClosed(invitation.status)


def _require_open(invitation: Invitation, *, using: str) -> None:
    """Nobody of this address is in or invited, and there is room for one more invitation. Under the lock only."""
    organization_id = invitation.organization_id
    if name := email_field():
        members = get_membership_model()._base_manager.using(using).filter(organization=organization_id)
        if members.filter(**{f"user__{name}__iexact": invitation.email}).exists():
            raise AlreadyMember
    others = _rows().using(using).filter(organization=organization_id).exclude(pk=invitation.pk)
    same = others.filter(pending_key=pending_key(invitation))
    # An expired one holds its key until another takes its place.
    same.filter(expires_at__lte=timezone.now()).update(pending_key=None)
    if same.exists():
        raise AlreadyInvited
    pending = others.filter(pending_key__isnull=False, expires_at__gt=timezone.now())
    hooks.require_room("MAX_PENDING_INVITATIONS", pending.count, organization=invitation.organization)


def pending_key(invitation: Invitation) -> str:
    return hashlib.sha256(f"{invitation.organization_id}:{invitation.email}".encode()).hexdigest()


@sensitive_variables("token")
def _send_anew(invitation: Invitation, actor: Any, language: str | None, *, using: str) -> None:
    token = random_token()
    invitation.token_hash = keyed_hash(_PURPOSE, token)
    invitation.expires_at = timezone.now() + timedelta(days=conf.INVITATION_EXPIRY_DAYS)
    invitation.pending_key = pending_key(invitation)
    invitation.invited_by = actor
    invitation.bounded = actor is not None
    invitation.save(using=using)
    mail.send_after_commit(invitation, token=token, language=language, using=using)
