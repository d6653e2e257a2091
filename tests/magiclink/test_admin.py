from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from dovetail_magiclink import get_magic_link_model
from dovetail_magiclink.testing import mailed_code, mailed_key

pytestmark = pytest.mark.django_db
Ask = Callable[..., str]
Post = Callable[..., Any]
MagicLink = get_magic_link_model()
LIST = "/admin/dovetail_magiclink/magiclink/"


@pytest.fixture
def staff() -> Client:
    client = Client()
    client.force_login(get_user_model().objects.create_superuser("root", "root@example.com", "x"))
    return client


def test_admin_lists_links_without_secrets(staff: Client, ask: Ask, user: Any) -> None:
    request_id = ask()
    link = MagicLink.objects.get()
    for path in (LIST, f"{LIST}?q=ada@", f"{LIST}{request_id}/change/"):
        content = staff.get(path).content.decode()
        assert "ada@example.com" in content
        for secret in (mailed_code(), mailed_key(), link.code_hash, link.key_hash):
            assert secret
            assert secret not in content
    assert staff.get(f"{LIST}add/").status_code == 403
    assert staff.post(f"{LIST}{request_id}/delete/", {"post": "yes"}).status_code == 403


def test_admin_list_query_count_does_not_grow(staff: Client, ask: Ask, user: Any) -> None:
    counts = []
    for number in range(2):
        for index in range(3):
            ask(f"user{number}{index}@example.com")
        with CaptureQueriesContext(connection) as queries:
            staff.get(LIST)
        counts.append(len(queries))
    assert counts[0] == counts[1]


def test_supersede_action_ends_links(staff: Client, post: Post, ask: Ask, user: Any) -> None:
    request_id = ask()
    code, key = mailed_code(), mailed_key()
    answer = staff.post(LIST, {"action": "supersede", "_selected_action": [request_id]}, follow=True)
    assert "1 magic link was ended." in answer.content.decode()
    assert post("verify", token=code).status_code == 400
    assert post("verify", k=key).status_code == 400


def test_supersede_action_requires_change_permission(ask: Ask, user: Any) -> None:
    request_id = ask()
    viewer = get_user_model().objects.create_user("viewer", is_staff=True)
    viewer.user_permissions.set(Permission.objects.filter(codename="view_magiclink"))
    client = Client()
    client.force_login(viewer)
    client.post(LIST, {"action": "supersede", "_selected_action": [request_id]})
    assert MagicLink.objects.exclude(pending_key=None).count() == 1


def test_purge_command_deletes_links_expired_a_day_ago(ask: Ask, user: Any) -> None:
    links = [ask(f"user{number}@example.com") for number in range(5)]
    ended = timezone.now() - timedelta(hours=24)
    MagicLink.objects.filter(pk__in=links[:3]).update(expires_at=ended)
    MagicLink.objects.filter(pk=links[3]).update(expires_at=ended + timedelta(minutes=1))
    output = StringIO()
    call_command("purge_magic_links", "--batch", "2", stdout=output)
    assert output.getvalue() == "3 magic links deleted.\n"
    assert {str(key) for key in MagicLink.objects.values_list("pk", flat=True)} == set(links[3:])
    with pytest.raises(CommandError, match="at least 1"):
        call_command("purge_magic_links", "--batch", "0")


def test_purge_task_deletes_expired_links(ask: Ask, user: Any) -> None:
    pytest.importorskip("celery", reason="celery is not installed")
    from dovetail_magiclink.contrib import celery

    ask()
    MagicLink.objects.update(expires_at=timezone.now() - timedelta(days=2))
    assert celery.purge_magic_links() == 1
