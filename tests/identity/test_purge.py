from __future__ import annotations

import io
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from dovetail_identity.models import Session
from dovetail_identity.services import issue_tokens
from tests.identity.factories import make_user

pytestmark = pytest.mark.django_db


def _sessions(number: int) -> None:
    user = make_user()
    for _ in range(number):
        issue_tokens(user, request=None)


def test_only_expired_rows_are_purged(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    _sessions(5)
    Session.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    _sessions(2)
    Session.objects.filter(expires_at__gt=timezone.now()).update(revoked_at=timezone.now())
    out = io.StringIO()
    with django_assert_num_queries(8):  # three batches, and the queries that return no more rows
        call_command("purge_sessions", batch=2, stdout=out)
    assert out.getvalue() == "5 expired sessions deleted.\n0 expired registrations deleted.\n"
    assert Session.objects.count() == 2


def test_batch_of_no_rows_is_rejected() -> None:
    with pytest.raises(CommandError, match="--batch-size must be"):
        call_command("purge_sessions", batch=0)


def test_celery_task_purges_rows() -> None:
    pytest.importorskip("celery", reason="celery is not installed")
    from dovetail_identity.contrib.celery import purge_sessions

    _sessions(1)
    Session.objects.update(expires_at=timezone.now())
    task: Any = purge_sessions
    assert task.name == "dovetail_identity.purge_sessions"
    assert task.apply().get() == 1
