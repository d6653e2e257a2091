"""Enqueues tasks and canvases for two organizations in turn, and prints those that ran for the wrong one."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.tenancy.settings")
django.setup()

from celery import chord, group  # noqa: E402
from django.db.models import UUIDField  # noqa: E402

from dovetail_tenancy import get_organization_model, tenant, unscoped  # noqa: E402
from tests.tenancy.worker.celery_app import app, gather, nested, see, see_retrying  # noqa: E402

# No rows are needed, because a message carries a key.
KEYS = [uuid.uuid4().hex, uuid.uuid4().hex] if isinstance(get_organization_model()._meta.pk, UUIDField) else ["1", "2"]
KEYS = [str(get_organization_model()._meta.pk.to_python(key)) for key in KEYS]


def canvases(other: str) -> list[tuple[Any, Callable[[str], Any]]]:
    return [
        (see.delay(), lambda key: key),
        (app.send_task(see.name), lambda key: key),
        (see_retrying.delay(other), lambda key: key),
        ((gather.s([]) | gather.s() | gather.s()).delay(), lambda key: [key] * 3),
        (chord([see.s(), see.s(), see.s()], gather.s()).delay(), lambda key: [key] * 4),
        ((see.si() | group(see.si(), see.si()) | gather.s()).delay(), lambda key: [key] * 3),
    ]


def main() -> None:
    pending: list[tuple[Any, Any]] = []
    # Enqueue all tasks before waiting, so that the worker alternates between the organizations.
    for _ in range(3):
        for key, other in (KEYS, reversed(KEYS)):
            with tenant(key):
                pending += [(result, expected(key)) for result, expected in canvases(other)]
                with unscoped(reason="test"):
                    pending.append((see.delay(), "TenantRequired"))
        pending.append((see.delay(), "TenantRequired"))
        pending.append((nested.delay(KEYS[1]), KEYS[1]))
    found = [(expected, result.get(timeout=60)) for result, expected in pending]
    print(json.dumps({"tasks": len(found), "wrong": [pair for pair in found if pair[0] != pair[1]]}))


main()
