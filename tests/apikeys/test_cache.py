"""``API_KEYS_CACHE_TTL``: what a process remembers, and when it stops."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from dovetail_apikeys import services
from dovetail_apikeys.models import APIKey
from dovetail_apikeys.principal import APIKeyCredential
from dovetail_apikeys.verification import authentication, cache
from dovetail_apikeys.verification.cache import Cache
from tests.apikeys.factories import bearer, make_firm, make_key
from tests.apikeys.firms.models import Firm

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _ttl(settings: Any) -> None:
    settings.API_KEYS_CACHE_TTL = 60


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(cache, "time", clock)
    return clock


def saved(**fields: Any) -> None:
    """As a project's own code does it, past the services."""
    api_key = APIKey.objects.get()
    vars(api_key).update(fields)
    api_key.save()


def queries_of(client: Any, status: int = 200) -> int:
    with CaptureQueriesContext(connection) as queries:
        assert client.get("/plain/").status_code == status
    return len(queries)


def test_a_known_key_costs_no_query_until_its_time_is_over(clock: Clock) -> None:
    client = bearer(make_key()[1])
    client.get("/plain/")
    assert queries_of(client) == 0
    clock.now += 59.9
    assert queries_of(client) == 0
    clock.now += 0.1
    assert queries_of(client) == 1
    assert queries_of(client) == 0


def test_without_it_every_request_asks(settings: Any) -> None:
    settings.API_KEYS_CACHE_TTL = 0
    client = bearer(make_key()[1])
    client.get("/plain/")
    assert queries_of(client) == queries_of(client) == 1


@pytest.mark.parametrize("change", ["revoke", "rotate", "update", "delete", "save", "delete the organization"])
def test_a_change_holds_at_once_in_the_process_that_makes_it(change: str) -> None:
    firm = make_firm()
    api_key, raw = make_key(firm, scopes=["orders:read"])
    client = bearer(raw)
    assert client.get("/orders/").status_code == client.get("/orders/").status_code == 200
    {
        "revoke": lambda: services.revoke_api_key(api_key),
        "rotate": lambda: services.rotate_api_key(api_key, grace=timedelta()),
        "update": lambda: services.update_api_key(api_key=api_key, scopes=[]),
        "delete": lambda: services.delete_api_key(api_key),
        "save": lambda: saved(revoked_at=timezone.now()),
        "delete the organization": lambda: Firm.objects.all().delete(),
    }[change]()
    assert client.get("/orders/").status_code == (403 if change == "update" else 401)


def test_an_expiry_is_kept_to_within_the_time() -> None:
    end = timezone.now() + timedelta(hours=1)
    client = bearer(make_key(expires_at=end)[1])
    client.get("/plain/")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(authentication.timezone, "now", lambda: end)
        assert queries_of(client, 401) == 0


def test_networks_are_kept_to_within_the_time() -> None:
    client = bearer(make_key(allowed_networks=["127.0.0.0/8"])[1])
    client.get("/plain/")
    with CaptureQueriesContext(connection) as queries:
        assert client.get("/plain/", REMOTE_ADDR="192.0.2.1").status_code == 401
    assert len(queries) == 0


def test_what_is_bad_is_not_remembered() -> None:
    api_key, raw = make_key()
    services.revoke_api_key(api_key)
    assert queries_of(bearer(raw), 401) == queries_of(bearer(raw), 401) == 1
    assert cache.cache._entries == {}


def test_a_key_is_in_no_memory() -> None:
    _api_key, raw = make_key()
    bearer(raw).get("/plain/")
    ((digest, (_until, credential)),) = cache.cache._entries.items()
    assert digest == hashlib.sha256(raw.encode()).digest()
    assert str(raw) not in repr(credential)


@pytest.mark.django_db(transaction=True)
def test_what_another_thread_read_before_a_revocation_commits_is_not_stored() -> None:
    api_key, raw = make_key()
    client = bearer(raw)
    with transaction.atomic():
        services.revoke_api_key(api_key)
        # As a thread that does not see the revocation yet: it asked, and stores within the transaction.
        snapshot = APIKeyCredential(id=api_key.pk, prefix="x", organization_id=1, scopes=frozenset())
        cache.cache.put(hashlib.sha256(raw.encode()).digest(), snapshot, cache.cache.begin_read(), 60)
    assert queries_of(client, 401) == 1


def entry() -> APIKeyCredential:
    return APIKeyCredential(id=1, prefix="x", organization_id=1, scopes=frozenset())


def test_a_slow_fill_stores_nothing_after_a_revocation() -> None:
    memory = Cache()
    read = memory.begin_read()
    memory.clear()
    memory.put(b"key", entry(), read, 60)
    assert memory.get(b"key") is None


def test_in_another_process_a_slow_fill_counts_from_its_reading(clock: Clock) -> None:
    memory = Cache()
    read = memory.begin_read()
    clock.now += 59
    memory.put(b"key", entry(), read, 60)
    assert memory.get(b"key") is not None
    clock.now += 1
    assert memory.get(b"key") is None


def test_memory_has_a_bound() -> None:
    memory = Cache()
    for number in range(cache.SIZE + 10):
        memory.put(str(number).encode(), entry(), memory.begin_read(), 60)
    assert len(memory._entries) == cache.SIZE
    assert memory.get(b"0") is None
    assert memory.get(str(cache.SIZE + 9).encode()) is not None
