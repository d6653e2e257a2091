"""Invitations: an e-mail invites one address into one organization with one role.

Only the e-mail holds the token; the row holds a keyed hash of it (OWASP ASVS 5.0 11.4). The token is an HMAC of the
row's key and expiry, so that a worker that gets the key alone can write the mail, and the broker holds no token. A copy
of the database is not enough to compute it: that takes ``DOVETAIL_SECRET_PEPPERS`` or ``SECRET_KEY`` as well. Each time
an invitation is sent its expiry changes, and so does its token. Following the link proves the address.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, timedelta
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, router, transaction
from django.db.models import Model
from django.http import HttpRequest
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from dovetail_core import accounts
from dovetail_core.commands import Progress, delete_in_batches
from dovetail_core.conf import conf as core
from dovetail_core.mail import within_budget
from dovetail_core.secrets import keyed_hash, keyed_hashes
from dovetail_tenancy import events, mail
from dovetail_tenancy.conf import conf
from dovetail_tenancy.exceptions import (
    AccountExists,
    AlreadyInvited,
    AlreadyMember,
    InvalidAddress,
    InvalidInvitation,
    InvitationClosed,
    LimitReached,
    RoleNotAllowed,
    UnknownRole,
    WrongAccount,
)
from dovetail_tenancy.models import Invitation
from dovetail_tenancy.organizations.project_models import (
    Actor,
    database_of,
    email_field_name,
    get_membership_model,
    user_model,
)
from dovetail_tenancy.organizations.roles import authorize, call_hook, require_below_limit
from dovetail_tenancy.services.members import join, require_role
from dovetail_tenancy.services.organizations import lock_organization, lock_row

_DELETED_INVITER = object()
_TOKEN = "dovetail_tenancy.invitation_token"  # noqa: S105  # the purpose of a hash
_HASH = "dovetail_tenancy.invitation"


def invite(
    *, organization: Model, email: str, role: str, actor: Actor | None = None, language: str | None = None
) -> Invitation:
    """Invite the address and return the invitation. The link is sent after the transaction commits.

    ``language`` is the language of the e-mail (default: the active one). Raise ``InvalidAddress``, ``UnknownRole``,
    ``RoleNotAllowed``, ``AlreadyMember``, ``AlreadyInvited``, ``LimitReached`` or ``Gone``, and
    ``ImproperlyConfigured`` if ``TENANCY_INVITATION_ACCEPT_URL`` is not set.
    """
    address = normalize_address(email)
    require_role(role)
    mail.require_accept_url()
    using = database_of(organization)
    with transaction.atomic(using=using):
        locked = lock_organization(organization.pk, using=using)
        authorize(actor, locked.pk, "members.invite", role, using=using)
        call_hook("BEFORE_INVITE", organization=locked, email=address, role=role, actor=actor)
        invitation = Invitation(organization=locked, email=address, role=role)
        _require_not_invited(invitation, using=using)
        _send_with_new_token(invitation, actor, language, using=using)
        events.emit_invitation(events.INVITATION_CREATED, invitation, actor=actor, using=using)
    return invitation


def resend_invitation(*, invitation: Invitation, actor: Actor | None = None, language: str | None = None) -> Invitation:
    """Send a pending or expired invitation again, with a new token and expiry; the earlier link stops working.

    ``actor`` becomes the inviter. Raise what ``invite`` raises, or ``InvitationClosed``.
    """
    mail.require_accept_url()
    using = database_of(invitation)
    with transaction.atomic(using=using):
        lock_organization(invitation.organization_id, using=using)
        current: Invitation = lock_row(Invitation, invitation.pk, using=using)
        require_role(current.role)
        authorize(actor, current.organization_id, "members.invite", current.role, using=using)
        _require_unanswered(current)
        _require_not_invited(current, using=using)
        _send_with_new_token(current, actor, language, using=using)
        events.emit_invitation(events.INVITATION_RESENT, current, actor=actor, using=using)
    return current


def revoke_invitation(*, invitation: Invitation, actor: Actor | None = None) -> None:
    """Invalidate the link. Raise ``RoleNotAllowed``, ``Gone``, and ``InvitationClosed`` for an answered invitation."""
    using = database_of(invitation)
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
    """Decline the invitation. Raise ``InvalidInvitation`` for an unknown, expired, used or revoked token."""
    invitation = _pending(token)
    using = database_of(invitation)
    with transaction.atomic(using=using):
        _answer(invitation, "declined_at", using=using)
        events.emit_invitation(events.INVITATION_DECLINED, invitation, actor=None, using=using)


@sensitive_variables("token")
def accept_invitation(*, token: str, user: AbstractBaseUser) -> Any:
    """Make the user, whose address was invited, a member and return the membership. A member keeps their role.

    Raise ``InvalidInvitation``, also if the inviter can no longer grant the role; ``WrongAccount`` for a user with
    another address; and ``LimitReached``.
    """
    invitation = _pending(token)
    if address_of(user) != invitation.email:
        raise WrongAccount
    using = database_of(invitation)
    with transaction.atomic(using=using):
        _accept(invitation, using=using)
        return _join(invitation, user, using=using)


@sensitive_variables("token", "tokens")
def sign_up_by_invitation(*, token: str, request: HttpRequest | None) -> tuple[Any, dict[str, str]]:
    """Create the account for the invited address and accept; return the membership and the tokens.

    ``TENANCY_INVITATION_CREATE_USER`` creates the account, ``TENANCY_TOKEN_ISSUER`` the tokens. Raise
    ``AccountExists`` if the address has an account, because an invitation must not bypass its password; otherwise what
    ``accept_invitation`` raises.
    """
    invitation = _pending(token)
    if _accounts_with(invitation.email).exists():
        raise AccountExists
    using = database_of(invitation)
    with transaction.atomic(using=using):
        # Before the account is created: the second of two requests with one link fails here and leaves no account.
        _accept(invitation, using=using)
        try:
            with transaction.atomic(using=using):
                user = conf.INVITATION_CREATE_USER(email=invitation.email, invitation=invitation)
        except IntegrityError:
            if _accounts_with(invitation.email).exists():
                raise AccountExists from None
            raise
        membership = _join(invitation, user, using=using)
        tokens = conf.TOKEN_ISSUER(user, request=request, amr=("otp",))
    return membership, dict(tokens)


def purge_invitations(*, batch_size: int = 1000, progress: Progress | None = None) -> int:
    """Delete invitations ``TENANCY_INVITATION_RETENTION_DAYS`` after they expire, in batches. Return their number."""
    before = timezone.now() - timedelta(days=conf.INVITATION_RETENTION_DAYS)
    expired = _rows().filter(expires_at__lt=before).order_by("expires_at")
    return delete_in_batches(expired, batch_size=batch_size, progress=progress)


def normalize_address(email: str) -> str:
    """Return the address as it is stored and compared: lower case and stripped. Raise ``InvalidAddress``."""
    address = accounts.normalize_address(str(email))
    try:
        validate_email(address)
    except ValidationError:
        raise InvalidAddress from None
    if len(address) > 254:  # RFC 5321 4.5.3.1.3
        raise InvalidAddress
    return address


def address_of(user: Model) -> str | None:
    return accounts.normalize_address(accounts.address_of(user)) or None


def _rows() -> Any:
    # Read from the primary database: a lagging replica would not know a new token.
    return Invitation._base_manager.using(router.db_for_write(Invitation))


def _accounts_with(address: str) -> Any:
    name = email_field_name()
    users = user_model()._base_manager.all()
    return users.filter(**{f"{name}__iexact": address}) if name else users.none()


@sensitive_variables("token")
def _pending(token: str) -> Invitation:
    """Return the pending invitation of the token, by one query. Raise ``InvalidInvitation``."""
    invitation: Invitation | None = (
        _rows().filter(token_hash__in=_hashes(token)).select_related("organization", "invited_by").first()
    )
    if invitation is None or invitation.status != "pending":
        raise InvalidInvitation
    return invitation


def _answer(invitation: Invitation, column: str, *, using: str) -> None:
    """Write the answer by one conditional ``UPDATE``, so that a token works once. Raise ``InvalidInvitation``."""
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
    if not unanswered.update(**{column: now, "pending_key": None}):
        raise InvalidInvitation
    setattr(invitation, column, now)
    invitation.pending_key = None


def _accept(invitation: Invitation, *, using: str) -> None:
    """Mark the invitation accepted, under the organization's lock, if its inviter can still grant the role."""
    lock_organization(invitation.organization_id, using=using)
    _answer(invitation, "accepted_at", using=using)
    try:
        require_role(invitation.role)
        if invitation.bounded:
            # The inviter may have been deleted. None would stand for the system, which may grant any role.
            inviter = invitation.invited_by or _DELETED_INVITER
            authorize(inviter, invitation.organization_id, "members.invite", invitation.role, using=using)
    except (RoleNotAllowed, UnknownRole):
        raise InvalidInvitation from None


