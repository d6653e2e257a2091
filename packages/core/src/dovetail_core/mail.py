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
import os
import re
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import tzinfo
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
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
from dovetail_core.queues import CircuitBreaker
from dovetail_core.secrets import keyed_hash

if TYPE_CHECKING:
    from django.core.mail.backends.base import BaseEmailBackend

logger = logging.getLogger("dovetail.mail")

_HOUR = 3600
#: The largest number of mails that wait for the threads of a process.
_QUEUE = 1000
_waiting = threading.BoundedSemaphore(_QUEUE)


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
        in_background(self.send, label=self._label)


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


def in_background(send: Callable[[], object], *, label: str) -> None:
    """Call ``send`` in a thread of this process that sends mail. A failure is logged and raises nothing.

    ``send`` has its own database connections. Call this after the commit of what it reads.
    """
    # The attack: while the mail server hangs, strangers request mails until the process has no memory left.
    if not _waiting.acquire(blocking=False):
        logger.error("%s was not sent: %d mails of this process wait for the mail server.", label, _QUEUE)
        return

    @sensitive_variables()
    def work() -> None:
        try:
            attempt(send, label=label)
        finally:
            # A template of the project may have queried the database.
            connections.close_all()

    _submit(work)


def compose_in_background(compose: Callable[[], Letter | None], *, label: str, using: str) -> None:
    """Call ``compose`` and send the letter that it returns, if any, in a thread that sends mail.

    ``compose`` reads the database ``using`` there. Before the commit (in Django's ``TestCase``) or with SQLite in
    memory, a thread cannot read the rows, so the caller calls ``compose``, and only the letter is sent by the thread.
    """
    # The attack: a query for the account of an address takes 50 to 100 µs longer if there is one.
    if _threads_can_read(using):
        in_background(lambda: _compose_and_send(compose), label=label)
    elif letter := compose():
        letter.send_in_background()


def _threads_can_read(using: str) -> bool:
    connection: Any = connections[using]  # is_in_memory_db() is SQLite's
    return not (connection.in_atomic_block or (connection.vendor == "sqlite" and connection.is_in_memory_db()))


@sensitive_variables()
def _compose_and_send(compose: Callable[[], Letter | None]) -> None:
    letter = compose()
    # A mail server that hangs must not hold a connection, which requests may wait for if the project uses a pool.
    connections.close_all()
    if letter is not None:
        letter.send()


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


def within_budget(address: str, *, kind: str, organization: object = None) -> bool:
    """Count one mail of ``kind`` to ``address`` and return whether ``DOVETAIL_MAIL_PER_RECIPIENT`` allows it.

    The attack: a stranger requests password resets for a victim's address until the mailbox is useless. Kinds are
    counted apart, so that the same stranger cannot use up the budget of the mail that the victim waits for. Tags
    (``ada+1@``) reach the same mailbox and share its budget. Without a working cache every mail is sent.

    Mails on behalf of an ``organization`` (its key) are counted for this organization, so that one organization cannot
    use up the budget of another. A stranger may create many organizations: all of them together may send three times
    the number. Call this outside transactions that hold locks, because a cache that hangs delays it by its timeout.
    """
    limit = conf.MAIL_PER_RECIPIENT
    if limit is None:
        return True
    local, _, domain = normalize_address(address).rpartition("@")
    mailbox = keyed_hash("dovetail_core.mail", f"{local.partition('+')[0]}@{domain}")
    if organization is None:
        return _count(f"{kind}:{mailbox}", limit)
    return _count(f"{kind}:{organization}:{mailbox}", limit) and _count(f"{kind}:{mailbox}", 3 * limit)


def within_organization_budget(organization: object) -> bool:
    """Count one mail on behalf of the organization with this key. Return whether ``DOVETAIL_MAIL_PER_ORGANIZATION``
    allows it.

    The attack: a stranger creates an organization and sends its name, an advertisement, to every address of a list.
    """
    limit = conf.MAIL_PER_ORGANIZATION
    return limit is None or _count(f"organization:{organization}", limit)


#: A cache that hangs delays one mail in ten seconds. Mails in between are not counted.
_cache_circuit = CircuitBreaker()


def _count(name: str, limit: int) -> bool:
    """Add one to a counter of this hour, and return whether it is within ``limit``."""
    if not _cache_circuit.allows():
        return True
    key = f"dovetail:mail:{name}:{int(time.time() // _HOUR)}"
    try:
        counters = caches["default"]
        counters.add(key, 0, timeout=_HOUR)
        allowed = bool(counters.incr(key) <= limit)
        _cache_circuit.close()
        return allowed
    except Exception as error:  # noqa: BLE001  # cache clients raise errors of their own
        _cache_circuit.open()
        logger.warning("The cache did not count a mail, which is sent uncounted: %s.", type(error).__name__)
        return True


#: What other people's names contain only to deceive: marks that are not visible, though they are no control characters.
_INVISIBLE = re.compile(r"[\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0\ufe00-\ufe0f\U000e0100-\U000e01ef]")
_ADDRESS = re.compile(r"(?:[a-z][a-z0-9+.-]*:[/\\]|\bwww\.)\S*", re.IGNORECASE)
# Programs turn "evil.com" into a link, but not "J. P.", "2.10" or ".NET".
_DOT_OF_DOMAIN = re.compile(r"(?<=\S)\.(?=[^\W\d_]{2})")
_LONGEST_NAME = 60


def display_name(text: object) -> str:
    """Return a name that a stranger chose, such as an organization's, in a form that is safe in a mail.

    The attack: an organization is named ``Your account is locked, see evil.com``, and its invitations carry this link
    in our name. URLs and control characters (line breaks, bidirectional and zero-width ones) are removed, compatibility
    characters such as the full-width dot are replaced first, the dot of a domain becomes a space, and the result has at
    most 60 characters. A name of which nothing is left is "—".
    """
    # Cut first: the patterns below take quadratic time for a text without limit.
    folded = unicodedata.normalize("NFKC", str(text)[:1000]).replace("\u3002", ".")
    characters = []
    for character in folded:
        category = unicodedata.category(character)
        if category in {"Cc", "Zl", "Zp"}:
            characters.append(" ")
        elif category not in {"Cf", "Co", "Cs"}:
            characters.append(character)
    visible = _INVISIBLE.sub("", "".join(characters))
    name = " ".join(_DOT_OF_DOMAIN.sub(" ", _ADDRESS.sub(" ", visible)).split())
    if len(name) > _LONGEST_NAME:
        name = f"{name[: _LONGEST_NAME - 1].rstrip()}…"
    return name or "—"


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


def _submit(work: Callable[[], object]) -> None:
    """Run ``work`` in a thread, which releases the place in ``_waiting`` that the caller has acquired."""
    waiting = _waiting
    try:
        future = _threads().submit(work)
    except BaseException:
        waiting.release()  # the interpreter shuts down, or cannot start a thread
        raise
    future.add_done_callback(lambda _: waiting.release())


def _start_anew() -> None:
    # A fork has the pool of its parent and none of its threads, so its mails would wait without end, and would keep
    # the places that they have acquired.
    global _waiting
    _threads.cache_clear()
    _waiting = threading.BoundedSemaphore(_QUEUE)


if hasattr(os, "register_at_fork"):  # pragma: no branch  # Windows has no fork, and the tests do not run there
    os.register_at_fork(after_in_child=_start_anew)
