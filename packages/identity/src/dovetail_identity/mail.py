"""Mail with a link that opens an account. It leaves after the change is committed, and never says in the log to whom.

Where it is sent within the request, the time that takes tells whether an address has an account; so by default a
thread sends it, and ``IDENTITY_MAIL_DISPATCH`` names another way.
"""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any
from urllib.parse import quote

from django.core.mail import EmailMultiAlternatives
from django.db import transaction
from django.template.loader import render_to_string
from django.utils import translation

from dovetail_identity.accounts import address_of
from dovetail_identity.conf import conf
from dovetail_identity.models import Registration
from dovetail_identity.registration.link_tokens import registration_token, reset_token

logger = logging.getLogger("dovetail.identity")


@dataclass(frozen=True)
class Mail:
    """``kind`` names the templates, ``target`` is the user or the registration that it is for."""

    kind: str
    target: Any = field(repr=False)
    language: str | None = None


def schedule(kind: str, target: Any, *, using: str) -> None:
    """Hand a mail over once the transaction is committed. A failure is logged and changes nothing."""
    mail = Mail(kind, target, translation.get_language())
    transaction.on_commit(partial(_dispatch, mail), using=using, robust=True)


def in_background(mail: Mail) -> None:
    """Send in a thread of this process. Mail that is not sent when the process is killed is lost."""
    _threads().submit(deliver, mail)


def deliver(mail: Mail) -> None:
    """Send at once. A failure is logged, without address and link."""
    try:
        with translation.override(mail.language):
            compose(mail).send()
    except Exception as error:  # noqa: BLE001  # whatever templates and mail backends raise
        _failed(mail, error)


def compose(mail: Mail) -> EmailMultiAlternatives:
    """The message, from ``dovetail_identity/email/<kind>_subject.txt``, ``<kind>.txt`` and ``<kind>.html``."""
    context = _context(mail)
    subject, text, html = (
        render_to_string(f"dovetail_identity/email/{mail.kind}{ending}", context)
        for ending in ("_subject.txt", ".txt", ".html")
    )
    to = mail.target.email if isinstance(mail.target, Registration) else address_of(mail.target)
    # A line break would begin another header.
    message = EmailMultiAlternatives(" ".join(subject.split()), text, to=[to])
    message.attach_alternative(html, "text/html")
    return message


def _context(mail: Mail) -> dict[str, Any]:
    if mail.kind == "password_reset":
        return {"user": mail.target, "link": _link(conf.PASSWORD_RESET_URL, reset_token(mail.target))}
    if mail.kind == "registration":
        link = _link(conf.EMAIL_VERIFICATION_URL, registration_token(mail.target))
        return {"registration": mail.target, "link": link, "hours": conf.REGISTRATION_EXPIRY_HOURS}
    return {"user": mail.target}


def _link(url: str, token: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}token={quote(token)}"


def _dispatch(mail: Mail) -> None:
    try:
        conf.MAIL_DISPATCH(mail)
    except Exception as error:  # noqa: BLE001  # a queue that is down must not show in the answer
        _failed(mail, error)


def _failed(mail: Mail, error: Exception) -> None:
    # No traceback: mail servers name the address in what they refuse, and templates hold the link.
    logger.error("Mail %r could not be sent: %s.", mail.kind, type(error).__name__)


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=2, thread_name_prefix="dovetail-identity-mail")
