"""The attack: the time of a response reveals who has an account, because the request looks it up."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core import mail as outbox
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from dovetail_core.mail import wait_for_background_mail
from dovetail_magiclink.testing import WITHOUT_LIMITS

pytestmark = pytest.mark.django_db(transaction=True)


def test_thread_and_not_the_request_looks_the_account_up(settings: Any) -> None:
    for name, value in WITHOUT_LIMITS.items():
        setattr(settings, name, value)
    del settings.MAGIC_LINK_MAIL_DISPATCH
    get_user_model().objects.create_user("ada", email="Ada@example.com")
    outbox.outbox = []
    with CaptureQueriesContext(connection) as queries:
        for address in ("ada@example.com", "nobody@example.com"):
            assert APIClient().post("/api/auth/magic/request/", {"email": address}).status_code == 202
    wait_for_background_mail()
    assert [message.to for message in outbox.outbox] == [["Ada@example.com"]]
    assert get_user_model()._meta.db_table not in " ".join(query["sql"] for query in queries)
