from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import IntegrityError, OperationalError
from django.utils import timezone

from dovetail_apikeys import services
from dovetail_apikeys.exceptions import AlreadyRotated, BeyondOwn, Gone, InvalidValue, NotActive, UnknownScope
from dovetail_apikeys.models import APIKey
from dovetail_apikeys.principal import APIKeyCredential
from dovetail_apikeys.verification import verifiers
from dovetail_core.events import Event, domain_event
from dovetail_core.transactions import Vanished
from tests.apikeys.factories import bearer, make_firm, make_key, make_user

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)


def credential(*scopes: str, **fields: Any) -> APIKeyCredential:
    """Return the credential of a key that makes a change."""
    return APIKeyCredential(id=1, prefix="dvt_live_x", owner_id=1, scopes=frozenset(scopes), **fields)


def in_(delta: timedelta) -> datetime:
    return timezone.now() + delta


def test_key_is_stored_as_hash_and_prefix(events: list[Event]) -> None:
    firm, user = make_firm(), make_user()
    api_key, raw = make_key(firm, name=" Till 4 ", scopes=["orders:write", "orders:read"], created_by=user)
    assert verifiers.OURS.prefix_of(raw) == api_key.key_prefix == raw[: len("dvt_live_") + 12]
    assert len(raw) == len("dvt_live_") + 50
    stored = APIKey.objects.get()
    assert stored.hashed_key == "v1$" + hashlib.sha256(raw.encode()).hexdigest()
    assert (stored.name, stored.scopes, stored.status) == ("Till 4", "orders:read orders:write", "active")
    assert (stored.organization, stored.created_by) == (firm, user)
    assert not any(str(raw) in str(value) for value in vars(stored).values())
    (event,) = events
    assert (event.name, event.organization_id, event.target, event.actor) == (
        "api_key.created",
        firm.pk,
        api_key,
        user,
    )
    assert event.data == {"prefix": api_key.key_prefix, "scopes": ["orders:read", "orders:write"]}


def test_raw_keys_are_random() -> None:
    raws = {str(make_key()[1]) for _ in range(50)}
    assert len({raw[len("dvt_live_") :][:12] for raw in raws}) == len({raw[-38:] for raw in raws}) == 50
    # All 62 characters occur.
    assert {character for raw in raws for character in raw[9:]} == set(verifiers.ALPHABET)


def test_existing_prefix_is_generated_again(monkeypatch: pytest.MonkeyPatch) -> None:
    _existing, raw = make_key()
    fresh = verifiers.generate()
    generated = iter([raw, raw, fresh])
    monkeypatch.setattr(verifiers, "generate", lambda: next(generated))
    api_key, new_raw = make_key()
    assert new_raw == fresh
    assert api_key.key_prefix == verifiers.OURS.prefix_of(fresh)
    monkeypatch.setattr(verifiers, "generate", lambda: raw)
    with pytest.raises(IntegrityError):
        make_key()
    assert APIKey.objects.count() == 2


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"name": ""}, InvalidValue),
        ({"name": " \n "}, InvalidValue),
        ({"name": "a\0b"}, InvalidValue),
        ({"name": "\ud800"}, InvalidValue),
        ({"name": "x" * 101}, InvalidValue),
        ({"scopes": ["orders:red"]}, UnknownScope),
        ({"scopes": ["*"]}, UnknownScope),
        ({"scopes": ["\0"]}, UnknownScope),
        ({"allowed_networks": ["10.0.0.0/33"]}, InvalidValue),
        ({"allowed_networks": ["10.0.0.1 10.0.0.2"]}, InvalidValue),
        ({"allowed_networks": [f"10.0.0.{n}" for n in range(51)]}, InvalidValue),
        ({"rate_limit": "many"}, InvalidValue),
        ({"rate_limit": "0/min"}, InvalidValue),
        ({"expires_at": datetime(2020, 1, 1, tzinfo=UTC)}, InvalidValue),
    ],
)
def test_invalid_arguments_create_no_key(fields: dict[str, Any], error: type[Exception], events: list[Event]) -> None:
    with pytest.raises(error):
        make_key(**fields)
    assert APIKey.objects.count() == 0
    assert events == []


