from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.test import APIClient

from dovetail_apikeys.models import APIKey
from dovetail_apikeys.verification import usage
from dovetail_core.events import Event, domain_event
from tests.apikeys.factories import bearer, make_key

pytestmark = pytest.mark.django_db


def stored() -> APIKey:
    return APIKey.objects.get()


def long_ago() -> None:
    APIKey.objects.update(last_used=timezone.now() - timedelta(minutes=5))
    usage.gate.clear()


@pytest.mark.parametrize("path", ["/plain/", "/refusing/", "/people/", "/nowhere/"])
def test_use_is_recorded_for_any_response(path: str) -> None:
    _api_key, raw = make_key()
    bearer(raw).get(path, REMOTE_ADDR="192.0.2.7")
    # An unknown path has no view that authenticates.
    expected = (None, None) if path == "/nowhere/" else (timezone.now(), "192.0.2.7")
    assert stored().last_used_ip == expected[1]
    assert (stored().last_used is None) is (expected[0] is None)


def test_use_is_recorded_if_the_view_raises() -> None:
    _api_key, raw = make_key()
    client = bearer(raw)
    client.raise_request_exception = False
    assert client.get("/failing/").status_code == 500
    assert stored().last_used is not None


def test_use_of_a_rejected_key_is_not_recorded() -> None:
    _api_key, raw = make_key(allowed_networks=["10.0.0.0/8"])
    bearer(raw).get("/plain/")
    assert stored().last_used is None


def test_uses_are_written_once_per_minute() -> None:
    _api_key, raw = make_key()
    client = bearer(raw)
    client.get("/plain/")
    first = stored().last_used
    with CaptureQueriesContext(connection) as queries:
        for _ in range(5):
            client.get("/plain/")
    assert len(queries) == 5
    assert stored().last_used == first
    # Another process has an empty gate, but its UPDATE matches no row.
    usage.gate.clear()
    client.get("/plain/")
    assert stored().last_used == first
    long_ago()
    client.get("/plain/")
    assert first is not None
    assert stored().last_used > first


def test_zero_interval_disables_recording(settings: Any) -> None:
    settings.API_KEYS_LAST_USED_INTERVAL = 0
    _api_key, raw = make_key()
    with CaptureQueriesContext(connection) as queries:
        bearer(raw).get("/plain/")
    assert len(queries) == 1
    assert stored().last_used is None


def test_new_network_is_recorded_immediately_and_emits_an_event(events: list[Event]) -> None:
    api_key, raw = make_key()
    client = bearer(raw)
    del events[:]
    for address in ("192.0.2.1", "192.0.2.200", "198.51.100.1", "192.0.2.1", "2001:db8:1::1", "2001:db8:1:9::1"):
        client.get("/plain/", REMOTE_ADDR=address)
    assert [(event.name, event.data["network"]) for event in events] == [
        ("api_key.used_from_new_network", "198.51.100.0/24"),
        ("api_key.used_from_new_network", "2001:db8:1::/48"),
    ]
    assert {(event.organization_id, event.target, event.data["prefix"]) for event in events} == {
        (api_key.organization_id, str(api_key.pk), api_key.key_prefix)
    }
    assert stored().used_networks.split() == ["192.0.2.0/24", "198.51.100.0/24", "2001:db8:1::/48"]
    assert stored().last_used_ip == "2001:db8:1::1"


def test_number_of_stored_networks_is_limited() -> None:
    _api_key, raw = make_key()
    for number in range(usage.MAX_NETWORKS + 5):
        bearer(raw).get("/plain/", REMOTE_ADDR=f"10.0.{number}.1")
    networks = stored().used_networks.split()
    assert (len(networks), networks[-1]) == (usage.MAX_NETWORKS, f"10.0.{usage.MAX_NETWORKS + 4}.0/24")


def test_untrusted_forwarded_address_is_ignored() -> None:
    _api_key, raw = make_key()
    client = bearer(raw)
    client.get("/plain/")
    with CaptureQueriesContext(connection) as queries:
        for number in range(5):
            client.get("/plain/", HTTP_X_FORWARDED_FOR=f"203.0.113.{number}")
    assert len(queries) == 5
    assert stored().used_networks == "127.0.0.0/24"


def test_trusted_proxy_distinguishes_clients(settings: Any) -> None:
    settings.DOVETAIL_TRUSTED_PROXIES = ["127.0.0.1"]
    _api_key, raw = make_key()
    for number in range(3):
        bearer(raw).get("/plain/", HTTP_X_FORWARDED_FOR=f"10.0.{number}.1")
    assert len(stored().used_networks.split()) == 3


def test_varied_part_of_forwarded_address_causes_no_writes(settings: Any) -> None:
    settings.DOVETAIL_TRUSTED_PROXIES = ["127.0.0.1"]
    _api_key, raw = make_key()
    client = bearer(raw)
    client.get("/plain/", HTTP_X_FORWARDED_FOR="10.0.0.1")
    with CaptureQueriesContext(connection) as queries:
        for number in range(5):
            client.get("/plain/", HTTP_X_FORWARDED_FOR=f"203.0.113.{number}, 10.0.0.1")
    assert len(queries) == 5


def test_failed_recording_does_not_fail_the_request(caplog: pytest.LogCaptureFixture) -> None:
    def raise_error(**kwargs: Any) -> None:
        raise RuntimeError("no")

    api_key, raw = make_key()
    bearer(raw).get("/plain/", REMOTE_ADDR="192.0.2.1")
    domain_event.connect(raise_error)
    try:
        assert bearer(raw).get("/plain/", REMOTE_ADDR="198.51.100.1").status_code == 200
    finally:
        domain_event.disconnect(raise_error)
    assert f"The use of API key {api_key.pk} was not recorded." in caplog.text
    assert str(raw) not in caplog.text
    # The transaction with the failed receiver is rolled back.
    assert stored().used_networks == "192.0.2.0/24"


def test_use_without_an_address_is_recorded() -> None:
    _api_key, raw = make_key()
    APIClient().get("/plain/", HTTP_X_API_KEY=raw, REMOTE_ADDR="")
    assert stored().last_used is not None
    assert stored().last_used_ip is None


def test_recording_ignores_a_deleted_key() -> None:
    api_key, _raw = make_key()
    APIKey.objects.all().delete()
    usage.record(api_key.pk, None)


def test_gate_size_is_limited() -> None:
    gate = usage.Gate()
    for number in range(gate.SIZE + 10):
        assert gate.passes(number, 60)
    assert len(gate._until) <= gate.SIZE
    assert not gate.passes(gate.SIZE + 9, 60)
    assert gate.passes("another value", 0)
    assert gate.passes("another value", 0)
