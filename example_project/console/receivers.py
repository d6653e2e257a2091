"""Receivers of the packages' domain events, which send notifications and hints.

A receiver runs in the transaction of its event, so the inbox rows are committed if and only if the event's changes are.
Hints are sent after commit.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import transaction

from console.invitations import notify_invited_person
from console.notifications import (
    APIKeyChanged,
    APIKeyUsedFromNewNetwork,
    AuditLogTampered,
    InvitationAccepted,
    InvoicePaid,
    MemberInvited,
    NewDevice,
    RoleChanged,
    SupportAccessRequested,
    SupportAccessStarted,
)
from console.organizations import managers_of, members_of, owners_and
from dovetail_adminapi.conf import conf as admin_conf
from dovetail_core.accounts import address_of
from dovetail_core.events import Event
from dovetail_core.mail import in_background
from dovetail_core.queues import publish_task
from dovetail_notify import NotificationType, notify
from dovetail_notify.exceptions import ForeignRecipient
from dovetail_notify.realtime import broadcast


def receive(event: Event, **_: Any) -> None:
    if handle := HANDLERS.get(event.name):
        handle(event)


def _invited(event: Event) -> None:
    invitation = event.target
    _managers(event, MemberInvited(organization=invitation.organization.name, role=invitation.role))
    key = str(invitation.pk)

    # The attack: a stranger invites addresses into an organization of their own, and the time of the response reveals
    # who has an account, because only accounts get a notification. So a worker looks the account up, or a thread if
    # there is no broker or it is not available.
    def look_up() -> None:
        # In the context of the request, like a task of Celery, so that logs have its id.
        work = partial(copy_context().run, notify_invited_person, key)
        in_background(work, label=f"The notification of invitation {key}")

    def publish() -> None:
        if not settings.CELERY_BROKER_URL:
            look_up()
            return
        from console import tasks  # imports Celery

        publish_task(tasks.notify_invited_person, key, otherwise=look_up)

    transaction.on_commit(publish, using=event.using, robust=True)


def _invitation_accepted(event: Event) -> None:
    invitation = event.target
    # The system may have invited, and the inviter may have left the organization since.
    inviter = get_user_model()._default_manager.filter(
        pk=invitation.invited_by_id, pk__in=members_of(event.organization_id)
    )
    notification = InvitationAccepted(email=invitation.email, organization=invitation.organization.name)
    notify(notification, to=inviter, organization=event.organization_id, actor=event.actor)


def _role_changed(event: Event) -> None:
    membership = event.target
    notification = RoleChanged(organization=str(membership.organization), role=membership.role)
    notify(notification, to=membership.user_id, organization=event.organization_id, actor=event.actor)


def _api_key_changed(event: Event) -> None:
    _managers(event, APIKeyChanged(prefix=event.data["prefix"], happened=event.name.partition(".")[2]))


def _api_key_moved(event: Event) -> None:
    _managers(event, APIKeyUsedFromNewNetwork(prefix=event.data["prefix"], network=event.data["network"]))


def _invoice_paid(event: Event) -> None:
    _managers(event, InvoicePaid(number=event.data["number"]))


def _new_device(event: Event) -> None:
    notify(NewDevice(device=event.data["device"] or "?", network=event.data["network"]), to=event.target)


def _audit_log_tampered(event: Event) -> None:
    superusers = get_user_model()._default_manager.filter(is_superuser=True, is_active=True)
    notify(AuditLogTampered(findings=sum(event.data["kinds"].values())), to=superusers)


def _support_access_requested(event: Event) -> None:
    # Without consent, the access starts with its request.
    if admin_conf.IMPERSONATION_CONSENT == "required":
        _support_access(event, SupportAccessRequested, reason=event.data["reason"])


def _support_access_started(event: Event) -> None:
    if admin_conf.IMPERSONATION_CONSENT != "none":
        _support_access(event, SupportAccessStarted, reason=event.data["reason"], minutes=event.data["minutes"])


def _support_access(event: Event, kind: Callable[..., NotificationType], **fields: Any) -> None:
    users = get_user_model()._default_manager.filter(pk=event.data["user"])
    account = users.first()
    if account is None:
        return
    key = event.organization_id
    people = users if key is None else owners_and(account.pk, key)
    notify(kind(account=address_of(account), **fields), to=people, organization=key, actor=event.actor)


def _features_changed(event: Event) -> None:
    # The hooks of dovetail_flags run before this hint is sent: they were registered when the flag was saved.
    broadcast("features", using=event.using)


def _managers(event: Event, notification: NotificationType) -> None:
    actor = getattr(event.actor, "pk", None)
    others = managers_of(event.organization_id)
    if isinstance(event.actor, get_user_model()):
        others = others.exclude(pk=actor)
    keys = list(others.values_list("pk", flat=True))
    write = partial(notify, notification, organization=event.organization_id, actor=event.actor)
    try:
        # One statement, where a queryset takes two.
        write(to=keys)
    except ForeignRecipient:
        # A manager has left since the query.
        write(to=others)


HANDLERS: dict[str, Callable[[Event], None]] = {
    "invitation.created": _invited,
    "invitation.accepted": _invitation_accepted,
    "member.role_changed": _role_changed,
    "api_key.created": _api_key_changed,
    "api_key.rotated": _api_key_changed,
    "api_key.expiring": _api_key_changed,
    "api_key.creator_left": _api_key_changed,
    "api_key.used_from_new_network": _api_key_moved,
    "invoice.paid": _invoice_paid,
    "user.new_device": _new_device,
    "audit.tampering_found": _audit_log_tampered,
    "support_access.requested": _support_access_requested,
    "support_access.started": _support_access_started,
    "feature.created": _features_changed,
    "feature.updated": _features_changed,
    "feature.enabled": _features_changed,
    "feature.disabled": _features_changed,
    "feature.archived": _features_changed,
    "feature.reverted": _features_changed,
}
