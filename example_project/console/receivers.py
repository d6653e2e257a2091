"""Receivers of the packages' domain events, which send notifications.

A receiver runs in the transaction of its event, so the inbox rows are committed if and only if the event's changes are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib.auth import get_user_model

from console.notifications import (
    APIKeyChanged,
    APIKeyUsedFromNewNetwork,
    Invited,
    InvoicePaid,
    MemberInvited,
    NewDevice,
    RoleChanged,
)
from console.organizations import managers_of
from dovetail_core.events import Event
from dovetail_notify import NotificationType, notify


def receive(event: Event, **_: Any) -> None:
    if handle := HANDLERS.get(event.name):
        handle(event)


def _invited(event: Event) -> None:
    invitation = event.target
    name = invitation.organization.name
    _managers(event, MemberInvited(organization=name, role=invitation.role))
    # Without an organization, because the invited person is not a member yet.
    invited = get_user_model()._default_manager.filter(email=invitation.email)
    notify(Invited(organization=name), to=invited, actor=event.actor)


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


def _managers(event: Event, notification: NotificationType) -> None:
    actor = getattr(event.actor, "pk", None)
    others = managers_of(event.organization_id)
    if isinstance(event.actor, get_user_model()):
        others = others.exclude(pk=actor)
    notify(notification, to=others, organization=event.organization_id, actor=event.actor)


HANDLERS: dict[str, Callable[[Event], None]] = {
    "invitation.created": _invited,
    "member.role_changed": _role_changed,
    "api_key.created": _api_key_changed,
    "api_key.rotated": _api_key_changed,
    "api_key.expiring": _api_key_changed,
    "api_key.used_from_new_network": _api_key_moved,
    "invoice.paid": _invoice_paid,
    "user.new_device": _new_device,
}
