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
from dovetail_apikeys.models import APIKey
from dovetail_core.events import Event, domain_event
from tests.apikeys.factories import make_firm, make_key

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


def in_days(days: float) -> datetime:
    return timezone.now() + days * DAY


def announced_prefixes(events: list[Event]) -> list[str]:
    return [str(event.data["prefix"]) for event in events if event.name == "api_key.expiring"]


def test_expiring_key_is_announced_once(events: list[Event]) -> None:
    firm, expires_at = make_firm(), in_days(3)
    api_key, _raw = make_key(firm, expires_at=expires_at)
    make_key(firm)
    make_key(firm, expires_at=in_days(15))
    del events[:]
    assert [services.announce_expiring_keys() for _ in range(3)] == [1, 0, 0]
    (event,) = events
    assert (event.name, event.target, event.organization_id) == ("api_key.expiring", api_key, firm.pk)
    assert event.data == {"prefix": api_key.key_prefix, "expires_at": expires_at.isoformat()}


def test_notice_period_is_configurable(settings: Any, events: list[Event]) -> None:
    near, _raw = make_key(expires_at=in_days(2.9))
    far, _raw = make_key(expires_at=in_days(40))
    settings.API_KEYS_EXPIRY_NOTICE_DAYS = 3
    assert services.announce_expiring_keys() == 1
    settings.API_KEYS_EXPIRY_NOTICE_DAYS = 41
    assert services.announce_expiring_keys() == 1
    assert announced_prefixes(events) == [near.key_prefix, far.key_prefix]


@pytest.mark.parametrize("days", [0, -1, 367, 1.5, True, "14", None])
def test_invalid_notice_period_is_an_error(settings: Any, days: Any) -> None:
    settings.API_KEYS_EXPIRY_NOTICE_DAYS = days
    (error,) = [message for message in run_checks() if "API_KEYS_EXPIRY_NOTICE_DAYS" in message.msg]
    assert (error.id, "a whole number of days from 1 to 366" in error.msg) == ("dovetail_apikeys.E001", True)


def test_new_expiry_is_announced_again(events: list[Event]) -> None:
    api_key, _raw = make_key(expires_at=in_days(3))
    services.announce_expiring_keys()
    APIKey.objects.update(expires_at=in_days(20))
    assert services.announce_expiring_keys() == 0
    APIKey.objects.update(expires_at=in_days(5))
    assert services.announce_expiring_keys() == 1
    assert announced_prefixes(events) == [api_key.key_prefix] * 2


def test_revoked_and_expired_keys_are_not_announced(events: list[Event]) -> None:
    revoked, _raw = make_key(expires_at=in_days(3))
    services.revoke_api_key(revoked)
    make_key(expires_at=in_days(3))
    APIKey.objects.filter(revoked_at=None).update(expires_at=timezone.now() - DAY)
    assert services.announce_expiring_keys() == 0
    assert announced_prefixes(events) == []


@pytest.mark.parametrize("ends", [None, 3])
def test_rotated_key_is_not_announced_but_its_successor_is(events: list[Event], ends: int | None) -> None:
    old, _raw = make_key(expires_at=None if ends is None else in_days(ends))
    successor, _raw = services.rotate_api_key(old)
    services.announce_expiring_keys()
    assert announced_prefixes(events) == ([] if ends is None else [successor.key_prefix])


def test_key_that_changed_after_the_read_is_not_announced(events: list[Event]) -> None:
    for change in ({"revoked_at": timezone.now()}, {"expires_at": in_days(300)}):
        api_key, _raw = make_key(expires_at=in_days(3))
        read = APIKey.objects.get(pk=api_key.pk)
        APIKey.objects.filter(pk=api_key.pk).update(**change)
        assert not services._announce(read, using="default")
    assert announced_prefixes(events) == []


def test_failing_receiver_delays_only_its_own_key(events: list[Event], caplog: pytest.LogCaptureFixture) -> None:
    keys = [make_key(expires_at=in_days(3))[0] for _ in range(3)]

    def raise_for_one_key(event: Event, **_: Any) -> None:
        if event.name == "api_key.expiring" and event.target == keys[1]:
            raise RuntimeError("no")

    domain_event.connect(raise_for_one_key)
    try:
        assert services.announce_expiring_keys() == 2
    finally:
        domain_event.disconnect(raise_for_one_key)
    assert f"The expiry of API key {keys[1].key_prefix} was not announced." in caplog.text
    del events[:]
    assert services.announce_expiring_keys() == 1
    assert announced_prefixes(events) == [keys[1].key_prefix]


def test_expiring_keys_are_read_in_pages(monkeypatch: pytest.MonkeyPatch, events: list[Event]) -> None:
    monkeypatch.setattr(services, "_PAGE", 2)
    keys = [make_key(expires_at=in_days(3))[0] for _ in range(5)]
    with CaptureQueriesContext(connection) as queries:
        assert services.announce_expiring_keys() == 5
    assert sorted(announced_prefixes(events)) == sorted(api_key.key_prefix for api_key in keys)
    assert len([query for query in queries if query["sql"].startswith("SELECT")]) == 4


def test_expiring_command_prints_the_number_of_keys(events: list[Event]) -> None:
    make_key(expires_at=in_days(3))
    out = StringIO()
    call_command("api_keys", "expiring", stdout=out)
    assert out.getvalue() == "Announced keys: 1.\n"
    assert len(announced_prefixes(events)) == 1


def test_celery_task_announces_keys(events: list[Event]) -> None:
    pytest.importorskip("celery")
    from dovetail_apikeys.contrib.celery import announce_expiring_keys

    make_key(expires_at=in_days(3))
    assert announce_expiring_keys.apply().get() == 1
    assert len(announced_prefixes(events)) == 1
