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
from django.db.models import Exists, Model, Subquery
from django.http import HttpRequest
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from dovetail_core import accounts
from dovetail_core.commands import Progress, delete_in_batches
from dovetail_core.conf import conf as core
from dovetail_core.mail import within_budget, within_organization_budget
from dovetail_core.secrets import keyed_hash, keyed_hashes
from dovetail_core.transactions import retry_on_conflict
from dovetail_tenancy import events, mail
from dovetail_tenancy.conf import conf, membership_lookups, membership_path
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
from dovetail_tenancy.isolation.scope import get_organization_model
from dovetail_tenancy.models import Invitation
from dovetail_tenancy.organizations.project_models import (
    Actor,
    database_of,
    email_field_name,
    get_membership_model,
    is_person,
    user_model,
)
from dovetail_tenancy.organizations.roles import authorize, call_hook, require_below_limit, require_permission
from dovetail_tenancy.services.members import join, require_role, without_duplicate
from dovetail_tenancy.services.organizations import get_row, lock_organization, lock_row

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
    mail.require_accept_url()
    # Also before the count, and again under the lock: a refused change sends no mail.
    owner: Any = organization
    candidate = Invitation(organization=owner, email=address, role=role)
    _require_invitable(candidate, actor, using=database_of(organization))
    _require_budget(address, organization.pk)
    return _invite(organization, address, role, actor, language)


# Without the count of mails, which is not rolled back: a second attempt would count again.
@retry_on_conflict
def _invite(organization: Model, address: str, role: str, actor: Actor | None, language: str | None) -> Invitation:
    using = database_of(organization)
    with transaction.atomic(using=using):
        locked = lock_organization(organization.pk, using=using)
        invitation = Invitation(organization=locked, email=address, role=role)
        replaces_expired = _require_invitable(invitation, actor, using=using)
        call_hook("BEFORE_INVITE", organization=locked, email=address, role=role, actor=actor)
        _send_with_new_token(invitation, actor, language, replaces_expired=replaces_expired, using=using)
        events.emit_invitation(events.INVITATION_CREATED, invitation, actor=actor, using=using)
    return invitation


def resend_invitation(*, invitation: Invitation, actor: Actor | None = None, language: str | None = None) -> Invitation:
    """Send a pending or expired invitation again, with a new token and expiry; the earlier link stops working.

    ``actor`` becomes the inviter. Raise what ``invite`` raises, or ``InvitationClosed``.
    """
    mail.require_accept_url()
    using = database_of(invitation)
    # As in invite().
    rows = Invitation._base_manager.using(using).select_related("organization")
    current = get_row(rows.filter(pk=invitation.pk))
    _require_invitable(current, actor, using=using)
    _require_budget(invitation.email, invitation.organization_id)
    return _resend(invitation, actor, language)


# As for _invite().
@retry_on_conflict
def _resend(invitation: Invitation, actor: Actor | None, language: str | None) -> Invitation:
    using = database_of(invitation)
    with transaction.atomic(using=using):
        organization = lock_organization(invitation.organization_id, using=using)
        current: Invitation = lock_row(Invitation, invitation.pk, using=using)
        current.organization = organization
        replaces_expired = _require_invitable(current, actor, using=using)
        _send_with_new_token(current, actor, language, replaces_expired=replaces_expired, using=using)
        events.emit_invitation(events.INVITATION_RESENT, current, actor=actor, using=using)
    return current


@retry_on_conflict
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


@retry_on_conflict
@sensitive_variables("token")
def decline_invitation(*, token: str) -> None:
    """Decline the invitation. Raise ``InvalidInvitation`` for an unknown, expired, used or revoked token."""
    invitation = _pending(token)
    using = database_of(invitation)
    with transaction.atomic(using=using):
        _answer(invitation, "declined_at", using=using)
        events.emit_invitation(events.INVITATION_DECLINED, invitation, actor=None, using=using)


@retry_on_conflict
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
    with without_duplicate(invitation.organization, user, using=using), transaction.atomic(using=using):
        _accept(invitation, using=using)
        return _join(invitation, user, using=using)


