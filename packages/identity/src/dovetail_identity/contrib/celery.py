"""Background work with Celery. ``autodiscover_tasks(related_name="contrib.celery")`` finds it."""

from __future__ import annotations

from celery import shared_task
from django.db import router

from dovetail_core.queues import publish_task
from dovetail_identity.mail import Mail, deliver, in_background
from dovetail_identity.models import Registration
from dovetail_identity.registration.sign_up import purge_registrations
from dovetail_identity.sessions import revocation


@shared_task(name="dovetail_identity.purge_sessions", ignore_result=True)
def purge_sessions() -> int:
    """Delete expired sessions and registrations, and return how many. Once a day is enough."""
    return revocation.purge_sessions() + purge_registrations()


@shared_task(name="dovetail_identity.send_mail", ignore_result=True)
def send_mail(kind: str, target: str, language: str | None) -> None:
    """Send a mail. ``target`` is the address of a password reset, or the key of a registration."""
    if kind != "registration":
        deliver(Mail(kind, target, language))
        return
    # From the database that is written: a replica may not have it yet.
    rows = Registration._base_manager.using(router.db_for_write(Registration))
    registration = rows.filter(pk=target).first()
    if registration is not None:
        deliver(Mail(kind, registration, language))


def dispatch(mail: Mail) -> None:
    """``IDENTITY_MAIL_DISPATCH``: a worker makes the link, so the broker holds no secret.

    It holds the key of a registration, and the address of a password reset: looking up the account in the request would
    reveal by its duration whether there is one. A thread sends the mail if the broker is down or hung.
    """
    target = str(mail.target.pk) if isinstance(mail.target, Registration) else mail.target
    publish_task(send_mail, mail.kind, target, mail.language, otherwise=lambda: in_background(mail))
