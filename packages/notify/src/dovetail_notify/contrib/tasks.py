"""Background work with Django's own tasks (6.0 and later)."""

from __future__ import annotations

from django.tasks import task  # type: ignore[import-not-found, unused-ignore]  # not in every Django

from dovetail_notify import delivery


@task  # type: ignore[untyped-decorator, unused-ignore]  # as above
def deliver(using: str) -> None:
    delivery.deliver(using=using)


def run(using: str) -> None:
    """``NOTIFY_RUNNER``: the default backend of ``TASKS`` sends."""
    deliver.enqueue(using)
