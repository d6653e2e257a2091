from __future__ import annotations

from typing import Any

import django
import pytest

from dovetail_audit.entries import units
from dovetail_audit.models import Checkpoint, Entry
from dovetail_audit.services import record
from dovetail_core import context

pytestmark = pytest.mark.django_db


def result() -> Any:
    data = Entry.objects.filter(action="audit.verified").order_by("-pk")[0].data
    return {**(data.get("extra") or {}), **(data.get("parameters") or {})}["result"]


def test_celery_tasks_seal_verify_and_prune() -> None:
    pytest.importorskip("celery", reason="celery is not installed")
    from dovetail_audit.contrib import celery

    record("order.paid")
    celery.seal()
    assert Checkpoint.objects.get().size == 1
    celery.verify("7")
    assert result() == "intact"
    assert Entry.objects.get(action="audit.verified").actor == "7"
    # AUDIT_RETENTION keeps everything.
    assert celery.prune() == 0


@pytest.mark.skipif(django.VERSION < (6, 0), reason="this Django has no tasks")
def test_django_tasks_seal_and_verify(settings: Any) -> None:
    settings.TASKS = {"default": {"BACKEND": "django.tasks.backends.immediate.ImmediateBackend"}}
    from dovetail_audit.contrib import tasks

    record("order.paid")
    tasks.seal.enqueue()
    assert Checkpoint.objects.get().size == 1
    tasks.run(None)
    assert result() == "intact"


def test_entry_of_a_celery_task_has_its_origin() -> None:
    celery = pytest.importorskip("celery", reason="celery is not installed")
    from dovetail_audit.contrib import celery as contrib

    assert contrib.task_prerun.has_listeners()
    app = celery.Celery("tests", set_as_current=False)

    @app.task(name="pay")
    def pay() -> None:
        record("order.paid")

    with context.bind(request_id="r-1"):
        pay.apply()
    record("order.sent")
    paid, sent = Entry.objects.order_by("pk")
    assert (paid.origin, paid.request_id, paid.actor_kind) == ("task", "r-1", "system")
    assert sent.origin == ""
    with units.enter(units.Unit(origin="command")):
        pay.apply()
        assert record("order.sent").origin == "command"
    assert Entry.objects.filter(action="order.paid").latest("pk").origin == "command"


@pytest.mark.skipif(django.VERSION < (6, 0), reason="this Django has no tasks")
def test_entry_of_a_django_task_has_its_origin(settings: Any) -> None:
    settings.TASKS = {"default": {"BACKEND": "django.tasks.backends.immediate.ImmediateBackend"}}
    from dovetail_audit.contrib import tasks

    tasks.run(None)
    assert Entry.objects.get(action="audit.verified").origin == "task"
    assert record("order.sent").origin == ""
