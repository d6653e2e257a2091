"""What gets ``deliver()`` called, for ``NOTIFY_RUNNER``. Nothing else knows how work runs."""

from __future__ import annotations

from dovetail_notify import delivery


def immediate(using: str) -> None:
    """At once, in this process. What fails waits for ``manage.py notify_deliver``."""
    delivery.deliver(using=using)


def wait(using: str) -> None:
    """Not at all: ``manage.py notify_deliver --loop`` looks by itself."""
