"""Celery tasks. ``autodiscover_tasks(related_name="contrib.celery")`` registers them.

Entries that are written in a task, also in those of the project, then have the origin ``task``.
"""

from __future__ import annotations

from typing import Any

from celery import shared_task
from celery.signals import task_postrun, task_prerun

from dovetail_audit import services
from dovetail_audit.entries import units
from dovetail_audit.services.pruning import prune as _prune
from dovetail_core.queues import publish_task


@task_prerun.connect(dispatch_uid="dovetail_audit")
def on_task_started(task_id: str, **kwargs: Any) -> None:
    units.begin_task(task_id)


@task_postrun.connect(dispatch_uid="dovetail_audit")
def on_task_finished(task_id: str, **kwargs: Any) -> None:
    units.end_task(task_id)


@shared_task(name="dovetail_audit.seal", ignore_result=True)
def seal() -> None:
    """Seal new entries, and store a checkpoint outside the database if one is due. Run it each minute or more often."""
    services.seal()
    services.anchor()


@shared_task(name="dovetail_audit.verify", ignore_result=True)
def verify(actor: str | None = None) -> None:
    """Verify the whole log, and record the result. Run it once a day."""
    services.run_verification(actor=actor)


@shared_task(name="dovetail_audit.prune", ignore_result=True)
def prune() -> int:
    """Archive and delete entries by ``AUDIT_RETENTION``, and return their number. Run it once a day."""
    return _prune()


def run(actor: str | None) -> None:
    """An ``AUDIT_RUNNER``: a worker verifies. Raise ``dovetail_core.queues.Unavailable`` if the broker is down."""
    publish_task(verify, actor)
