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
from tests.identity.factories import PASSWORD, make_user

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize(
    ("path", "recipients"),
    [
        ("/api/auth/register/", ["ada@example.com", "nobody@example.com"]),
        ("/api/auth/password/reset/", ["ada@example.com"]),
    ],
)
def test_thread_and_not_the_request_looks_the_account_up(settings: Any, path: str, recipients: list[str]) -> None:
    settings.IDENTITY_REGISTRATION = True
    settings.IDENTITY_EMAIL_VERIFICATION_URL = settings.IDENTITY_PASSWORD_RESET_URL = "https://app.example.com/mail"
    make_user(email="ada@example.com")
    outbox.outbox = []
    with CaptureQueriesContext(connection) as queries:
        for address in ("ada@example.com", "nobody@example.com"):
            assert APIClient().post(path, {"email": address, "password": PASSWORD}).status_code == 202
    wait_for_background_mail()
    # Two threads send, in any order.
    assert sorted(message.to[0] for message in outbox.outbox) == recipients
    assert get_user_model()._meta.db_table not in " ".join(query["sql"] for query in queries)
