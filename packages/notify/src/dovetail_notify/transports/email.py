"""The e-mail transport: one message for each delivery or digest, and one connection for each claim."""

from __future__ import annotations

from collections.abc import Sequence
from email.utils import parseaddr
from typing import Any, ClassVar

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core import mail
from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string, select_template

from dovetail_notify.conf import conf
from dovetail_notify.models import Delivery
from dovetail_notify.transports.base import Outcome, Transport
from dovetail_notify.transports.registry import required_channels
from dovetail_notify.transports.unsubscribe_tokens import unsubscribe_token
from dovetail_notify.types import registry


class EmailTransport(Transport):
    """Sends by the project's mailer.

    The templates are ``dovetail_notify/email/<type>.txt`` and ``.html``, else ``notification.txt`` and ``.html``; for
    digests ``digest.txt`` and ``.html``. The ``Message-ID`` is the same on every attempt, so that mailboxes show a
    repeated message once.
    """

    supports_digest: ClassVar[bool] = True

    def send(self, deliveries: Sequence[Delivery]) -> Sequence[Outcome]:
        connection = _connection()
        connection.open()
        try:
            return [self._send_one(connection, delivery) for delivery in deliveries]
        finally:
            connection.close()

    def send_digest(self, user: Any, deliveries: Sequence[Delivery]) -> Outcome:
        newest = _collapsed(deliveries)
        context = {"user": user, "notifications": [_template_context(each) for each in newest], "count": len(newest)}
        message = self._message(deliveries[0], "digest", context, templates=["digest"])
        return _outcome(_connection(), message) if message else Outcome.suppressed("no address")

    def compose(self, delivery: Delivery) -> EmailMultiAlternatives | None:
        """Return the message of a delivery, or None if the recipient has no address."""
        notification = delivery.notification
        context = {
            "user": notification.recipient,
            "notification": _template_context(delivery),
            "unsubscribe": _link(delivery),
        }
        return self._message(delivery, notification.type, context, templates=[notification.type, "notification"])

    def _send_one(self, connection: Any, delivery: Delivery) -> Outcome:
        message = self.compose(delivery)
        return _outcome(connection, message) if message else Outcome.suppressed("no address")

    def _message(
        self, delivery: Delivery, tag: str, context: dict[str, Any], *, templates: Sequence[str]
    ) -> EmailMultiAlternatives | None:
        address = _address(delivery.notification.recipient)
        if not address:
            return None
        text, html = (
            select_template([f"dovetail_notify/email/{name}.{ending}" for name in templates]).render(context)
            for ending in ("txt", "html")
        )
        if tag == "digest":
            subject = render_to_string("dovetail_notify/email/digest_subject.txt", context)
        else:
            subject = delivery.notification.title
        message = EmailMultiAlternatives(
            " ".join(subject.split()), text, to=[address], headers=_headers(delivery, digest=tag == "digest")
        )
        message.attach_alternative(html, "text/html")
        # Anymail passes both to the provider, whose webhooks then name the delivery. Other backends ignore them.
        message.metadata = {"delivery": str(delivery.key)}  # type: ignore[attr-defined]
        message.tags = [tag]  # type: ignore[attr-defined]
        return message


def _connection() -> Any:
    # Django 6.1 introduces mailers and deprecates get_connection().
    return mail.mailers.default if hasattr(mail, "mailers") else mail.get_connection()


def _outcome(connection: Any, message: EmailMultiAlternatives) -> Outcome:
    try:
        connection.send_messages([message])
    except Exception as error:  # noqa: BLE001  # one refused address must not stop the others
        code = getattr(error, "smtp_code", None) or _recipient_refusal(error)
        reason = type(error).__name__ if code is None else f"{type(error).__name__} {code}"
        # A 5yz reply is permanent (RFC 5321 4.2.1).
        return Outcome.dead(reason) if code is not None and 500 <= code < 600 else Outcome.retry(reason)
    status = getattr(message, "anymail_status", None)
    return Outcome.sent(str(getattr(status, "message_id", None) or ""))


def _recipient_refusal(error: Exception) -> int | None:
    """Return the SMTP code with which the only recipient was refused."""
    refused = getattr(error, "recipients", None)
    return next((code for code, _ in refused.values()), None) if isinstance(refused, dict) else None


def _headers(delivery: Delivery, *, digest: bool) -> dict[str, str]:
    domain = parseaddr(settings.DEFAULT_FROM_EMAIL)[1].rpartition("@")[2] or "localhost"
    headers = {"Message-ID": f"<{delivery.key}{'.digest' if digest else ''}@{domain}>"}
    if link := _link(delivery):
        headers |= {"List-Unsubscribe": f"<{link}>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}
    return headers


def _link(delivery: Delivery) -> str:
    cls = registry.get(delivery.notification.type)
    if not conf.UNSUBSCRIBE_URL or (cls is not None and delivery.channel in required_channels(cls)):
        return ""
    token = unsubscribe_token(delivery.notification.recipient, delivery.notification.type, delivery.channel)
    return conf.UNSUBSCRIBE_URL.replace("{token}", token)


def _address(user: Any) -> str:
    return str(getattr(user, getattr(get_user_model(), "EMAIL_FIELD", "email"), "") or "")


def _template_context(delivery: Delivery) -> dict[str, Any]:
    notification = delivery.notification
    url = notification.target_url
    return {
        "title": notification.title,
        "body": notification.body,
        "url": f"{conf.SITE_URL.rstrip('/')}{url}" if url.startswith("/") and conf.SITE_URL else url,
        "created_at": notification.created_at,
        "payload": notification.payload,
        "type": notification.type,
    }


def _collapsed(deliveries: Sequence[Delivery]) -> list[Delivery]:
    """Return the newest delivery of each collapse key, and all that have none; newest first."""
    newest: dict[Any, Delivery] = {}
    for delivery in deliveries:
        newest[delivery.notification.collapse_key or delivery.pk] = delivery
    return sorted(newest.values(), key=lambda delivery: delivery.notification.pk, reverse=True)
