"""Mail in one design: the project's brand, text and HTML, the recipient's language and time zone.

A package describes each mail by a :class:`Letter` and ships its templates. They extend ``frame`` (HTML) and
``text_frame``; a project's own ``dovetail_core/mail/frame.html`` and ``frame.txt`` replace those for every package::

    {% extends frame %}{% load i18n %}
    {% block heading %}{% translate "Set a new password" %}{% endblock %}
    {% block action %}{% translate "Set password" %}{% endblock %}

Failures are logged without the address, the link and a traceback: mail servers repeat the address in their replies,
and stack frames hold the link.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import tzinfo
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from django.core import mail
from django.core.cache import caches
from django.core.mail import EmailMultiAlternatives
from django.db import connections, transaction
from django.template import Engine, Template, TemplateDoesNotExist
from django.template.loader import render_to_string, select_template
from django.utils import timezone, translation
from django.views.decorators.debug import sensitive_variables

from dovetail_core.accounts import normalize_address
from dovetail_core.conf import BRAND, conf
from dovetail_core.secrets import keyed_hash

if TYPE_CHECKING:
    from django.core.mail.backends.base import BaseEmailBackend

logger = logging.getLogger("dovetail.mail")

_HOUR = 3600


@dataclass(frozen=True)
class Letter:
    """One mail to one address, with everything that rendering needs, so that a thread needs no database connection.

    ``name`` is the path of the templates without ``_subject.txt``, ``.txt`` and ``.html``; ``link`` in ``context`` is
    the address of the button. ``language`` and ``time_zone`` default to the active ones. ``label`` stands for the mail
    in the log and holds no address and no secret. A letter to the empty address is rendered and dropped.
    """

    name: str
    to: str = field(repr=False)
    context: Mapping[str, object] = field(repr=False)
    language: str | None = None
    time_zone: tzinfo | None = None
    label: str = ""
    #: Whether ``DOVETAIL_MAIL_PER_RECIPIENT`` applies. False for a mail whose sender has limits of its own.
    limited: bool = True

    @sensitive_variables()
    def compose(self) -> EmailMultiAlternatives:
        with localized(self.language, self.time_zone):
            subject = render_to_string(f"{self.name}_subject.txt", _with_brand(self.context))
            return compose([self.name], self.context, subject=subject, to=self.to)

    def send(self) -> None:
        """Send now, unless the recipient's budget is spent. A failure is logged."""
        attempt(self._send, label=self._label)

    @sensitive_variables()
    def _send(self) -> None:
        message = self.compose()
        if not self.to:
            return
        if self.limited and not within_budget(self.to, kind=self.name):
            logger.warning("%s was not sent: its recipient got too many of its kind this hour.", self._label)
            return
        connection().send_messages([message])

    @property
    def _label(self) -> str:
        return self.label or f"Mail {self.name!r}"

    def send_in_background(self) -> None:
        """Send in a thread of this process. Mail that is not sent when the process is killed is lost."""
        _threads().submit(self._send_and_disconnect)

    def _send_and_disconnect(self) -> None:
        try:
            self.send()
        finally:
            # A template of the project may have queried the database.
            connections.close_all()


@sensitive_variables()
def compose(
    names: Sequence[str],
    context: Mapping[str, object],
    *,
    subject: str,
    to: str,
    headers: Mapping[str, str] | None = None,
) -> EmailMultiAlternatives:
    """Return a message in the active language, from the first of the templates ``names`` that exists."""
    # A line break would begin another header.
    subject = " ".join(subject.split())
    values = {
        **_with_brand(context),
        "subject": subject,
        "frame": _frame("frame.html"),
        "text_frame": _frame("frame.txt"),
    }
    text, html = (select_template([f"{name}.{ending}" for name in names]).render(values) for ending in ("txt", "html"))
    # Out-of-office replies skip generated mail (RFC 3834).
    headers = {"Auto-Submitted": "auto-generated", **(headers or {})}
    message = EmailMultiAlternatives(subject, text, to=[to], headers=headers)
    message.attach_alternative(html, "text/html")
    return message


def after_commit(send: Callable[[], object], *, label: str, using: str) -> None:
    """Call ``send`` after the transaction on the database ``using`` commits. A failure is logged and raises nothing."""
    # A lambda: Django logs the repr of a callback that fails, and a partial's repr shows its arguments.
    transaction.on_commit(lambda: attempt(send, label=label), using=using, robust=True)


