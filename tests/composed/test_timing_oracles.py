"""The attack: the time of a response reveals who has an account. ``bench/timing_oracles.py`` measures it."""

from __future__ import annotations

from unittest.mock import Mock, patch

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from background.celery import app
from dovetail_core.mail import in_background, wait_for_background_mail
from dovetail_core.queues import Unavailable
from dovetail_identity.services import issue_tokens
from dovetail_notify.testing import sent_notifications
from dovetail_tenancy.services import invite
from tests.composed import factories
from tests.identity.hashers import CountingHasher

AUTH = "/api/auth"
ENDPOINTS = {
    "token": (f"{AUTH}/jwt/token/", {"password": "wrong"}),
    "register": (f"{AUTH}/register/", {"password": "correct horse battery 9"}),
    "reset": (f"{AUTH}/password/reset/", {}),
    "magic request": (f"{AUTH}/magic/request/", {}),
    "magic verify": (f"{AUTH}/magic/verify/", {"token": "12345678"}),
    "invite": ("/api/v1/organizations/{}/invitations", {"role": "member"}),
}


#: How mails and the notification of the invited person leave the request: the modules of settings.
WAYS = {
    "broker": "contrib.celery",
    "broken broker": "contrib.celery",
    "thread": "mail",
}


@pytest.mark.django_db
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_known_and_unknown_addresses_take_the_same_work(
    endpoint, way, settings, owner, organization, django_capture_on_commit_callbacks
):
    by_thread = way == "thread"
    dispatch, send = ("in_background", "send_in_background") if by_thread else ("dispatch", "send_invitation")
    for package, name in (("identity", "IDENTITY"), ("magiclink", "MAGIC_LINK")):
        setattr(settings, f"{name}_MAIL_DISPATCH", f"dovetail_{package}.{WAYS[way]}.{dispatch}")
    settings.TENANCY_INVITATION_SENDER = f"dovetail_tenancy.{WAYS[way]}.{send}"
    settings.NOTIFY_RUNNER = f"dovetail_notify.{'outbox.runner.immediate' if by_thread else 'contrib.celery.run'}"
    settings.CELERY_BROKER_URL = "" if by_thread else "amqp://localhost"
    settings.PASSWORD_HASHERS = ["tests.identity.hashers.CountingHasher"]
    factories.user(email="known@example.com")
    path, body = ENDPOINTS[endpoint]
    headers = {"authorization": f"Bearer {issue_tokens(owner, request=None)['access']}"} if endpoint == "invite" else {}
    work = []
    # The first request fills caches of the process.
    for name in ("nobody", "unknown", "known"):
        CountingHasher.calls = 0
        background = Mock()
        with (
            patch(
                "dovetail_core.queues.publish", side_effect=Unavailable if way == "broken broker" else None
            ) as publish,
            patch("dovetail_core.mail.in_background", background),
            patch("console.receivers.in_background", background),
            patch.dict(app.conf.changes, {"task_always_eager": by_thread}),
            CaptureQueriesContext(connection) as queries,
            django_capture_on_commit_callbacks(execute=True),
        ):
            address = {"email": f"{name}@example.com"}
            response = Client().post(path.format(organization.pk), body | address, "application/json", headers=headers)
        left = (publish.call_count, background.call_count)
        work.append((response.status_code, len(queries), CountingHasher.calls, left))
    assert work[1] == work[2]
    left = {"token": 0, "magic verify": 0, "invite": 2}.get(endpoint, 1)
    assert work[2][3] == (0 if by_thread else left, 0 if way == "broker" else left)


def in_background_and_close(work, *, label):
    def run():
        try:
            work()
        finally:
            # Django does not close the connection of a thread to a database in memory.
            connection.connection.close()

    in_background(run, label=label)


# With commits, because the thread has a connection of its own.
@pytest.mark.django_db(transaction=True)
def test_thread_notifies_invited_person_without_broker(organization, owner):
    known = factories.user()
    with patch("console.receivers.in_background", in_background_and_close):
        invite(organization=organization, email=known.email, role="member", actor=owner)
        wait_for_background_mail()
    assert [row.title for row in sent_notifications(to=known)] == ["You are invited to Initech"]
