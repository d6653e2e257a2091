"""Tasks of Django (6.0 and later)."""

from __future__ import annotations

from django.tasks import task  # type: ignore[import-not-found, unused-ignore]  # not in every Django

from dovetail_audit import services


@task  # type: ignore[untyped-decorator, unused-ignore]  # as above
def seal() -> None:
    """Seal new entries, and store a checkpoint outside the database if one is due."""
    services.seal()
    services.anchor()


@task  # type: ignore[untyped-decorator, unused-ignore]  # as above
def verify(actor: str | None = None) -> None:
    services.run_verification(actor=actor)


def run(actor: str | None) -> None:
    """An ``AUDIT_RUNNER`` that enqueues a task on the default backend of ``TASKS``."""
    verify.enqueue(actor)