@sensitive_variables()
def attempt(send: Callable[[], object], *, label: str) -> None:
    """Call ``send``. A failure is logged with the name of its class only, and raises nothing."""
    try:
        send()
    except Exception as error:  # noqa: BLE001  # templates, mail backends and queues raise anything
        logger.error("%s could not be sent: %s.", label, type(error).__name__)


def language_of(user: object, default: str | None = None) -> str | None:
    """Return the language in the ``language`` attribute of ``user`` if the project offers it, else ``default``."""
    code = getattr(user, "language", None)
    if not isinstance(code, str):  # a user model may have a relation of this name
        return default
    try:
        return translation.get_supported_language_variant(code)
    except LookupError:
        return default


def time_zone_of(user: object) -> tzinfo | None:
    """Return the zone that the ``time_zone`` or ``timezone`` attribute of ``user`` names, or None."""
    zone = getattr(user, "time_zone", None) or getattr(user, "timezone", None)
    if isinstance(zone, tzinfo):
        return zone
    try:
        return ZoneInfo(str(zone)) if zone else None
    except (KeyError, ValueError, OSError):  # ZoneInfoNotFoundError is a KeyError; OSError for the name of a folder
        return None


def connection() -> BaseEmailBackend:
    """Return the project's mail connection, with ``DOVETAIL_MAIL_TIMEOUT`` if the project sets no timeout.

    Django waits without end for an SMTP server that accepts a connection and says nothing; that holds a worker.
    """
    # Django 6.1 introduces mailers and deprecates get_connection().
    backend: BaseEmailBackend = mail.mailers.default if hasattr(mail, "mailers") else mail.get_connection()
    if getattr(backend, "timeout", 0) is None:
        backend.timeout = conf.MAIL_TIMEOUT  # type: ignore[attr-defined]  # of backends with a socket
    return backend


def within_budget(address: str, *, kind: str) -> bool:
    """Count one mail of ``kind`` to ``address`` and return whether ``DOVETAIL_MAIL_PER_RECIPIENT`` allows it.

    The attack: a stranger requests password resets for a victim's address until the mailbox is useless. Kinds are
    counted apart, so that the same stranger cannot use up the budget of the mail that the victim waits for. Tags
    (``ada+1@``) reach the same mailbox and share its budget. Without a working cache every mail is sent.
    """
    limit = conf.MAIL_PER_RECIPIENT
    if limit is None:
        return True
    local, _, domain = normalize_address(address).rpartition("@")
    mailbox = keyed_hash("dovetail_core.mail", f"{local.partition('+')[0]}@{domain}")
    key = f"dovetail:mail:{kind}:{mailbox}:{int(time.time() // _HOUR)}"
    try:
        counters = caches["default"]
        counters.add(key, 0, timeout=_HOUR)
        return counters.incr(key) <= limit
    except Exception as error:  # noqa: BLE001  # cache clients raise errors of their own
        logger.warning("The cache did not count a mail, which is sent uncounted: %s.", type(error).__name__)
        return True


@contextmanager
def localized(language: str | None, time_zone: tzinfo | None) -> Iterator[None]:
    """Activate a language and a time zone, where not None, for the block."""
    with ExitStack() as stack:
        if language:
            stack.enter_context(translation.override(language))
        if time_zone:
            stack.enter_context(timezone.override(time_zone))
        yield


def _with_brand(context: Mapping[str, object]) -> dict[str, object]:
    brand = {**BRAND, **conf.BRAND}
    # A project that names no brand is known by the host of its links.
    site = brand["name"] or urlsplit(str(context.get("link", ""))).hostname or ""
    return {"brand": brand, "site": site, **context}


def _frame(name: str) -> Template:
    """Return a frame that ``{% extends %}`` takes as a variable, so core need not be among ``INSTALLED_APPS``."""
    engine = Engine.get_default()
    try:
        return engine.get_template(f"dovetail_core/mail/{name}")
    except TemplateDoesNotExist:
        return _shipped_frame(engine, name)


@cache
def _shipped_frame(engine: Engine, name: str) -> Template:
    path = Path(__file__).parent / "templates" / "dovetail_core" / "mail" / name
    return engine.from_string(path.read_text(encoding="utf-8"))


def wait_for_background_mail() -> None:
    """Return when the mail of this process's threads is sent, for tests and scripts."""
    _threads().shutdown(wait=True)
    _threads.cache_clear()


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=2, thread_name_prefix="dovetail-mail")