def _join(invitation: Invitation, user: AbstractBaseUser, *, using: str) -> Any:
    organization = invitation.organization
    call_hook("BEFORE_ACCEPT_INVITATION", invitation=invitation, user=user)
    membership = get_membership_model()._base_manager.using(using).filter(
        organization=organization.pk, user=user.pk
    ).first() or join(organization, user, invitation.role, actor=user, using=using)
    events.emit_invitation(events.INVITATION_ACCEPTED, invitation, actor=user, using=using, user_id=str(user.pk))
    return membership


def _require_unanswered(invitation: Invitation) -> None:
    if invitation.status not in ("pending", "expired"):
        raise InvitationClosed(invitation.status)


def _require_not_invited(invitation: Invitation, *, using: str) -> None:
    """Raise ``AlreadyMember``, ``AlreadyInvited`` or ``LimitReached``. The organization must be locked."""
    organization_id = invitation.organization_id
    if name := email_field_name():
        members = get_membership_model()._base_manager.using(using).filter(organization=organization_id)
        if members.filter(**{f"user__{name}__iexact": invitation.email}).exists():
            raise AlreadyMember
    others = _rows().using(using).filter(organization=organization_id).exclude(pk=invitation.pk)
    same = others.filter(pending_key=pending_key(invitation))
    # An expired invitation holds its key until another one replaces it.
    same.filter(expires_at__lte=timezone.now()).update(pending_key=None)
    if same.exists():
        raise AlreadyInvited
    pending = others.filter(pending_key__isnull=False, expires_at__gt=timezone.now())
    require_below_limit("MAX_PENDING_INVITATIONS", pending.count, organization=invitation.organization)


