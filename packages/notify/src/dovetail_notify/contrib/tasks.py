"""A runner on Django's own tasks (Django 6.0 and later)."""

from __future__ import annotations

from django.tasks import task  # type: ignore[import-not-found, unused-ignore]  # not in every Django

from dovetail_notify.outbox import worker


@task  # type: ignore[untyped-decorator, unused-ignore]  # as above
def deliver(using: str) -> None:
    worker.deliver(using=using)


def run(using: str) -> None:
    """A ``NOTIFY_RUNNER`` that enqueues a task on the default backend of ``TASKS``."""
    deliver.enqueue(using)
