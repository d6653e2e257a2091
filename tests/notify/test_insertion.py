"""Statements that are kept: the same rows as by statements that are made each time, for whoever is told."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.db.models import BinaryField, F, Manager, Q, QuerySet, Value
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from dovetail_notify import fanout, get_notification_model, kept, notify
from dovetail_notify.audience import ForeignRecipient
from dovetail_notify.models import Delivery
from dovetail_notify.services import register_device, set_organization_preference, set_preference
from dovetail_notify.transports.email import EmailTransport
from tests.notify.factories import make_user
from tests.notify.orders.notifications import OrderShipped, Quiet, SignedIn, Tip

pytestmark = pytest.mark.django_db

Notification: Any = get_notification_model()
User: Any = get_user_model()
SHIPPED = OrderShipped(number="A-1")


@pytest.fixture(autouse=True)
def _nothing_is_kept() -> None:
    kept._kept.clear()


def rows_of(*arguments: Any, **keywords: Any) -> list[Any]:
    """What a call wrote; rolled back of it are neither the rows nor what was kept."""
    Notification.objects.all().delete()
    notify(*arguments, **keywords)
    told = Notification.objects.order_by("recipient").values(
        *("recipient", "organization_key", "type", "title", "body", "target_url", "payload", "payload_version"),
        *("actor_key", "collapse_key", "dedupe_key", "seen_at", "created_at", "read_at", "archived_at"),
    )
    sent = Delivery.objects.order_by("notification__recipient", "channel").values(
        *("notification__recipient", "channel", "state", "digest", "attempts", "next_at", "lease", "error")
    )
    return [list(told), list(sent)]


@pytest.mark.parametrize("default", [None, "off", "daily"])
@pytest.mark.parametrize("chosen", [None, "on", "off", "hourly"])
@pytest.mark.parametrize("organization", [None, "7"])
def test_rows_are_those_of_a_statement_made_for_them(default, chosen, organization, settings, monkeypatch):
    settings.NOTIFY_TRANSPORTS = {
        "email": "dovetail_notify.transports.email.EmailTransport",
        "push": "dovetail_notify.testing.FakePush",
    }
    settings.NOTIFY_MEMBERS = lambda key: User.objects.filter(username__gt="").order_by("username")
    monkeypatch.setattr(fanout, "_Message", partial(fanout._Message, now=timezone.now()))
    people = [make_user() for _ in range(3)]
    register_device(user=people[0], kind="fcm", token="t" * 20)
    if default:
        set_organization_preference(organization_key="7", channel="email", mode=default)
    if chosen:
        set_preference(user=people[0], channel="email", mode=chosen)
        set_preference(user=people[1], channel="email", mode=chosen, type_key="orders.tip", organization_key="7")
    set_preference(user=people[2], channel="in_app", mode="off")
    types = (SHIPPED, OrderShipped(number="ä"), SignedIn(device="x"), Tip(), Quiet())
    calls = [(each, to, None) for each in types for to in (people[0], people)] + [(Tip(), people[1:], "once")]
    by_kept = [rows_of(each, to=to, organization=organization, dedupe=dedupe) for each, to, dedupe in calls]
    with monkeypatch.context() as patch:
        patch.setattr(fanout, "_have_places", lambda *_: False)
        patch.setattr(fanout, "_asks_the_same", lambda *_: False)
        made = [rows_of(each, to=to, organization=organization, dedupe=dedupe) for each, to, dedupe in calls]
    assert by_kept == made
    assert any(rows for rows, _ in by_kept)


def test_the_second_notification_is_not_compiled_and_is_told_to_its_own_recipient(compiled):
    ada, bob, eve = make_user(), make_user(), make_user()
    actor = make_user()
    told = []
    for number, (who, each) in enumerate(
        [(ada, SHIPPED), (bob, OrderShipped(number="B-2", total=None)), (eve, SHIPPED)]
    ):
        del compiled[:]
        notify(each, to=who, actor=actor if number else ada)
        told.append(list(compiled))
    assert [bool(each) for each in told] == [True, False, False]
    rows = Notification.objects.order_by("pk").values_list("recipient", "title", "payload__number")
    assert list(rows) == [
        (ada.pk, "Order A-1 was shipped", "A-1"),
        (bob.pk, "Order B-2 was shipped", "B-2"),
        (eve.pk, "Order A-1 was shipped", "A-1"),
    ]
    assert list(Delivery.objects.order_by("pk").values_list("notification", flat=True)) == [
        row.pk for row in Notification.objects.order_by("pk")
    ]


def test_the_people_of_an_organization_are_asked_for_each_time(settings, compiled):
    ada, bob = make_user(), make_user()
    members = {"1": [ada.pk], "2": [bob.pk]}
    settings.NOTIFY_MEMBERS = lambda key: User.objects.filter(pk__in=members[key]).values("pk")
    assert notify(SHIPPED, to=ada, organization="1").created == 1
    with pytest.raises(ForeignRecipient):
        notify(SHIPPED, to=ada, organization="2")
    del compiled[:]
    assert notify(SHIPPED, to=bob, organization="2").created == 1
    # Of the organization's people and of its defaults, which are the project's queries and depend on its rows.
    assert sorted(compiled) == ["OrganizationPreference", "User"]
    members["1"] = [bob.pk]
    with pytest.raises(ForeignRecipient):
        notify(SHIPPED, to=ada, organization="1")
    members["1"] = []
    with pytest.raises(ForeignRecipient):
        notify(SHIPPED, to=ada, organization="1")
    assert set(Notification.objects.values_list("recipient", "organization_key")) == {(ada.pk, "1"), (bob.pk, "2")}


@pytest.mark.parametrize(
    "members",
    [
        lambda users: users,
        lambda users: users.values_list("pk", flat=True),
        lambda users: users.using("default"),
        lambda users: users.order_by("username"),
        lambda users: users.annotate(one=Value(1)).filter(one=1),
        lambda users: users.values("groups__user"),
        lambda users: users.values("pk").union(users.none().values("pk")),
        lambda users: users.values("pk").union(User.objects.filter(username="nobody").values("pk")),
        lambda users: users.distinct(),
        lambda users: [each.pk for each in users],
    ],
    ids=["users", "keys", "using", "ordered", "annotated", "joined", "empty union", "union", "distinct", "list"],
)
def test_members_may_be_any_queryset_or_list(members, settings):
    from django.contrib.auth.models import Group

    ada, bob = make_user(), make_user()
    Group.objects.create(name="a").user_set.add(ada)
    settings.NOTIFY_MEMBERS = lambda key: members(User.objects.filter(pk=ada.pk))
    assert notify(SHIPPED, to=ada, organization="1").created == 1
    with pytest.raises(ForeignRecipient):
        notify(SHIPPED, to=[ada, bob], organization="1")
    assert Notification.objects.count() == 1


def test_who_a_projects_transport_can_reach_is_asked_each_time(settings, user):
    class ByTheHour(EmailTransport):
        reached = True

        def eligible(self, field: str) -> Q:
            return Q() if self.reached else Q(pk=None)

    settings.NOTIFY_TRANSPORTS = {"email": ByTheHour}
    for ByTheHour.reached in (True, False, True):
        notify(SHIPPED, to=user)
    assert Delivery.objects.count() == 2


def test_users_of_a_projects_own_manager_are_asked_for_each_time(user, monkeypatch):
    class Careful(Manager[Any]):
        name_of = user.username

        def get_queryset(self) -> QuerySet[Any]:
            return super().get_queryset().filter(username=self.name_of)

    manager = Careful()
    manager.model, manager.name = User, "objects"
    monkeypatch.setitem(vars(User._meta), "base_manager", manager)
    assert notify(Quiet(), to=user).created == 1
    Careful.name_of = "nobody"
    assert notify(Quiet(), to=user).created == 0


@pytest.mark.parametrize(
    ("given", "has"),
    [
        ({"title": "x", "created_at": timezone.now(), "payload": {"a": 1}}, True),
        ({"title": F("type")}, False),
        ({"blob": b"x"}, False),
    ],
)
def test_columns_that_need_more_than_a_placeholder_have_no_place(given, has, monkeypatch):
    blob = BinaryField(name="blob")
    get_field = Notification._meta.get_field
    monkeypatch.setitem(vars(Notification._meta), "get_field", lambda name: blob if name == "blob" else get_field(name))
    assert fanout._have_places(given) is has


def test_many_and_few_are_told_by_one_statement_each(compiled):
    people = [make_user() for _ in range(12)]
    for number in (1, 8, 9, 12):
        with CaptureQueriesContext(connection) as queries:
            assert notify(SHIPPED, to=people[:number]).created == number
        assert len([query for query in queries if query["sql"].startswith("INSERT")]) == 2


def test_a_database_that_returns_no_rows_is_asked_for_the_last_key(user, monkeypatch):
    monkeypatch.setattr(type(connection.features), "can_return_rows_from_bulk_insert", False)
    set_preference(user=user, channel="email", mode="off")
    other = make_user()
    with CaptureQueriesContext(connection) as queries:
        assert notify(SHIPPED, to=[user, other], organization="1").created == 2
    assert len([query for query in queries if "SAVEPOINT" not in query["sql"]]) == 4
    assert Delivery.objects.get().notification.recipient == other


def test_what_is_kept_has_an_end(user, monkeypatch):
    monkeypatch.setattr(kept, "_MOST", 4)
    people = [make_user() for _ in range(8)]
    for number in range(1, 9):
        for organization in (None, "1"):
            assert notify(SHIPPED, to=people[:number], organization=organization).created == number
            assert len(kept._kept) <= 4
