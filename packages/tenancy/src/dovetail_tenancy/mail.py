"""The e-mail of an invitation. Templates ``dovetail_tenancy/invitation{_subject.txt,.txt,.html}`` may be overridden."""

from __future__ import annotations

import logging
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.mail import EmailMultiAlternatives
from django.db import transaction
from django.template.loader import render_to_string
from django.utils import translation
from django.views.decorators.debug import sensitive_variables

from dovetail_tenancy.conf import conf

logger = logging.getLogger("dovetail.tenancy")


def require_accept_url() -> str:
    """``TENANCY_INVITATION_ACCEPT_URL``, or ``ImproperlyConfigured`` that says how to set it."""
    url: str = conf.INVITATION_ACCEPT_URL
    if not url:
        raise ImproperlyConfigured(
            "TENANCY_INVITATION_ACCEPT_URL is not set, and an invitation needs a link. Set it to the absolute address "
            "of the page of your frontend that accepts invitations, with {token} in the fragment, such as "
            "'https://app.example.com/invitations#token={token}'; that page posts the token to /invitations/accept."
        )
    return url


def send_after_commit(invitation: Any, *, token: str, language: str | None, using: str) -> None:
    link = require_accept_url().replace("{token}", token)
    language = language or translation.get_language()

    # A closure: Django logs the repr of a callback that fails, and a partial's shows its arguments.
    @sensitive_variables()
    def send() -> None:
        try:
            conf.INVITATION_SENDER(invitation, link=link, language=language)
        except Exception as error:  # noqa: BLE001  # committed already; resending is the remedy for whatever it was
            # Neither message nor traceback: mail servers repeat the address, and frames hold the link.
            logger.error(
                "Invitation %s could not be sent: %s. Resend it.",
                invitation.pk,
                type(error).__name__,
                extra={"invitation_id": str(invitation.pk)},
            )

    transaction.on_commit(send, using=using, robust=True)


@sensitive_variables("link", "context")
def send_invitation(invitation: Any, *, link: str, language: str | None) -> None:
    """Send the e-mail; ``TENANCY_INVITATION_SENDER`` names what does it instead, such as one that enqueues a task."""
    with translation.override(language):
        context = {
            "invitation": invitation,
            "organization": invitation.organization,
            "inviter": invitation.invited_by,
            "link": link,
            "expires_at": invitation.expires_at,
        }
        # An organization's name is anybody's text: a line break in it would be a header of its own.
        subject = " ".join(render_to_string("dovetail_tenancy/invitation_subject.txt", context).split())
        message = EmailMultiAlternatives(
            subject=subject, body=render_to_string("dovetail_tenancy/invitation.txt", context), to=[invitation.email]
        )
        message.attach_alternative(render_to_string("dovetail_tenancy/invitation.html", context), "text/html")
        message.send()