def pending_key(invitation: Invitation) -> str:
    return hashlib.sha256(f"{invitation.organization_id}:{invitation.email}".encode()).hexdigest()


@sensitive_variables("token")
def _send_with_new_token(invitation: Invitation, actor: Actor | None, language: str | None, *, using: str) -> None:
    # Checked before the current link stops working. The attack: a member fills a stranger's mailbox with invitations.
    if not within_budget(invitation.email, kind=f"invitation:{invitation.organization_id}"):
        raise LimitReached("invitation mails to one address in an hour", core.MAIL_PER_RECIPIENT or 0)
    invitation.expires_at = timezone.now() + timedelta(days=conf.INVITATION_EXPIRY_DAYS)
    token = keyed_hash(_TOKEN, _subject(invitation))
    invitation.token_hash = keyed_hash(_HASH, token)
    invitation.pending_key = pending_key(invitation)
    invitation.invited_by = actor
    invitation.bounded = actor is not None
    invitation.save(using=using)
    mail.send_after_commit(invitation, token=token, language=language, using=using)


@sensitive_variables()
def token_of(invitation: Invitation) -> str | None:
    """Return the token that the stored hash belongs to, or None if its pepper is no longer accepted."""
    # The pepper may have been rotated since the row was written.
    candidates = keyed_hashes(_TOKEN, _subject(invitation))
    return next((token for token in candidates if invitation.token_hash in _hashes(token)), None)


def _subject(invitation: Invitation) -> str:
    return f"{invitation.pk}:{invitation.expires_at.astimezone(UTC).isoformat()}"


def _hashes(token: str) -> list[str]:
    # A JSON string may hold lone surrogates, which UTF-8 cannot encode.
    return list(keyed_hashes(_HASH, token.encode("ascii", "backslashreplace").decode()))
