"""The notification types of this service.

Their titles are subjects of mails, so names that a stranger chose pass ``display_name``.
"""

from __future__ import annotations

from django.utils.translation import gettext as _

from dovetail_core.mail import display_name
from dovetail_notify import NotificationType, Rendered


class MemberInvited(NotificationType, key="members.invited"):
    organization: str
    role: str

    channels = {"in_app": True, "email": False}
    example = {"organization": "Acme", "role": "member"}

    def render(self) -> Rendered:
        title = _("A new member was invited to %(organization)s with the role %(role)s")
        return Rendered(
            title=title % {"organization": display_name(self.organization), "role": self.role}, url="/members"
        )


class Invited(NotificationType, key="members.you_are_invited"):
    """For the invited person, who also gets a mail with the link."""

    organization: str

    example = {"organization": "Acme"}

    def render(self) -> Rendered:
        return Rendered(
            title=_("You are invited to %(organization)s") % {"organization": display_name(self.organization)}
        )


class InvitationAccepted(NotificationType, key="members.invitation_accepted"):
    """For the person who sent the invitation."""

    email: str
    organization: str

    channels = {"in_app": True, "email": False}
    example = {"email": "ada@example.com", "organization": "Acme"}

    def render(self) -> Rendered:
        title = _("%(email)s accepted your invitation to %(organization)s")
        return Rendered(
            title=title % {"email": self.email, "organization": display_name(self.organization)}, url="/members"
        )


class RoleChanged(NotificationType, key="members.role_changed"):
    organization: str
    role: str

    channels = {"in_app": True, "email": True}
    example = {"organization": "Acme", "role": "admin"}

    def render(self) -> Rendered:
        title = _("Your role in %(organization)s is now %(role)s")
        return Rendered(
            title=title % {"organization": display_name(self.organization), "role": self.role}, url="/members"
        )


class APIKeyChanged(NotificationType, key="api_keys.changed"):
    """An API key was created or rotated, is about to expire, or has lost its creator."""

    prefix: str
    happened: str

    channels = {"in_app": True, "email": True}
    example = {"prefix": "dvt_live_8sJ2", "happened": "created"}

    def render(self) -> Rendered:
        titles = {
            "created": _("The API key %(prefix)s was created"),
            "rotated": _("The API key %(prefix)s was rotated"),
            "expiring": _("The API key %(prefix)s expires soon"),
            "creator_left": _("The API key %(prefix)s stays valid although its creator left"),
        }
        return Rendered(title=titles[self.happened] % {"prefix": self.prefix}, url="/api-keys")

    def collapse_key(self) -> str:
        return f"api_key:{self.prefix}"


class APIKeyUsedFromNewNetwork(NotificationType, key="api_keys.new_network"):
    prefix: str
    network: str

    channels = {"in_app": True, "email": True}
    required = frozenset({"email"})
    example = {"prefix": "dvt_live_8sJ2", "network": "192.0.2.0/24"}

    def render(self) -> Rendered:
        title = _("The API key %(prefix)s was used from a new network, %(network)s")
        return Rendered(title=title % {"prefix": self.prefix, "network": self.network}, url="/api-keys")


class InvoicePaid(NotificationType, key="invoices.paid"):
    number: str

    channels = {"in_app": True, "email": True}
    example = {"number": "A-1"}

    def render(self) -> Rendered:
        return Rendered(title=_("Invoice %(number)s was paid") % {"number": self.number}, url="/invoices")


class AuditLogTampered(NotificationType, key="security.audit_log"):
    """For superusers: the verification of the audit log has found changed or deleted entries."""

    findings: int

    channels = {"in_app": True, "email": True}
    required = frozenset({"in_app", "email"})
    example = {"findings": 2}

    def render(self) -> Rendered:
        body = _("Run manage.py audit_verify, and keep the database and its backups as evidence.")
        return Rendered(title=_("The audit log was tampered with"), body=body)


class SupportAccessRequested(NotificationType, key="security.support_access_requested"):
    """For the user and the owners, who approve the access."""

    account: str
    reason: str

    channels = {"in_app": True, "email": True}
    required = frozenset({"in_app", "email"})
    example = {"account": "ada@example.com", "reason": "The list of invoices is empty"}

    def render(self) -> Rendered:
        title = _("Support asks for access to the account %(account)s")
        body = _("Reason: %(reason)s")
        return Rendered(
            title=title % {"account": self.account}, body=body % {"reason": self.reason}, url="/support-access"
        )


class SupportAccessStarted(NotificationType, key="security.support_access_started"):
    """For the user and the owners: an administrator acts as the user from now on."""

    account: str
    reason: str
    minutes: int

    channels = {"in_app": True, "email": True}
    required = frozenset({"in_app", "email"})
    example = {"account": "ada@example.com", "reason": "The list of invoices is empty", "minutes": 30}

    def render(self) -> Rendered:
        title = _("Support has access to the account %(account)s for %(minutes)d minutes")
        body = _("Reason: %(reason)s")
        return Rendered(
            title=title % {"account": self.account, "minutes": self.minutes},
            body=body % {"reason": self.reason},
            url="/support-access",
        )


class NewDevice(NotificationType, key="security.new_device"):
    device: str
    network: str | None = None

    channels = {"in_app": True, "email": True}
    required = frozenset({"in_app", "email"})
    example = {"device": "Firefox on Windows", "network": "192.0.2.1/32"}

    def render(self) -> Rendered:
        body = _("If this was not you, change your password.")
        return Rendered(
            title=_("New sign-in: %(device)s") % {"device": display_name(self.device)}, body=body, url="/sessions"
        )
