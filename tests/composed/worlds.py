"""Many small organizations with one row of each kind, written in bulk, and a valid request for each write operation."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any
from uuid import uuid4

from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import make_password
from django.db.models import Model
from django.utils import timezone

from billing.models import Customer, Invoice, InvoiceLine
from console.notifications import MemberInvited
from dovetail_adminapi.models import SupportAccess
from dovetail_apikeys import get_api_key_model
from dovetail_apikeys.verification import verifiers
from dovetail_audit.entries.building import build
from dovetail_audit.models import Entry
from dovetail_core.secrets import keyed_hash, random_token
from dovetail_flags import get_flag_model
from dovetail_flags.services import create_flag
from dovetail_identity.models import Registration, Session
from dovetail_identity.registration.link_tokens import registration_token, reset_token
from dovetail_identity.sessions.tokens import first_refresh_token
from dovetail_magiclink import get_magic_link_model
from dovetail_magiclink.accounts import address_key
from dovetail_magiclink.secrets.codes import hash_of_key
from dovetail_notify import get_notification_model
from dovetail_notify.models import Device
from dovetail_tenancy import get_membership_model, get_organization_model, unscoped
from dovetail_tenancy.models import Invitation
from dovetail_tenancy.services.invitations import pending_key
from tests.composed.factories import PASSWORD

#: The key of a flag of the project. Flags belong to no organization.
FLAG = "unread-in-title"


@dataclass(frozen=True)
class Person:
    user: Any
    session: Session
    access: str
    refresh: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.access}"}


@dataclass(frozen=True, kw_only=True)
class World:
    """An organization with two owners, a person whom it invites, and one row of each kind."""

    owner: Person
    partner: Person
    invited: Person
    organization: Any
    membership: Any
    partner_membership: Any
    idle_customer: Customer
    invoice: Invoice
    invitation: Invitation
    invitation_token: str
    api_key: Any
    notification: Any
    device: Device
    registration: Registration
    link_key: str
    entry: Entry
    support_access: SupportAccess

    def url(self, path: str) -> str:
        """Return the path with the keys of this world's rows."""
        rows = {
            "organization_id": self.organization,
            "membership_id": self.membership,
            "invitation_id": self.invitation,
            "api_key_id": self.api_key,
            "notification_id": self.notification,
            "device_id": self.device,
            "session_id": self.owner.session,
            "entry_id": self.entry,
            "access_id": self.support_access,
            # The same name in two paths.
            "/api/v1/customers/{id}": self.idle_customer,
            "/api/v1/invoices/{id}": self.invoice,
        }
        path = path.replace("{key}", FLAG)
        return re.sub(r"{(\w+)}", lambda match: str((rows.get(match[1]) or rows[path]).pk), path)


def _invoice(world: World) -> dict[str, Any]:
    lines = [{"description": "Staplers", "quantity": "2", "unit_price": "9.95"}]
    dates = {"issued_on": "2026-01-01", "due_on": "2026-01-31"}
    return {"number": "N-2", "customer": str(world.idle_customer.pk), "status": "paid", "lines": lines, **dates}


def _customer(world: World) -> dict[str, Any]:
    return {"name": "Bill", "email": "bill@example.com"}


def _refresh(world: World) -> dict[str, Any]:
    return {"refresh": world.owner.refresh}


#: The body of each operation that has one.
BODIES: dict[str, Callable[[World], Any]] = {
    "api_keys_create": lambda _: {"name": "Till", "scopes": ["invoices:read"]},
    "api_keys_partial_update": lambda _: {"name": "Shop", "scopes": []},
    "api_keys_rotate_create": lambda _: {"grace": 60},
    "customers_create": _customer,
    "customers_partial_update": lambda _: {"status": "archived"},
    "customers_update": _customer,
    "email_verify_create": lambda world: {"token": registration_token(world.registration)},
    "invitations_accept_create": lambda world: {"token": world.invitation_token},
    "invitations_decline_create": lambda world: {"token": world.invitation_token},
    "invoices_create": _invoice,
    "invoices_partial_update": lambda world: {"status": "paid", "lines": _invoice(world)["lines"]},
    "invoices_update": lambda world: {**_invoice(world), "number": "N-3"},
    "jwt_logout_create": _refresh,
    "jwt_refresh_create": _refresh,
    "jwt_token_create": lambda world: {"email": world.owner.user.email, "password": PASSWORD},
    "jwt_verify_create": lambda world: {"token": world.owner.access},
    "magic_request_create": lambda world: {"email": world.owner.user.email},
    "magic_verify_create": lambda world: {"k": world.link_key},
    "me_partial_update": lambda world: {"first_name": uuid4().hex},
    "notification_preferences_partial_update": lambda _: [
        {"type": "*", "channel": "email", "mode": "off"},
        {"type": "*", "channel": "in_app", "mode": "off"},
    ],
    "notifications_mark_read": lambda world: {"ids": [world.notification.pk]},
    "notifications_partial_update": lambda _: {"archived": True},
    "organizations_create": lambda _: {"name": "Initrode"},
    "organizations_invitations_create": lambda world: {"email": f"new-{world.invited.user.email}", "role": "member"},
    "organizations_members_partial_update": lambda _: {"role": "admin"},
    "organizations_partial_update": lambda _: {"name": uuid4().hex},
    "organizations_transfer_ownership_create": lambda world: {"member": str(world.partner_membership.pk)},
    "password_change_create": lambda _: {"current_password": PASSWORD, "new_password": "correct-horse-staple"},
    "password_reset_confirm_create": lambda world: {
        "token": reset_token(world.owner.user),
        "password": "correct-horse-staple",
    },
    "password_reset_create": lambda world: {"email": world.owner.user.email},
    "push_devices_create": lambda world: {"kind": "fcm", "token": world.device.token},
    "register_create": lambda world: {"email": f"new-{world.owner.user.email}", "password": PASSWORD},
}
#: The person who sends a request, if it is not the owner.
SENDERS = {"invitations_accept_create": "invited"}


