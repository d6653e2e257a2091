"""Django tasks run for the organization they were enqueued for, on any backend."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import django
import pytest
from django.test import override_settings

pytest.importorskip("django.tasks", reason="this Django has no tasks")

from dovetail_tenancy import tenant, unscoped
from dovetail_tenancy.contrib.tasks import ARGUMENT, TenantTask
from tests import asynchronous
from tests.tenancy.factories import make_organization
from tests.tenancy.worker.django_tasks import see, see_async, see_with_context

IMMEDIATE = {"default": {"BACKEND": "django.tasks.backends.immediate.ImmediateBackend"}}
DUMMY = {"default": {"BACKEND": "django.tasks.backends.dummy.DummyBackend"}}
ROOT = Path(__file__).parents[2]


@pytest.fixture(params=["sync", "async"])
def enqueued(request: pytest.FixtureRequest) -> Any:
    def enqueue(task: Any, *args: Any, **kwargs: Any) -> Any:
        if request.param == "sync":
            return task.enqueue(*args, **kwargs)
        return asynchronous.run(task.aenqueue(*args, **kwargs))

    return enqueue


@pytest.mark.django_db(transaction=True)
@override_settings(TASKS=IMMEDIATE)
def test_immediate_backend_runs_for_the_organization(enqueued: Any) -> None:
    acme = make_organization("Acme")
    key = str(acme.pk)
    assert enqueued(see).return_value == "TenantRequired"
    with tenant(acme):
        assert enqueued(see).return_value == key
        assert enqueued(see.using(queue_name="default")).return_value == key
        assert enqueued(see_with_context, "given").return_value == [1, "given", key]
        assert enqueued(see_async, given="given").return_value == ["given", key]
        with unscoped(reason="test"):
            assert enqueued(see).return_value == "TenantRequired"
            assert see.call() == "all"


@pytest.mark.django_db
@override_settings(TASKS=DUMMY)
def test_stored_arguments_contain_only_the_key() -> None:
    acme = make_organization("Acme")
    with tenant(acme):
        assert see.enqueue().kwargs == {ARGUMENT: str(acme.pk)}
        with unscoped(reason="test"):
            assert see.enqueue().kwargs == {ARGUMENT: ""}
    assert see_with_context.enqueue("given").args == ["given"]


def test_task_is_importable_and_picklable() -> None:
    assert isinstance(see, TenantTask)
    assert see.module_path == "tests.tenancy.worker.django_tasks.see"
    if django.VERSION >= (6, 1):  # Django 6.0 cannot pickle tasks
        assert pickle.loads(pickle.dumps(see)) == see


def test_a_real_worker_of_another_package(tmp_path: Path) -> None:
    pytest.importorskip("django_tasks_db", reason="django-tasks-db is not installed")
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.tenancy.worker.settings_django_tasks",
        "DATABASE_URL": f"sqlite:///{tmp_path / 'tasks.sqlite3'}",
        "PYTHONPATH": str(ROOT),
    }

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("-m", "django", "migrate", "-v0")
    run("-m", "tests.tenancy.worker.django_tasks_sender", "send")
    run("-m", "django", "db_worker", "--batch", "--no-startup-delay", "--interval", "0", "--queue-name", "default")
    assert run("-m", "tests.tenancy.worker.django_tasks_sender", "look") == "12 tasks, wrong: []\n"
