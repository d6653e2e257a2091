"""Enqueues tasks for two organizations in turn, and prints the tasks that ran for the wrong one."""

from __future__ import annotations

import sys

import django

django.setup()

from django_tasks_db.models import DBTaskResult  # type: ignore[import-untyped]  # noqa: E402

from dovetail_tenancy import tenant, unscoped  # noqa: E402
from tests.tenancy.worker.django_tasks import see, see_with_context  # noqa: E402

KEYS = ["0189d2f0-0000-7000-8000-000000000001", "0189d2f0-0000-7000-8000-000000000002"]


def send() -> None:
    for _ in range(2):
        for key in KEYS:
            with tenant(key):
                see.enqueue()
                see_with_context.enqueue(key)
                with unscoped(reason="test"):
                    see_with_context.enqueue("TenantRequired")


def look() -> None:
    rows = list(DBTaskResult.objects.order_by("enqueued_at"))
    found = [row.return_value for row in rows]
    wrong = [each for each in found if isinstance(each, list) and each[1] != each[2]]
    wrong += [each for each in zip(found[::3], [*KEYS, *KEYS], strict=True) if each[0] != each[1]]
    print(f"{len(rows)} tasks, wrong: {wrong}")


send() if sys.argv[1] == "send" else look()
