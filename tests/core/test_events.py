from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import transaction

from dovetail_core import context
from dovetail_core.events import Event, domain_event, emit


@pytest.fixture
def listen() -> Iterator[Callable[[Callable[[Event], None]], None]]:
    connected: list[Any] = []

    def connect(receiver: Callable[[Event], None]) -> None:
        def adapter(sender: type[Event], event: Event, **kwargs: Any) -> None:
            receiver(event)

        connected.append(adapter)
        domain_event.connect(adapter)

    yield connect
    for adapter in connected:
        domain_event.disconnect(adapter)


def test_receiver_gets_the_event(listen: Any) -> None:
    seen: list[Event] = []
    listen(seen.append)
    target = Group(pk=5)
    returned = emit(
        "api_key.revoked", actor="ada", organization_id=7, target=target, data={"prefix": "dv_12"}, using="default"
    )
    assert seen == [returned]
    (event,) = seen
    assert (event.name, event.actor, event.organization_id, event.target) == ("api_key.revoked", "ada", 7, target)
    assert (dict(event.data), event.using, event.request_id) == ({"prefix": "dv_12"}, "default", None)
    assert timedelta() <= datetime.now(UTC) - event.occurred_at < timedelta(minutes=1)


def test_actor_and_organization_default_to_the_context(listen: Any) -> None:
    seen: list[Event] = []
    listen(seen.append)
    with context.bind(request_id="r-1", principal="ada", organization_id=3):
        emit("thing.happened")
        emit("thing.happened", actor="linus", organization_id=4)
    assert [(e.request_id, e.actor, e.organization_id) for e in seen] == [("r-1", "ada", 3), ("r-1", "linus", 4)]


def test_event_is_immutable() -> None:
    data = {"role": "owner"}
    event = emit("thing.happened", data=data)
    data["role"] = "member"
    assert event.data == {"role": "owner"}
    with pytest.raises(TypeError):
        event.data["role"] = "member"  # type: ignore[index]  # what must not work
    with pytest.raises(AttributeError):
        event.name = "thing.else"  # type: ignore[misc]  # what must not work


@pytest.mark.django_db(transaction=True)
def test_rows_of_a_receiver_are_rolled_back_with_the_change(listen: Any) -> None:
    listen(lambda event: Group.objects.create(name=event.name))

    def change() -> None:
        User.objects.create_user("ada")
        emit("user.created")
        assert Group.objects.filter(name="user.created").exists()
        raise RuntimeError

    with pytest.raises(RuntimeError), transaction.atomic():
        change()
    assert not Group.objects.exists()
    with transaction.atomic():
        emit("user.created")
    assert Group.objects.get().name == "user.created"


@pytest.mark.django_db(transaction=True)
def test_exception_in_a_receiver_prevents_the_log_line(listen: Any, caplog: pytest.LogCaptureFixture) -> None:
    def refuse(event: Event) -> None:
        raise PermissionError("audit is down")

    listen(refuse)
    caplog.set_level(logging.INFO, "dovetail.events")

    def change() -> None:
        User.objects.create_user("ada")
        emit("user.created")

    with pytest.raises(PermissionError, match="audit is down"), transaction.atomic():
        change()
    assert not User.objects.exists()
    assert caplog.records == []


@pytest.mark.parametrize("name", ["created", "User.created", "user.created.now", "user created", "", "user.", "key.1"])
def test_malformed_name_is_rejected(name: str) -> None:
    with pytest.raises(ValueError, match=r"^An event name must have the form 'subject\.happened' in lower case; got "):
        emit(name)


@pytest.mark.parametrize("secret", ["token", "password", "raw_key", "code", "refresh"])
def test_secret_in_the_data_is_rejected_before_sending(listen: Any, secret: str) -> None:
    seen: list[Event] = []
    listen(seen.append)
    with pytest.raises(ValueError, match=rf"The data of thing\.happened contains a secret \({secret}\)") as raised:
        emit("thing.happened", data={secret: "hunter2", "prefix": "x"})
    assert "hunter2" not in str(raised.value)
    assert seen == []


def test_event_is_logged_as_one_structured_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "dovetail.events")
    emit("group.joined", actor=User(pk=1), organization_id=Group(pk=2), target=Group(pk=3), data={"role": "member"})
    (record,) = caplog.records
    assert (record.name, record.levelname, record.getMessage()) == ("dovetail.events", "INFO", "group.joined")
    assert (
        vars(record).items()
        >= {
            "event": "group.joined",
            "actor_id": "1",
            "organization_id": "2",
            "target": "auth.Group:3",
            "data": {"role": "member"},
        }.items()
    )


def test_log_line_contains_none_for_missing_values(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "dovetail.events")
    emit("thing.happened")
    emit("thing.happened", target="an external object")
    first, second = map(vars, caplog.records)
    assert (first["actor_id"], first["organization_id"], first["target"]) == (None, None, None)
    assert second["target"] == "an external object"
