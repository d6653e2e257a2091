"""Mail with a link that opens an account. It is sent after the change commits.

Sending during the request would reveal by its duration whether an address has an account. A thread sends by default;
``IDENTITY_MAIL_DISPATCH`` names another way.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from urllib.parse import quote

from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser
from django.utils import timezone, translation
from django.views.decorators.debug import sensitive_variables

from dovetail_core.accounts import address_of
from dovetail_core.mail import Letter, after_commit, attempt, language_of, time_zone_of
from dovetail_identity.conf import conf
from dovetail_identity.models import Registration
from dovetail_identity.registration.link_tokens import registration_token, reset_token


@dataclass(frozen=True)
class Mail:
    """``kind`` names the templates; ``target`` is the user or the registration that the mail is about."""

    kind: str
    target: AbstractBaseUser | Registration = field(repr=False)
    language: str | None = None

    @property
    def label(self) -> str:
        return f"Mail {self.kind!r}"


def schedule(kind: str, target: AbstractBaseUser | Registration, *, using: str) -> None:
    """Send a mail after the transaction commits. A failure is logged and changes nothing."""
    mail = Mail(kind, target, translation.get_language())
    after_commit(lambda: conf.MAIL_DISPATCH(mail), label=mail.label, using=using)


def in_background(mail: Mail) -> None:
    """Send in a thread of this process. Mail that is not sent when the process is killed is lost."""
    attempt(lambda: letter_for(mail).send_in_background(), label=mail.label)


def deliver(mail: Mail) -> None:
    """Send now. A failure is logged, without the address and the link."""
    attempt(lambda: letter_for(mail).send(), label=mail.label)


@sensitive_variables()
def letter_for(mail: Mail) -> Letter:
    """Return the mail with its link. Templates: ``dovetail_identity/email/<kind>_subject.txt``, ``.txt``, ``.html``."""
    target = mail.target
    if isinstance(target, Registration):
        address = target.email
        link = _link(conf.EMAIL_VERIFICATION_URL, registration_token(target))
        context: dict[str, object] = {
            "registration": target,
            "link": link,
            "hours": conf.REGISTRATION_EXPIRY_HOURS,
            "expires_at": target.expires_at,
        }
    else:
        address = address_of(target)
        context = {"user": target}
        if mail.kind == "password_reset":
            context["link"] = _link(conf.PASSWORD_RESET_URL, reset_token(target))
            context["expires_at"] = timezone.now() + timedelta(seconds=settings.PASSWORD_RESET_TIMEOUT)
    return Letter(
        f"dovetail_identity/email/{mail.kind}",
        address,
        context,
        language=language_of(target, mail.language),
        time_zone=time_zone_of(target),
        label=mail.label,
    )


@sensitive_variables("token")
def _link(url: str, token: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}token={quote(token)}"
