"""The mail with a code and a link. It is sent after the request commits.

A queue holds the link's id and no secret: a worker draws the secrets when it composes the mail. The request does the
same work whether or not the address has an account. A worker or a thread finds the owner, and sends or drops the mail.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from urllib.parse import quote, urlsplit

from django.contrib.auth import get_user_model
from django.db import router
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from dovetail_core.accounts import address_of
from dovetail_core.conf import is_web_address
from dovetail_core.mail import Letter, after_commit, attempt, compose_in_background, language_of, time_zone_of
from dovetail_magiclink.accounts import owner_of
from dovetail_magiclink.base import AbstractMagicLink
from dovetail_magiclink.conf import conf
from dovetail_magiclink.secrets.codes import Secrets, draw


@dataclass(frozen=True)
class Mail:
    """The argument of ``MAGIC_LINK_MAIL_DISPATCH``: the link's row, and the language of the request."""

    link: AbstractMagicLink = field(repr=False)
    language: str | None = None
    secrets: Secrets | None = field(default=None, repr=False)

    @property
    def label(self) -> str:
        return f"The mail of magic link {self.link.pk}"


def schedule(mail: Mail, *, using: str) -> None:
    """Send the mail after the transaction commits. A failure is logged and changes nothing."""
    # The secrets are drawn already in development only, and must not enter a queue.
    after_commit(lambda: (deliver if mail.secrets else conf.MAIL_DISPATCH)(mail), label=mail.label, using=using)


def in_background(mail: Mail) -> None:
    """Find the owner and send in a thread of this process. Mail not sent when the process is killed is lost."""
    attempt(lambda: _draw_and_send_in_background(mail), label=mail.label)


def deliver(mail: Mail) -> None:
    """Send now. A failure is logged, without the address and the secrets."""
    attempt(lambda: _send(mail), label=mail.label)


@sensitive_variables()
def _draw_and_send_in_background(mail: Mail) -> None:
    # Drawn here, because the statement does not depend on the owner, and a thread that writes locks SQLite.
    secrets = mail.secrets or draw(mail.link, _alias_of(mail.link))
    if secrets is not None:
        compose = partial(letter_for, replace(mail, secrets=secrets))
        compose_in_background(compose, label=mail.label, using=router.db_for_write(get_user_model()))


def _send(mail: Mail) -> None:
    letter = letter_for(mail)
    if letter is not None:
        letter.send()


def _alias_of(link: AbstractMagicLink) -> str:
    return router.db_for_write(type(link), instance=link)


@sensitive_variables()
def letter_for(mail: Mail) -> Letter | None:
    """Draw the secrets and find the recipient. Return None for a link that already has secrets or has expired.

    The letter to an address without an account has no recipient. It is composed all the same, because otherwise
    the time shows in other responses of this process. Templates:
    ``dovetail_magiclink/email/sign_in{_subject.txt,.txt,.html}``.
    """
    owner = owner_of(mail.link.email)
    secrets = mail.secrets or draw(mail.link, _alias_of(mail.link))
    if secrets is None:
        return None
    stranger = mail.link.email if conf.SIGNUP and not owner.taken else ""
    remaining = mail.link.expires_at - timezone.now()
    context = {
        "code": secrets.code,
        "link": link_of(secrets),
        "minutes": max(1, round(remaining.total_seconds() / 60)),
    }
    return Letter(
        "dovetail_magiclink/email/sign_in",
        address_of(owner.user) if owner.user is not None else stranger,
        context,
        language=language_of(owner.user, mail.language),
        time_zone=time_zone_of(owner.user),
        label=mail.label,
        limited=False,  # MAGIC_LINK_REQUESTS_PER_ADDRESS limits requests, and answers 429
    )


def verify_page() -> str:
    """Return ``MAGIC_LINK_VERIFY_URL``; a bare origin gets the path ``/magic-verify``.

    Raise ``RuntimeError`` if the setting is missing or not an absolute URL.
    """
    url = conf.VERIFY_URL
    if not is_web_address(url):
        state = f"is {url!r}" if url else "is not set"
        raise RuntimeError(
            f"MAGIC_LINK_VERIFY_URL {state}, but mails need a link. Set it to the absolute http:// or https:// URL of "
            "a page that posts token and k of its query string to magic/verify/, such as "
            "'https://app.example.com/magic-verify'."
        )
    parts = urlsplit(url)
    bare = parts.path in {"", "/"} and not parts.query and not parts.fragment
    return f"{parts.scheme}://{parts.netloc}/magic-verify" if bare else url


def link_of(secrets: Secrets) -> str:
    page = verify_page()
    # In https://app.example.com/#/magic-verify, the page's router reads the part after the "#".
    separator = "&" if "?" in (urlsplit(page).fragment or page) else "?"
    return f"{page}{separator}token={secrets.code}&k={quote(secrets.key)}"
