"""The e-mail transport, and the signed tokens of its unsubscribe links (RFC 8058)."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from email.utils import parseaddr
from typing import ClassVar

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.core import signing
from django.core.exceptions import ValidationError
from django.core.mail import EmailMultiAlternatives
from django.core.mail.backends.base import BaseEmailBackend
from django.db.models import Model
from django.template.loader import render_to_string

from dovetail_core.accounts import address_of
from dovetail_core.mail import compose, connection, language_of, localized, time_zone_of
from dovetail_notify.conf import conf
from dovetail_notify.exceptions import InvalidLink
from dovetail_notify.models import Delivery
from dovetail_notify.transports import Outcome, Transport, required_channels
from dovetail_notify.types import Rendered, registry

logger = logging.getLogger("dovetail.notify")

# Signed and not stored, because the link in an old mail must work as long as the mail exists.
_SALT = "dovetail_notify.unsubscribe"


class EmailTransport(Transport):
    """Sends by the project's mailer: one message for each delivery or digest, and one connection for each claim.

    The templates are ``dovetail_notify/email/<type>.txt`` and ``.html``, else ``notification.txt`` and ``.html``; for
    digests ``digest.txt`` and ``.html``. The ``Message-ID`` is the same on every attempt, so that mailboxes show a
    repeated message once.
    """

    supports_digest: ClassVar[bool] = True

    def send(self, deliveries: Sequence[Delivery]) -> Sequence[Outcome]:
        backend = connection()
        backend.open()
        try:
            return [_outcome(backend, self.compose(delivery)) for delivery in deliveries]
        finally:
            backend.close()

    def send_digest(self, user: AbstractBaseUser, deliveries: Sequence[Delivery]) -> Outcome:
        newest = _collapsed(deliveries)
        with localized(language_of(user), time_zone_of(user)):
            notifications = [_template_context(delivery) for delivery in newest]
            context = {"user": user, "notifications": notifications, "count": len(newest)}
            subject = render_to_string("dovetail_notify/email/digest_subject.txt", context)
            message = self._message(deliveries[0], "digest", context, templates=["digest"], subject=subject)
        return _outcome(connection(), message)

    def compose(self, delivery: Delivery) -> EmailMultiAlternatives | None:
        """Return the message of a delivery, or None if the recipient has no address.

        The message is in the recipient's language, if the recipient has chosen one and the type is registered; else
        its text is the stored one.
        """
        user, kind = delivery.notification.recipient, delivery.notification.type
        with localized(language_of(user), time_zone_of(user)):
            notification = _template_context(delivery)
            link, subject = notification["url"], str(notification["title"])
            context = {"user": user, "notification": notification, "link": link, "unsubscribe": _link(delivery)}
            return self._message(delivery, kind, context, templates=[kind, "notification"], subject=subject)

    def _message(
        self, delivery: Delivery, tag: str, context: Mapping[str, object], *, templates: Sequence[str], subject: str
    ) -> EmailMultiAlternatives | None:
        recipient = delivery.notification.recipient
        # A user model may compute its address by a property.
        address = address_of(recipient) or getattr(recipient, getattr(recipient, "EMAIL_FIELD", "email"), "")
        if not address:
            return None
        names = [f"dovetail_notify/email/{name}" for name in templates]
        headers = _headers(delivery, digest=tag == "digest")
        message = compose(names, context, subject=subject, to=address, headers=headers)
        # Anymail passes both to the provider, whose webhooks then name the delivery. Other backends ignore them.
        message.metadata = {"delivery": str(delivery.key)}  # type: ignore[attr-defined]
        message.tags = [tag]  # type: ignore[attr-defined]
        return message


def _outcome(backend: BaseEmailBackend, message: EmailMultiAlternatives | None) -> Outcome:
    if message is None:
        return Outcome.suppressed("no address")
    try:
        backend.send_messages([message])
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


def _template_context(delivery: Delivery) -> dict[str, object]:
    notification = delivery.notification
    text = _text_for(delivery)
    return {
        "title": text.title,
        "body": text.body,
        "url": f"{conf.SITE_URL.rstrip('/')}{text.url}" if text.url.startswith("/") and conf.SITE_URL else text.url,
        "created_at": notification.created_at,
        "payload": notification.payload,
        "type": notification.type,
    }


def _text_for(delivery: Delivery) -> Rendered:
    row = delivery.notification
    stored = Rendered(title=row.title, body=row.body, url=row.target_url)
    cls = registry.get(row.type)
    if cls is None or language_of(row.recipient) is None:
        return stored
    try:
        return cls.from_payload(row.payload, row.payload_version).render()
    except Exception as error:  # noqa: BLE001  # render() is the project's; the stored text still conveys the message
        logger.warning("Notification type %s did not render for a mail: %s.", row.type, type(error).__name__)
        return stored


def _collapsed(deliveries: Sequence[Delivery]) -> list[Delivery]:
    """Return the newest delivery of each collapse key, and all that have none; newest first."""
    newest: dict[object, Delivery] = {}
    for delivery in deliveries:
        newest[delivery.notification.collapse_key or delivery.pk] = delivery
    return sorted(newest.values(), key=lambda delivery: delivery.notification.pk, reverse=True)


def unsubscribe_token(user: Model, type_key: str, channel: str) -> str:
    return signing.dumps([str(user.pk), type_key, channel], salt=_SALT).replace(":", "~")


def read_token(token: str) -> tuple[AbstractBaseUser, str, str]:
    """Return the user, the type's key and the channel of an unsubscribe link. Raise ``InvalidLink``."""
    try:
        key, type_key, channel = signing.loads(token.replace("~", ":"), salt=_SALT)
        user = get_user_model()._default_manager.filter(pk=key).first()
    except (signing.BadSignature, ValidationError, ValueError, TypeError):
        raise InvalidLink from None
    if user is None:
        raise InvalidLink
    return user, type_key, channel