def make_worlds(count: int) -> list[World]:
    """Write the rows of all worlds with one statement per model: made one by one, they cost more than the requests."""
    rows: dict[type[Model], list[Any]] = {}

    def add(row: Any) -> Any:
        rows.setdefault(type(row), []).append(row)
        return row

    # Hashed once.
    password = make_password(PASSWORD)
    worlds = [_world(add, password) for _ in range(count)]
    with unscoped(reason="worlds for races"):
        for model, instances in rows.items():
            model._base_manager.bulk_create(instances)
    if not get_flag_model()._base_manager.filter(key=FLAG).exists():
        create_flag(key=FLAG, enabled=True, client_visible=True)
    return worlds


def _world(add: Callable[[Any], Any], password: str) -> World:
    name, now = uuid4().hex, timezone.now()
    later = now + timedelta(hours=1)
    owner, partner, invited = (
        _person(add, get_user_model()(email=f"{role}-{name}@example.com", password=password))
        for role in ("owner", "partner", "invited")
    )
    # Ended by DELETE /me/sessions.
    add(_session(owner.user))
    organization = add(get_organization_model()(name="Initech", slug=name, owner=owner.user))
    membership, partner_membership = (
        add(get_membership_model()(organization=organization, user=person.user, role="owner"))
        for person in (owner, partner)
    )
    idle, billed = (add(Customer(organization=organization, name=name, email=owner.user.email)) for _ in range(2))
    dates = {"issued_on": date(2026, 1, 1), "due_on": date(2026, 1, 31)}
    invoice = add(Invoice(organization=organization, customer=billed, number="N-1", **dates))
    for _ in range(2):
        add(InvoiceLine(organization=organization, invoice=invoice, description="Staplers", quantity=1, unit_price=1))
    invitation_token, link_key, device_token, raw = random_token(), random_token(), random_token(), verifiers.generate()
    invitation = Invitation(organization=organization, email=invited.user.email, role="member", bounded=False)
    invitation.token_hash, invitation.expires_at = keyed_hash("dovetail_tenancy.invitation", invitation_token), later
    invitation.pending_key = pending_key(invitation)
    api_key = get_api_key_model()(organization=organization, name="Till", created_by=owner.user)
    api_key.key_prefix, api_key.hashed_key = verifiers.OURS.prefix_of(raw), verifiers.hashed(raw)
    notification = get_notification_model()(recipient=owner.user, type=MemberInvited.key, title="A", batch=uuid4())
    notification.organization_key, notification.created_at = str(organization.pk), now
    notification.payload = {"organization": "A", "role": "member"}
    device = Device(user=owner.user, kind="fcm", token=device_token)
    device.token_hash = keyed_hash("dovetail_notify.device", f"fcm:{device_token}")
    registration = Registration(email=f"registered-{name}@example.com", password=password)
    registration.created_at, registration.expires_at = now, later
    key = address_key(owner.user.email)
    link = get_magic_link_model()(email=owner.user.email, address_key=key, pending_key=key, expires_at=later)
    # Earlier, because an address may request a mail only once a minute.
    link.key_hash, link.created_at = hash_of_key(link_key), now - timedelta(minutes=5)
    entry = build("customer.created", organization_id=organization.pk, actor=owner.user, target=idle)
    access = SupportAccess(admin_key="1", user_key=str(partner.user.pk), reason="Ticket 7", minutes=5)
    access.organization_key = str(organization.pk)
    for row in (invitation, api_key, notification, device, registration, link, entry, access):
        add(row)
    return World(
        owner=owner,
        partner=partner,
        invited=invited,
        organization=organization,
        membership=membership,
        partner_membership=partner_membership,
        idle_customer=idle,
        invoice=invoice,
        invitation=invitation,
        invitation_token=invitation_token,
        api_key=api_key,
        notification=notification,
        device=device,
        registration=registration,
        link_key=link_key,
        entry=entry,
        support_access=access,
    )


def _person(add: Callable[[Any], Any], user: Any) -> Person:
    session, token = add(_session(add(user))), first_refresh_token(user)
    token.set_position(session.pk, 1)
    return Person(user, session, str(token.access_token), str(token))


def _session(user: Any) -> Session:
    now = timezone.now()
    times = dict.fromkeys(("created_at", "last_used_at", "rotated_at"), now)
    return Session(user=user, expires_at=now + timedelta(days=1), **times)
