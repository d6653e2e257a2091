"""Keys that expire soon are told of, once."""

from __future__ import annotations

from datetime import datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.checks import run_checks
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from dovetail_apikeys import services
from dovetail_apikeys.lifecycle import expiry_notices
from dovetail_apikeys.models import APIKey
from dovetail_core.events import Event, domain_event
from tests.apikeys.factories import make_firm, make_key

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


def in_days(days: float) -> datetime:
    return timezone.now() + days * DAY


def told(events: list[Event]) -> list[str]:
    return [str(event.data["prefix"]) for event in events if event.name == "api_key.expiring"]


def test_a_key_that_expires_soon_is_an_event_once(events: list[Event]) -> None:
    firm, end = make_firm(), in_days(3)
    api_key, _raw = make_key(firm, expires_at=end)
    make_key(firm)
    make_key(firm, expires_at=in_days(15))
    del events[:]
    assert [services.announce_expiring_keys() for _ in range(3)] == [1, 0, 0]
    (event,) = events
    assert (event.name, event.target, event.organization_id) == ("api_key.expiring", api_key, firm.pk)
    assert event.data == {"prefix": api_key.key_prefix, "expires_at": end.isoformat()}


def test_how_long_before_is_a_setting(settings: Any, events: list[Event]) -> None:
    near, _raw = make_key(expires_at=in_days(2.9))
    far, _raw = make_key(expires_at=in_days(40))
    settings.API_KEYS_EXPIRY_NOTICE_DAYS = 3
    assert services.announce_expiring_keys() == 1
    settings.API_KEYS_EXPIRY_NOTICE_DAYS = 41
    assert services.announce_expiring_keys() == 1
    assert told(events) == [near.key_prefix, far.key_prefix]


@pytest.mark.parametrize("days", [0, -1, 367, 1.5, True, "14", None])
def test_a_notice_is_a_number_of_days(settings: Any, days: Any) -> None:
    settings.API_KEYS_EXPIRY_NOTICE_DAYS = days
    (error,) = [each for each in run_checks() if "API_KEYS_EXPIRY_NOTICE_DAYS" in each.msg]
    assert (error.id, "a whole number of days from 1 to 366" in error.msg) == ("dovetail_apikeys.E001", True)


def test_another_expiry_is_told_of_again(events: list[Event]) -> None:
    api_key, _raw = make_key(expires_at=in_days(3))
    services.announce_expiring_keys()
    APIKey.objects.update(expires_at=in_days(20))
    assert services.announce_expiring_keys() == 0
    APIKey.objects.update(expires_at=in_days(5))
    assert services.announce_expiring_keys() == 1
    assert told(events) == [api_key.key_prefix] * 2


def test_what_is_over_is_not_told_of(events: list[Event]) -> None:
    revoked, _raw = make_key(expires_at=in_days(3))
    services.revoke_api_key(revoked)
    make_key(expires_at=in_days(3))
    APIKey.objects.filter(revoked_at=None).update(expires_at=timezone.now() - DAY)
    assert services.announce_expiring_keys() == 0
    assert told(events) == []


@pytest.mark.parametrize("ends", [None, 3])
def test_a_key_that_was_rotated_has_been_told_of_and_its_successor_has_not(
    events: list[Event], ends: int | None
) -> None:
    old, _raw = make_key(expires_at=None if ends is None else in_days(ends))
    successor, _raw = services.rotate_api_key(old)
    services.announce_expiring_keys()
    assert told(events) == ([] if ends is None else [successor.key_prefix])


def test_what_happened_to_a_key_since_it_was_read_is_seen(events: list[Event]) -> None:
    for change in ({"revoked_at": timezone.now()}, {"expires_at": in_days(300)}):
        api_key, _raw = make_key(expires_at=in_days(3))
        read = APIKey.objects.get(pk=api_key.pk)
        APIKey.objects.filter(pk=api_key.pk).update(**change)
        assert not expiry_notices._announce(read, using="default")
    assert told(events) == []


def test_a_receiver_that_fails_has_its_key_told_of_again_and_keeps_no_other(
    events: list[Event], caplog: pytest.LogCaptureFixture
) -> None:
    keys = [make_key(expires_at=in_days(3))[0] for _ in range(3)]

    def fails(event: Event, **_: Any) -> None:
        if event.name == "api_key.expiring" and event.target == keys[1]:
            raise RuntimeError("no")

    domain_event.connect(fails)
    try:
        assert services.announce_expiring_keys() == 2
    finally:
        domain_event.disconnect(fails)
    assert f"The expiry of API key {keys[1].key_prefix} was not announced." in caplog.text
    del events[:]
    assert services.announce_expiring_keys() == 1
    assert told(events) == [keys[1].key_prefix]


def test_any_number_is_read_by_pages(monkeypatch: pytest.MonkeyPatch, events: list[Event]) -> None:
    monkeypatch.setattr(expiry_notices, "_PAGE", 2)
    keys = [make_key(expires_at=in_days(3))[0] for _ in range(5)]
    with CaptureQueriesContext(connection) as queries:
        assert services.announce_expiring_keys() == 5
    assert sorted(told(events)) == sorted(api_key.key_prefix for api_key in keys)
    assert len([query for query in queries if query["sql"].startswith("SELECT")]) == 4


def test_the_command_says_how_many(events: list[Event]) -> None:
    make_key(expires_at=in_days(3))
    out = StringIO()
    call_command("api_keys", "expiring", stdout=out)
    assert out.getvalue() == "Told of 1 keys that expire soon.\n"
    assert len(told(events)) == 1


def test_the_task_tells(events: list[Event]) -> None:
    pytest.importorskip("celery")
    from dovetail_apikeys.contrib.celery import announce_expiring_keys

    make_key(expires_at=in_days(3))
    assert announce_expiring_keys.apply().get() == 1
    assert len(told(events)) == 1
