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


def save_directly(**fields: Any) -> None:
    """Save the key without the services, as a project's own code may do."""
    api_key = APIKey.objects.get()
    vars(api_key).update(fields)
    api_key.save()


def queries_of(client: Any, status: int = 200) -> int:
    with CaptureQueriesContext(connection) as queries:
        assert client.get("/plain/").status_code == status
    return len(queries)


def test_cached_key_takes_no_query_until_the_ttl_ends(clock: Clock) -> None:
    client = bearer(make_key()[1])
    client.get("/plain/")
    assert queries_of(client) == 0
    clock.now += 59.9
    assert queries_of(client) == 0
    clock.now += 0.1
    assert queries_of(client) == 1
    assert queries_of(client) == 0


def test_without_a_ttl_every_request_queries(settings: Any) -> None:
    settings.API_KEYS_CACHE_TTL = 0
    client = bearer(make_key()[1])
    client.get("/plain/")
    assert queries_of(client) == queries_of(client) == 1


@pytest.mark.parametrize("change", ["revoke", "rotate", "update", "delete", "save", "delete the organization"])
def test_change_takes_effect_immediately_in_its_own_process(change: str) -> None:
    firm = make_firm()
    api_key, raw = make_key(firm, scopes=["orders:read"])
    client = bearer(raw)
    assert client.get("/orders/").status_code == client.get("/orders/").status_code == 200
    {
        "revoke": lambda: services.revoke_api_key(api_key),
        "rotate": lambda: services.rotate_api_key(api_key, grace=timedelta()),
        "update": lambda: services.update_api_key(api_key=api_key, scopes=[]),
        "delete": lambda: services.delete_api_key(api_key),
        "save": lambda: save_directly(revoked_at=timezone.now()),
        "delete the organization": lambda: Firm.objects.all().delete(),
    }[change]()
    assert client.get("/orders/").status_code == (403 if change == "update" else 401)


def test_cached_key_expires_on_time() -> None:
    end = timezone.now() + timedelta(hours=1)
    client = bearer(make_key(expires_at=end)[1])
    client.get("/plain/")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(authentication.timezone, "now", lambda: end)
        assert queries_of(client, 401) == 0


def test_cached_key_is_restricted_to_its_networks() -> None:
    client = bearer(make_key(allowed_networks=["127.0.0.0/8"])[1])
    client.get("/plain/")
    with CaptureQueriesContext(connection) as queries:
        assert client.get("/plain/", REMOTE_ADDR="192.0.2.1").status_code == 401
    assert len(queries) == 0


def test_invalid_keys_are_not_cached() -> None:
    api_key, raw = make_key()
    services.revoke_api_key(api_key)
    assert queries_of(bearer(raw), 401) == queries_of(bearer(raw), 401) == 1
    assert cache.cache._entries == {}


def test_cache_does_not_contain_raw_keys() -> None:
    _api_key, raw = make_key()
    bearer(raw).get("/plain/")
    ((digest, (_until, credential)),) = cache.cache._entries.items()
    assert digest == hashlib.sha256(raw.encode()).digest()
    assert str(raw) not in repr(credential)


@pytest.mark.django_db(transaction=True)
def test_read_before_the_commit_of_a_revocation_is_discarded() -> None:
    api_key, raw = make_key()
    client = bearer(raw)
    with transaction.atomic():
        services.revoke_api_key(api_key)
        # Another thread, which does not see the revocation yet, stores its result during the transaction.
        snapshot = APIKeyCredential(id=api_key.pk, prefix="x", owner_id=1, scopes=frozenset())
        cache.cache.put(hashlib.sha256(raw.encode()).digest(), snapshot, cache.cache.begin_read(), 60)
    assert queries_of(client, 401) == 1


def entry() -> APIKeyCredential:
    return APIKeyCredential(id=1, prefix="x", owner_id=1, scopes=frozenset())


def test_slow_read_stores_nothing_after_a_revocation() -> None:
    memory = Cache()
    read = memory.begin_read()
    memory.clear()
    memory.put(b"key", entry(), read, 60)
    assert memory.get(b"key") is None


def test_ttl_counts_from_the_start_of_a_slow_read(clock: Clock) -> None:
    memory = Cache()
    read = memory.begin_read()
    clock.now += 59
    memory.put(b"key", entry(), read, 60)
    assert memory.get(b"key") is not None
    clock.now += 1
    assert memory.get(b"key") is None


def test_cache_size_is_limited() -> None:
    memory = Cache()
    for number in range(cache.SIZE + 10):
        memory.put(str(number).encode(), entry(), memory.begin_read(), 60)
    assert len(memory._entries) == cache.SIZE
    assert memory.get(b"0") is None
    assert memory.get(str(cache.SIZE + 9).encode()) is not None
