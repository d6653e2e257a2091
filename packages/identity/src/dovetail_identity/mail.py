"""Mail with a link that opens an account. It is sent after the change commits.

Sending during the request would reveal by its duration whether an address has an account. A thread sends by default;
``IDENTITY_MAIL_DISPATCH`` names another way. A mail is dispatched for every address. Whether the address has an account
is looked up afterwards, and a mail without a recipient is composed like any other and dropped.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import quote

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import router
from django.utils import timezone, translation
from django.views.decorators.debug import sensitive_variables

from dovetail_core.accounts import accounts_with, address_of
from dovetail_core.mail import Letter, after_commit, attempt, compose_in_background, language_of, time_zone_of
from dovetail_identity.conf import conf
from dovetail_identity.models import Registration
from dovetail_identity.registration.link_tokens import registration_token, reset_token

logger = logging.getLogger("dovetail.identity")


@dataclass(frozen=True)
class Mail:
    """``kind`` is ``password_reset`` or ``registration``; ``target`` is the typed address or the registration."""

    kind: str
    target: str | Registration = field(repr=False)
    language: str | None = None

    @property
    def label(self) -> str:
        return f"Mail {self.kind!r}"


def schedule(kind: str, target: str | Registration, *, using: str) -> None:
    """Send a mail after the transaction commits. A failure is logged and changes nothing."""
    mail = Mail(kind, target, translation.get_language())
    after_commit(lambda: conf.MAIL_DISPATCH(mail), label=mail.label, using=using)


def in_background(mail: Mail) -> None:
    """Find the account and send in a thread of this process. Mail not sent when the process is killed is lost."""
    using = router.db_for_write(get_user_model())
    attempt(lambda: compose_in_background(lambda: letter_for(mail), label=mail.label, using=using), label=mail.label)


def deliver(mail: Mail) -> None:
    """Send now. A failure is logged, without the address and the link."""
    attempt(lambda: letter_for(mail).send(), label=mail.label)


@sensitive_variables()
def letter_for(mail: Mail) -> Letter:
    """Find the recipient in one query, and return the mail with its link.

    The letter has no recipient if the address must not get it. Templates:
    ``dovetail_identity/email/{password_reset,registration,account_exists}{_subject.txt,.txt,.html}``.
    """
    return _registration(mail, mail.target) if isinstance(mail.target, Registration) else _password_reset(mail)


def _password_reset(mail: Mail) -> Letter:
    account = _only(accounts_with(str(mail.target), active_only=True))
    # As in Django, an account without a usable password gets no mail: another system may manage its password.
    resettable = account is not None and _may_sign_in(account) and account.has_usable_password()
    user = account if resettable else get_user_model()()
    context = {
        "user": user,
        "link": _link(conf.PASSWORD_RESET_URL, reset_token(user)),
        "expires_at": timezone.now() + timedelta(seconds=settings.PASSWORD_RESET_TIMEOUT),
    }
    return _letter(mail, "password_reset", address_of(user) if resettable else "", context, user)


def _registration(mail: Mail, registration: Registration) -> Letter:
    accounts = accounts_with(registration.email)
    owner = _only(accounts)
    context = {
        "registration": registration,
        "link": _link(conf.EMAIL_VERIFICATION_URL, registration_token(registration)),
        "hours": conf.REGISTRATION_EXPIRY_HOURS,
        "expires_at": registration.expires_at,
    }
    if owner is not None and _may_sign_in(owner):
        return _letter(mail, "account_exists", address_of(owner), {"user": owner}, owner)
    return _letter(mail, "registration", "" if accounts else registration.email, context, registration)


def _letter(mail: Mail, template: str, to: str, context: dict[str, Any], person: object) -> Letter:
    return Letter(
        f"dovetail_identity/email/{template}",
        to,
        context,
        language=language_of(person, mail.language),
        time_zone=time_zone_of(person),
        label=mail.label,
    )


def _only(accounts: list[Any]) -> Any:
    if len(accounts) > 1:
        logger.warning("No mail was sent: several rows of %s have the address.", get_user_model()._meta.label)
    return accounts[0] if len(accounts) == 1 else None


def _may_sign_in(account: Any) -> bool:
    # Imported late: see sessions/queries.py.
    from rest_framework_simplejwt.settings import api_settings

    return bool(api_settings.USER_AUTHENTICATION_RULE(account))


@sensitive_variables("token")
def _link(url: str, token: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}token={quote(token)}"
