"""Background work with Celery. ``autodiscover_tasks(related_name="contrib.celery")`` finds it."""

from __future__ import annotations

from celery import shared_task
from django.db import router

from dovetail_core.queues import publish_task
from dovetail_magiclink import get_magic_link_model, services
from dovetail_magiclink.mail import Mail, deliver, in_background


@shared_task(name="dovetail_magiclink.purge_magic_links", ignore_result=True)
def purge_magic_links() -> int:
    """Delete links that expired a day ago, and return how many. Once a day is enough."""
    return services.purge_magic_links()


@shared_task(name="dovetail_magiclink.send_mail", ignore_result=True)
def send_mail(key: str, language: str | None) -> None:
    model = get_magic_link_model()
    # From the database that is written: a replica may not have it yet.
    link = model._base_manager.using(router.db_for_write(model)).filter(pk=key).first()
    if link is not None:
        deliver(Mail(link, language))


def dispatch(mail: Mail) -> None:
    """``MAGIC_LINK_MAIL_DISPATCH``: a worker draws the code, so the broker holds an id and no secret.

    A thread sends the mail if the broker is down or hung. If the worker gets the message as well, it finds that the
    code is drawn and sends nothing.
    """
    publish_task(send_mail, str(mail.link.pk), mail.language, otherwise=lambda: in_background(mail))
