"""The e-mail of an invitation. It is sent after the change commits, by ``TENANCY_INVITATION_SENDER``.

Templates: ``dovetail_tenancy/invitation{_subject.txt,.txt,.html}``.
"""

from __future__ import annotations

import re

from django.core.exceptions import ImproperlyConfigured
from django.db.models import Model
from django.utils import translation
from django.views.decorators.debug import sensitive_variables

from dovetail_core.accounts import address_of
from dovetail_core.mail import Letter, after_commit, display_name
from dovetail_tenancy.conf import conf
from dovetail_tenancy.models import Invitation


def require_accept_url() -> str:
    url: str = conf.INVITATION_ACCEPT_URL
    if not url:
        raise ImproperlyConfigured(
            "TENANCY_INVITATION_ACCEPT_URL is not set, and an invitation needs a link. Set it to the absolute address "
            "of the page of your frontend that accepts invitations, with {token} in the fragment, such as "
            "'https://app.example.com/invitations#token={token}'; that page posts the token to /invitations/accept."
        )
    return url


@sensitive_variables()
def link_for(token: str) -> str:
    return require_accept_url().replace("{token}", token)


@sensitive_variables()
def send_after_commit(invitation: Invitation, *, token: str, language: str | None, using: str) -> None:
    link = link_for(token)
    language = language or translation.get_language()
    after_commit(
        lambda: conf.INVITATION_SENDER(invitation, link=link, language=language),
        label=_label(invitation),
        using=using,
    )


@sensitive_variables("link")
def send_in_background(invitation: Invitation, *, link: str, language: str | None) -> None:
    """Send in a thread of this process. A mail that is not sent when the process is killed is lost: resend it."""
    _letter(invitation, link, language).send_in_background()


@sensitive_variables("link")
def send_invitation(invitation: Invitation, *, link: str, language: str | None) -> None:
    """Send now. A failure is logged, without the address and the link."""
    _letter(invitation, link, language).send()


@sensitive_variables("link")
def _letter(invitation: Invitation, link: str, language: str | None) -> Letter:
    context = {
        "invitation": invitation,
        # Loaded here, because a thread that renders the mail must not query the database.
        "organization": invitation.organization,
        "organization_name": display_name(invitation.organization),
        "inviter": invitation.invited_by,
        "inviter_name": _inviter_name(invitation.invited_by),
        "link": link,
        "expires_at": invitation.expires_at,
    }
    return Letter(
        "dovetail_tenancy/invitation",
        invitation.email,
        context,
        language=language,
        label=_label(invitation),
        limited=False,  # the services count it and refuse one too many, because sending again ends the current link
    )


def _inviter_name(inviter: Model | None) -> str:
    label = "" if inviter is None else str(inviter)
    # The address of the account tells more than a name. It is no link, as long as it is an ordinary address.
    if inviter is not None and label == address_of(inviter) and re.fullmatch(r"[\w.+-]+@[\w.-]+", label, re.ASCII):
        return label
    return display_name(label)


def _label(invitation: Invitation) -> str:
    return f"Invitation {invitation.pk}"
