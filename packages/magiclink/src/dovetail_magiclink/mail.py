"""The mail with a code and a link. It leaves after the request is committed, and never says in the log to whom.

Its secrets are drawn where it is written, so that a queue holds the link's id and nothing that opens a door. Whether
the address has an account makes no difference until the message is written: then it is sent, or dropped.
"""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any
from urllib.parse import urlsplit

from django.core.mail import EmailMultiAlternatives
from django.db import router, transaction
from django.template.loader import render_to_string
from django.utils import translation
from django.views.decorators.debug import sensitive_variables

from dovetail_magiclink.accounts import address_of, owner_of
from dovetail_magiclink.conf import brand, conf
from dovetail_magiclink.secrets.codes import Secrets, draw
from dovetail_magiclink.secrets.links import link_of, verify_page

logger = logging.getLogger("dovetail.magiclink")


@dataclass(frozen=True)
class Mail:
    """What ``MAGIC_LINK_MAIL_DISPATCH`` gets: the link's row, and the language of the request."""

    link: Any = field(repr=False)
    language: str | None = None
    secrets: Secrets | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Letter:
    """A mail with all that the database had to say; ``to`` is empty where it goes to nobody."""

    mail: Mail
    secrets: Secrets = field(repr=False)
    to: str = field(repr=False)


def schedule(mail: Mail, *, using: str) -> None:
    """Hand a mail over once the transaction is committed. A failure is logged and changes nothing."""
    transaction.on_commit(partial(_dispatch, mail), using=using, robust=True)


def in_background(mail: Mail) -> None:
    """Send in a thread of this process. Mail that is not sent when the process is killed is lost."""
    # What it asks of the database is asked here: a thread would need a connection of its own.
    letter = prepare(mail)
    if letter is not None:
        _threads().submit(_send, letter)


def deliver(mail: Mail) -> None:
    """Send at once. A failure is logged, without address and secrets."""
    letter = prepare(mail)
    if letter is not None:
        _send(letter)


def prepare(mail: Mail) -> Letter | None:
    """Draw the secrets and find the recipient. None for a link that has its secrets already, or is over."""
    owner = owner_of(mail.link.email)
    using = router.db_for_write(type(mail.link), instance=mail.link)
    secrets = mail.secrets or draw(mail.link, using)
    if secrets is None:
        return None
    stranger = mail.link.email if conf.SIGNUP and not owner.taken else ""
    return Letter(mail, secrets, address_of(owner.user) if owner.user is not None else stranger)


@sensitive_variables()
def compose(letter: Letter) -> EmailMultiAlternatives:
    """The message, from ``dovetail_magiclink/email/sign_in{_subject.txt,.txt,.html}``, in the mail's language."""
    page = urlsplit(verify_page())
    context = {
        "code": letter.secrets.code,
        "link": link_of(letter.secrets),
        "minutes": conf.EXPIRY_MINUTES,
        "brand": brand(),
        "site": brand()["name"] or page.hostname,
    }
    with translation.override(letter.mail.language):
        subject, text, html = (
            render_to_string(f"dovetail_magiclink/email/sign_in{ending}", context)
            for ending in ("_subject.txt", ".txt", ".html")
        )
    # RFC 3834: no absence notice answers. A line break in the subject would begin another header.
    headers = {"Auto-Submitted": "auto-generated"}
    message = EmailMultiAlternatives(" ".join(subject.split()), text, to=[letter.to], headers=headers)
    message.attach_alternative(html, "text/html")
    return message


def _send(letter: Letter) -> None:
    try:
        # Written for nobody as well: the work shows in the time that other answers of this process take.
        message = compose(letter)
        if letter.to:
            message.send()
    except Exception as error:  # noqa: BLE001  # whatever templates and mail backends raise
        _failed(letter.mail, error)


def _dispatch(mail: Mail) -> None:
    try:
        # Secrets that are there already are for development, and for no queue.
        (deliver if mail.secrets else conf.MAIL_DISPATCH)(mail)
    except Exception as error:  # noqa: BLE001  # a queue that is down must not show in the answer
        _failed(mail, error)


def _failed(mail: Mail, error: Exception) -> None:
    # No traceback: mail servers name the address in what they refuse, and templates hold the link.
    logger.error("The mail of magic link %s could not be sent: %s.", mail.link.pk, type(error).__name__)


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=2, thread_name_prefix="dovetail-magiclink-mail")
