"""Background work with Celery. ``autodiscover_tasks(related_name="contrib.celery")`` finds it."""

from __future__ import annotations

from typing import Any

from celery import shared_task
from django.contrib.auth import get_user_model

from dovetail_identity import services
from dovetail_identity.mail import Mail, deliver
from dovetail_identity.models import Registration


@shared_task(name="dovetail_identity.purge_sessions", ignore_result=True)
def purge_sessions() -> int:
    """Delete expired sessions and registrations, and return how many. Once a day is enough."""
    return services.purge_sessions() + services.purge_registrations()


@shared_task(name="dovetail_identity.send_mail", ignore_result=True)
def send_mail(kind: str, key: str, language: str | None) -> None:
    model: Any = Registration if kind == "registration" else get_user_model()
    target = model._default_manager.filter(pk=key).first()
    if target is not None:
        deliver(Mail(kind, target, language))


def dispatch(mail: Mail) -> None:
    """``IDENTITY_MAIL_DISPATCH``: a worker makes the link, so the broker holds a key and no secret."""
    send_mail.delay(mail.kind, str(mail.target.pk), mail.language)