def test_unknown_scope_error_lists_declared_scopes() -> None:
    with pytest.raises(
        UnknownScope, match=r"'orders:red'. The declared scopes are: .*orders:\*, orders:read, orders:write"
    ):
        make_key(scopes=["orders:red"])


def test_wildcard_scope_is_accepted() -> None:
    assert make_key(scopes=["orders:*"])[0].scope_list == ["orders:*"]


def test_key_cannot_grant_more_rights_than_it_has() -> None:
    creator = credential("orders:read", expires_at=in_(HOUR), allowed_networks=("10.0.0.0/8",))
    for more in (
        {"scopes": ["orders:write"]},
        {"scopes": ["orders:*"]},
        {"expires_at": in_(2 * HOUR)},
        {"allowed_networks": ["11.0.0.0/8"]},
        {"allowed_networks": ["10.0.0.0/8", "::/0"]},
        {"allowed_networks": ["::/0"]},
    ):
        with pytest.raises(BeyondOwn):
            make_key(within=creator, **more)
    api_key, _raw = make_key(within=creator, scopes=["orders:read"])
    # Arguments that are left out get the restrictions of the creating key.
    assert (api_key.expires_at, api_key.network_list) == (creator.expires_at, ["10.0.0.0/8"])
    assert make_key(within=credential("orders:*"), scopes=["orders:write"])[0].scope_list == ["orders:write"]
    with pytest.raises(BeyondOwn):
        services.update_api_key(api_key=api_key, scopes=["orders:write"], within=creator)
    strong, _raw = make_key(scopes=["orders:*"])
    with pytest.raises(BeyondOwn):
        services.rotate_api_key(strong, within=creator)
    wide, _raw = make_key()
    successor, _raw = services.rotate_api_key(wide, within=creator)
    assert successor.expires_at == creator.expires_at


def test_update_changes_name_and_scopes(events: list[Event]) -> None:
    api_key, raw = make_key(scopes=["orders:read"])
    changed = services.update_api_key(api_key=api_key, name="Till 5", scopes=["orders:write"])
    stored = APIKey.objects.get()
    assert (stored.name, stored.scopes) == (changed.name, changed.scopes) == ("Till 5", "orders:write")
    assert events[-1].data["fields"] == ["name", "scopes"]
    assert bearer(raw).get("/orders/").status_code == 403
    services.update_api_key(api_key=changed, name="Till 5")
    assert [event.name for event in events] == ["api_key.created", "api_key.updated"]


def test_rotation_creates_a_successor_with_a_grace_period(events: list[Event]) -> None:
    firm, user = make_firm(), make_user()
    old, old_raw = make_key(
        firm, scopes=["orders:read"], allowed_networks=["127.0.0.0/8"], rate_limit="5/min", created_by=user
    )
    new, new_raw = services.rotate_api_key(old, actor=user)
    stored = APIKey.objects.get(pk=old.pk)
    assert abs(stored.expires_at - in_(timedelta(days=1))) < timedelta(minutes=1)
    for name in ("name", "scopes", "allowed_networks", "rate_limit", "organization_id", "created_by_id"):
        assert getattr(new, name) == getattr(old, name)
    assert (new.rotated_from, new.expires_at, new.last_used) == (old.pk, None, None)
    assert [bearer(raw).get("/orders/").status_code for raw in (old_raw, new_raw)] == [200, 200]
    event = events[-1]
    assert (event.name, event.target, event.actor) == ("api_key.rotated", old, user)
    assert event.data == {
        "prefix": old.key_prefix,
        "successor_id": str(new.pk),
        "successor_prefix": new.key_prefix,
        "expires_at": stored.expires_at.isoformat(),
    }


def test_rotation_without_grace_ends_the_old_key() -> None:
    old, old_raw = make_key()
    _new, new_raw = services.rotate_api_key(old, grace=timedelta())
    assert [bearer(raw).get("/plain/").status_code for raw in (old_raw, new_raw)] == [401, 200]