@retry_on_conflict
@sensitive_variables("token", "tokens")
def sign_up_by_invitation(*, token: str, request: HttpRequest | None) -> tuple[Any, dict[str, str]]:
    """Create the account for the invited address and accept; return the membership and the tokens.

    ``TENANCY_INVITATION_CREATE_USER`` creates the account, ``TENANCY_TOKEN_ISSUER`` the tokens. Raise
    ``AccountExists`` if the address has an account, because an invitation must not bypass its password; otherwise what
    these functions and ``accept_invitation`` raise. The invitation is then still pending.
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
        except (IntegrityError, ValidationError):
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
    lookups = membership_lookups(organization=organization.pk, user=user.pk)
    membership = get_membership_model()._base_manager.using(using).filter(**lookups).first()
    if membership is None:
        membership = join(organization, user, invitation.role, actor=user, is_member=False, using=using)
    events.emit_invitation(events.INVITATION_ACCEPTED, invitation, actor=user, using=using, user_id=str(user.pk))
    return membership


def _require_unanswered(invitation: Invitation) -> None:
    if invitation.status not in ("pending", "expired"):
        raise InvitationClosed(invitation.status)


def _require_invitable(invitation: Invitation, actor: Actor | None, *, using: str) -> bool:
    """Raise what ``invite`` and ``resend_invitation`` raise if the address may not be invited.

    Return whether an expired invitation of the address holds its key. Decisive only while the organization is locked.
    One query.
    """
    require_role(invitation.role)
    organization_id, now = invitation.organization_id, timezone.now()
    members = get_membership_model()._base_manager.using(using)
    members = members.filter(**membership_lookups(organization=organization_id))
    others = _others(invitation, using)
    same_address = others.filter(pending_key=pending_key(invitation))
    # Prefixed, because an annotation cannot have the name of a field of a project's organization model.
    facts: dict[str, Any] = {
        "tenancy_is_invited": Exists(same_address.filter(expires_at__gt=now)),
        "tenancy_has_expired": Exists(same_address.filter(expires_at__lte=now)),
    }
    if is_person(actor):
        roles = members.filter(**membership_lookups(user=actor.pk)).values(membership_path("role"))
        facts["tenancy_role"] = Subquery(roles[:1])
    if name := email_field_name():
        same_person = membership_lookups(**{f"user__{name}__iexact": invitation.email})
        facts["tenancy_is_member"] = Exists(members.filter(**same_person))
    organizations = get_organization_model()._base_manager.using(using)
    row = get_row(organizations.filter(pk=organization_id).values(**facts))
    if actor is not None:
        require_permission(row.get("tenancy_role"), "members.invite", invitation.role)
    if not invitation._state.adding:
        _require_unanswered(invitation)
    if row.get("tenancy_is_member"):
        raise AlreadyMember
    if row["tenancy_is_invited"]:
        raise AlreadyInvited
    pending = others.filter(pending_key__isnull=False, expires_at__gt=now)
    require_below_limit("MAX_PENDING_INVITATIONS", pending.count, organization=invitation.organization)
    return bool(row["tenancy_has_expired"])


def _others(invitation: Invitation, using: str) -> Any:
    return _rows().using(using).filter(organization=invitation.organization_id).exclude(pk=invitation.pk)


def pending_key(invitation: Invitation) -> str:
    return hashlib.sha256(f"{invitation.organization_id}:{invitation.email}".encode()).hexdigest()


def _require_budget(address: str, organization_id: object) -> None:
    """Raise ``LimitReached`` if the address or the organization got too many mails.

    The attack: a member fills a stranger's mailbox with invitations. Counted before the organization is locked, because
    a cache that hangs would hold the lock, and before the current link stops working.
    """
    if not within_organization_budget(organization_id):
        raise LimitReached("invitation mails of one organization in an hour", core.MAIL_PER_ORGANIZATION or 0)
    if not within_budget(address, kind="invitation", organization=organization_id):
        raise LimitReached("invitation mails to one address in an hour", core.MAIL_PER_RECIPIENT or 0)


@sensitive_variables("token")
def _send_with_new_token(
    invitation: Invitation, actor: Actor | None, language: str | None, *, replaces_expired: bool, using: str
) -> None:
    invitation.expires_at = timezone.now() + timedelta(days=conf.INVITATION_EXPIRY_DAYS)
    token = keyed_hash(_TOKEN, _subject(invitation))
    invitation.token_hash = keyed_hash(_HASH, token)
    invitation.pending_key = pending_key(invitation)
    if replaces_expired:
        # An expired invitation holds its key until another one replaces it.
        _others(invitation, using).filter(pending_key=invitation.pending_key).update(pending_key=None)
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