def test_rotation_never_extends_the_old_key() -> None:
    end = in_(HOUR)
    old, _raw = make_key(expires_at=end)
    new, _raw = services.rotate_api_key(old)
    assert (APIKey.objects.get(pk=old.pk).expires_at, new.expires_at) == (end, end)
    later, _raw = services.rotate_api_key(new, expires_at=end + HOUR)
    assert later.expires_at == end + HOUR


def test_key_is_rotated_only_once(events: list[Event]) -> None:
    old, _raw = make_key()
    services.rotate_api_key(old)
    end = APIKey.objects.get(pk=old.pk).expires_at
    count = len(events)
    with pytest.raises(AlreadyRotated):
        services.rotate_api_key(old, grace=timedelta())
    assert (APIKey.objects.count(), APIKey.objects.get(pk=old.pk).expires_at, len(events)) == (2, end, count)


@pytest.mark.parametrize("grace", [timedelta(seconds=-1), timedelta(days=7, seconds=1)])
def test_grace_out_of_range_is_invalid(grace: timedelta) -> None:
    old, _raw = make_key()
    with pytest.raises(InvalidValue):
        services.rotate_api_key(old, grace=grace)


def test_revocation_is_permanent(events: list[Event]) -> None:
    api_key, raw = make_key()
    assert services.revoke_api_key(api_key)
    assert not services.revoke_api_key(api_key)
    assert [event.name for event in events] == ["api_key.created", "api_key.revoked"]
    assert bearer(raw).get("/plain/").status_code == 401
    assert api_key.status == APIKey.objects.get().status == "revoked"
    for change in (
        lambda: services.rotate_api_key(api_key),
        lambda: services.update_api_key(api_key=api_key, name="x"),
    ):
        with pytest.raises(NotActive, match="revoked"):
            change()


def test_deleted_key_cannot_be_used_or_rotated(events: list[Event]) -> None:
    api_key, raw = make_key()
    services.delete_api_key(api_key)
    services.delete_api_key(api_key)
    assert [event.name for event in events] == ["api_key.created", "api_key.deleted"]
    assert events[-1].target.pk == api_key.pk
    assert bearer(raw).get("/plain/").status_code == 401
    with pytest.raises(Gone):
        services.rotate_api_key(api_key)


@pytest.mark.parametrize("call", ["create", "update", "rotate", "revoke", "delete"])
def test_failing_receiver_rolls_back_the_change(call: str) -> None:
    api_key, _raw = make_key()
    before = list(APIKey.objects.values())

    def raise_error(**kwargs: Any) -> None:
        raise RuntimeError("no")

    domain_event.connect(raise_error)
    try:
        with pytest.raises(RuntimeError):
            {
                "create": make_key,
                "update": lambda: services.update_api_key(api_key=api_key, name="x"),
                "rotate": lambda: services.rotate_api_key(api_key),
                "revoke": lambda: services.revoke_api_key(api_key),
                "delete": lambda: services.delete_api_key(api_key),
            }[call]()
    finally:
        domain_event.disconnect(raise_error)
    assert list(APIKey.objects.values()) == before


@pytest.mark.django_db(transaction=True)
def test_second_attempt_has_the_scopes_of_the_first() -> None:
    deadlocks: list[Exception] = []

    def fail_once(event: Event, **_: Any) -> None:
        if deadlocks:
            raise deadlocks.pop()

    domain_event.connect(fail_once)
    try:
        deadlocks.append(OperationalError(1213, "Deadlock found"))
        # An iterator is empty after the first attempt.
        api_key, _raw = make_key(scopes=iter(["orders:read"]))
        assert APIKey.objects.get().scopes == "orders:read"
        deadlocks.append(OperationalError(1213, "Deadlock found"))
        services.update_api_key(api_key=api_key, scopes=iter(["orders:write"]))
        assert APIKey.objects.get().scopes == "orders:write"
    finally:
        domain_event.disconnect(fail_once)


@pytest.mark.django_db(transaction=True)
def test_key_of_a_deleted_organization_raises_vanished() -> None:
    firm = make_firm()
    type(firm)._base_manager.filter(pk=firm.pk).delete()
    with pytest.raises(Vanished):
        make_key(firm)
