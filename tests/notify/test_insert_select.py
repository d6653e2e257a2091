"""INSERT … SELECT statements that are compiled once write the same rows as statements compiled for each call."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from itertools import product
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db import connection
from django.db.models import BinaryField, Count, Exists, F, Manager, OuterRef, Q, QuerySet, Value, Window
from django.db.models.functions import RowNumber
from django.db.models.lookups import LessThan
from django.test.utils import CaptureQueriesContext, isolate_apps, override_settings
from django.utils import timezone

from dovetail_notify import get_notification_model, notify
from dovetail_notify.exceptions import ForeignRecipient
from dovetail_notify.models import Delivery
from dovetail_notify.send import fanout
from dovetail_notify.send.audience import _is_condition
from dovetail_notify.services import register_device, set_organization_preference, set_preference
from dovetail_notify.transports.email import EmailTransport
from tests.notify.factories import make_user, make_users
from tests.notify.orders.notifications import OrderShipped, Quiet, SignedIn, Tip

pytestmark = pytest.mark.django_db

Notification: Any = get_notification_model()
User: Any = get_user_model()
SHIPPED = OrderShipped(number="A-1")


@pytest.fixture(autouse=True)
def _nothing_is_compiled() -> Iterator[None]:
    with override_settings(SAMPLE=1):  # a changed setting clears the caches before and after the test
        yield


def rows_of(*arguments: Any, **keywords: Any) -> list[Any]:
    """Return the rows that a call of ``notify()`` writes."""
    Notification.objects.all().delete()
    notify(*arguments, **keywords)
    inbox = Notification.objects.order_by("recipient").values(
        *("recipient", "organization_key", "type", "title", "body", "target_url", "payload", "payload_version"),
        *("actor_key", "collapse_key", "dedupe_key", "seen_at", "created_at", "read_at", "archived_at"),
    )
    outbox = Delivery.objects.order_by("notification__recipient", "channel").values(
        *("notification__recipient", "channel", "state", "digest", "attempts", "next_at", "lease", "error")
    )
    return [list(inbox), list(outbox)]


def preference_cases() -> Iterator[tuple[str | None, str | None, str | None, slice]]:
    """Yield an organization, the preferences of a user and of the organization, and the slice of calls to run.

    Every pair of values, and every pair of a value and a call, occurs at least once, because mistakes show in pairs.
    That is a sixth of all combinations, which ``TESTS_EXHAUSTIVE=1`` runs.
    """
    exhaustive = os.environ.get("TESTS_EXHAUSTIVE") == "1"
    factors = map(enumerate, ([None, "7"], [None, "on", "off", "hourly"], [None, "off", "daily"]))
    for (o, organization), (c, chosen), (d, default) in product(*factors):
        # The sums modulo 2 and modulo 3 are independent, so that each organization runs each third of the calls.
        if exhaustive:
            yield organization, chosen, default, slice(None)
        elif (c + d) % 2 == o:
            yield organization, chosen, default, slice((c + d) % 3, None, 3)


CASES = list(preference_cases())


@pytest.mark.parametrize(
    ("organization", "chosen", "default", "part"), CASES, ids=[f"{o}-{c}-{d}" for o, c, d, _ in CASES]
)
def test_reused_and_fresh_statements_write_the_same_rows(organization, chosen, default, part, settings, monkeypatch):
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
    everybody, grouped = User.objects.filter(username__gt=""), User.objects.filter(groups__name="all")
    Group.objects.create(name="all").user_set.add(*people)
    calls = [(each, to, None) for each in types for to in (people[0], people, everybody)]
    calls += [(Tip(), to, "once") for to in (people[1:], everybody.exclude(pk=people[0].pk), grouped)]
    # Each third has all types for one audience, so that it reuses a statement.
    calls = calls[part]
    reused = [rows_of(each, to=to, organization=organization, dedupe=dedupe) for each, to, dedupe in calls]
    with monkeypatch.context() as patch:
        patch.setattr(fanout, "_take_placeholders", lambda *_: False)
        patch.setattr(fanout, "_has_fixed_condition", lambda *_: False)
        fresh = [rows_of(each, to=to, organization=organization, dedupe=dedupe) for each, to, dedupe in calls]
    assert reused == fresh
    assert any(rows for rows, _ in reused)


# Querysets that depend on the recipients' keys in different ways.
SETS: dict[str, Any] = {
    "own condition": lambda keys: User.objects.filter(pk__in=keys).order_by("username"),
    "or": lambda keys: User.objects.filter(Q(pk__in=keys) | Q(username="100% nobody")),
    "everybody, but": lambda keys: User.objects.exclude(~Q(pk__in=keys)),
    "subquery": lambda keys: User.objects.filter(Exists(Group.objects.filter(user=OuterRef("pk"), user__in=keys))),
    "extra": lambda keys: User.objects.extra(where=["auth_user.id IN %s" % str((0, 0, *keys))]),  # noqa: UP031
    "joined": lambda keys: User.objects.filter(groups__name="all", pk__in=keys),
    "distinct": lambda keys: User.objects.filter(groups__user__in=keys, pk__in=keys).distinct(),
    "values": lambda keys: User.objects.filter(pk__in=keys).values("email"),
    "annotated": lambda keys: User.objects.annotate(other=F("pk")).filter(other__in=keys),
    "grouped": lambda keys: User.objects.annotate(number=Count("groups")).filter(number__gte=1, pk__in=keys),
    "window": lambda keys: User.objects.filter(LessThan(Window(RowNumber()), 9), pk__in=keys),
    "sliced": lambda keys: User.objects.filter(pk__in=keys).order_by("-is_active")[: len(keys) - 1],
    "union": lambda keys: User.objects.filter(pk__in=keys[:1]).union(User.objects.filter(pk__in=keys[1:])),
}


@pytest.mark.parametrize("of", SETS.values(), ids=list(SETS))
def test_each_queryset_reaches_its_own_users(of):
    people = [make_user() for _ in range(4)]
    Group.objects.create(name="all").user_set.set(people)
    gone = make_user(is_active=False)
    for named in (people[:2], people[2:], [], people[1:], people):
        Notification.objects.all().delete()
        assert notify(Quiet(), to=of([each.pk for each in (*named, gone)])).created == len(named)
        assert set(Notification.objects.values_list("recipient", flat=True)) == {each.pk for each in named}


@pytest.mark.parametrize("of", [SETS[name] for name in ("own condition", "subquery", "joined", "grouped")])
def test_second_queryset_compiles_only_its_condition(of, compiled):
    people = [make_user() for _ in range(4)]
    Group.objects.create(name="all").user_set.set(people)
    notify(SHIPPED, to=of([people[0].pk]), organization="1")
    del compiled[:]
    assert notify(SHIPPED, to=of([each.pk for each in people]), organization="2").created == 4
    assert set(compiled) <= {"User", "Group"}
    assert compiled.count("User") <= 1


def test_sliced_queryset_reaches_only_its_users():
    people = [make_user() for _ in range(4)]
    for number in (2, 3):
        Notification.objects.all().delete()
        assert notify(Quiet(), to=User.objects.order_by("-pk")[:number]).created == number
        recipients = set(Notification.objects.values_list("recipient", flat=True))
        assert recipients == {each.pk for each in people[-number:]}


def test_all_and_none_share_one_statement(compiled):
    people = [make_user() for _ in range(3)]
    assert notify(Quiet(), to=User.objects.filter(pk=people[0].pk)).created == 1
    del compiled[:]
    assert notify(Quiet(), to=User.objects.all()).created == 3
    assert notify(Quiet(), to=User.objects.none()).created == 0
    assert notify(Quiet(), to=User.objects.filter(pk__in=[])).created == 0
    assert compiled == []


@isolate_apps("django.contrib.auth")
def test_proxy_and_child_models_of_user():
    class Person(User):
        class Meta:
            app_label = "auth"
            proxy = True

    class Author(User):
        class Meta:
            app_label = "auth"

    ada, bob = make_user(), make_user()
    assert notify(Quiet(), to=User.objects.filter(pk=ada.pk)).created == 1
    assert notify(Quiet(), to=Person.objects.filter(pk=bob.pk)).created == 1
    assert set(Notification.objects.values_list("recipient", flat=True)) == {ada.pk, bob.pk}
    assert _is_condition(Person.objects.all())
    # A child model has only some of the users, whatever the condition.
    assert not _is_condition(Author.objects.all())


def test_condition_on_an_aliased_table_is_a_subquery(user):
    other, renamed = make_user(), User.objects.filter(pk=user.pk)
    renamed.query.change_aliases({User._meta.db_table: "u"})
    assert notify(Quiet(), to=User.objects.filter(pk=other.pk)).created == 1
    assert notify(Quiet(), to=renamed).created == 1
    assert set(Notification.objects.values_list("recipient", flat=True)) == {user.pk, other.pk}


@pytest.mark.parametrize("number", [1, 3, 9, 65, 512, 513])
def test_any_number_of_named_recipients_get_one_row_each(number):
    people = list(make_users(number + 1))
    set_preference(user=people[-2], channel="email", mode="off")
    for named in (people[:-1], people[1:]):
        Notification.objects.all().delete()
        sent = notify(SHIPPED, to=named)
        assert (sent.created, sent.skipped) == (number, 0)
        assert set(Notification.objects.values_list("recipient", flat=True)) == {each.pk for each in named}
        assert Delivery.objects.count() == number - 1 + (people[-2] not in named)


def test_statement_names_at_most_the_databases_limit(monkeypatch):
    monkeypatch.setattr("dovetail_notify.send.audience._max_parameters", lambda using: 30)
    people = list(make_users(70))
    with CaptureQueriesContext(connection) as queries:
        assert notify(Quiet(), to=people).created == 70
    assert sum(query["sql"].count("INSERT INTO") for query in queries) == 3


def test_similar_numbers_share_one_compiled_statement(compiled):
    people = [make_user() for _ in range(8)]
    notify(Quiet(), to=people)
    del compiled[:]
    for number in range(5, 8):
        assert notify(Quiet(), to=people[:number]).created == number
    assert compiled == []


def test_second_notification_reuses_the_statement_for_its_recipient(compiled):
    ada, bob, eve = make_user(), make_user(), make_user()
    actor = make_user()
    compilations = []
    for number, (who, each) in enumerate(
        [(ada, SHIPPED), (bob, OrderShipped(number="B-2", total=None)), (eve, SHIPPED)]
    ):
        del compiled[:]
        notify(each, to=who, actor=actor if number else ada)
        compilations.append(list(compiled))
    assert [bool(each) for each in compilations] == [True, False, False]
    rows = Notification.objects.order_by("pk").values_list("recipient", "title", "payload__number")
    assert list(rows) == [
        (ada.pk, "Order A-1 was shipped", "A-1"),
        (bob.pk, "Order B-2 was shipped", "B-2"),
        (eve.pk, "Order A-1 was shipped", "A-1"),
    ]
    assert list(Delivery.objects.order_by("pk").values_list("notification", flat=True)) == [
        row.pk for row in Notification.objects.order_by("pk")
    ]


def test_members_hook_is_called_each_time(settings, compiled):
    ada, bob = make_user(), make_user()
    members = {"1": [ada.pk], "2": [bob.pk]}
    settings.NOTIFY_MEMBERS = lambda key: User.objects.filter(pk__in=members[key]).values("pk")
    assert notify(SHIPPED, to=ada, organization="1").created == 1
    with pytest.raises(ForeignRecipient):
        notify(SHIPPED, to=ada, organization="2")
    del compiled[:]
    assert notify(SHIPPED, to=bob, organization="2").created == 1
    # Only the members' queryset of the project is compiled.
    assert compiled == ["User"]
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
def test_members_can_be_any_queryset_or_list(members, settings):
    ada, bob = make_user(), make_user()
    Group.objects.create(name="a").user_set.add(ada)
    settings.NOTIFY_MEMBERS = lambda key: members(User.objects.filter(pk=ada.pk))
    assert notify(SHIPPED, to=ada, organization="1").created == 1
    with pytest.raises(ForeignRecipient):
        notify(SHIPPED, to=[ada, bob], organization="1")
    assert Notification.objects.count() == 1


def test_members_hook_can_allow_everybody(user, settings):
    settings.NOTIFY_MEMBERS = lambda key: None if key == "open" else User.objects.none()
    for _ in range(2):
        with pytest.raises(ForeignRecipient):
            notify(SHIPPED, to=user, organization="closed")
        assert notify(SHIPPED, to=user, organization="open").created == 1


def test_custom_transports_condition_is_evaluated_each_time(settings, user):
    class ByTheHour(EmailTransport):
        reached = True

        def eligible(self, field: str) -> Q:
            return Q() if self.reached else Q(pk=None)

    settings.NOTIFY_TRANSPORTS = {"email": ByTheHour}
    for ByTheHour.reached in (True, False, True):
        notify(SHIPPED, to=user)
    assert Delivery.objects.count() == 2


def test_custom_user_manager_is_used_each_time(user, monkeypatch):
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
    ("columns", "expected"),
    [
        ({"title": "x", "created_at": timezone.now(), "payload": {"a": 1}}, True),
        ({"title": F("type")}, False),
        ({"blob": b"x"}, False),
    ],
)
def test_special_columns_get_no_placeholder(columns, expected, monkeypatch):
    blob = BinaryField(name="blob")
    get_field = Notification._meta.get_field
    monkeypatch.setitem(vars(Notification._meta), "get_field", lambda name: blob if name == "blob" else get_field(name))
    assert fanout._take_placeholders(columns) is expected


def test_many_and_few_recipients_take_one_statement_each(compiled):
    people = list(make_users(70))
    for number in (1, 64, 65, 70):
        with CaptureQueriesContext(connection) as queries:
            assert notify(SHIPPED, to=people[:number]).created == number
        assert sum(query["sql"].count("INSERT INTO") for query in queries) == 2


@pytest.mark.skipif(connection.vendor != "postgresql", reason="needs PostgreSQL, which has schemas")
def test_table_in_a_schema_gets_its_deliveries(user, monkeypatch):
    monkeypatch.setattr(Notification._meta, "db_table", '"public"."dovetail_notify_notification"')
    assert notify(SHIPPED, to=user).created == 1
    assert Delivery.objects.count() == 1


def test_database_without_returning_reads_the_last_key(user, monkeypatch):
    monkeypatch.setattr(type(connection.features), "can_return_rows_from_bulk_insert", False)
    set_preference(user=user, channel="email", mode="off")
    other = make_user()
    with CaptureQueriesContext(connection) as queries:
        assert notify(SHIPPED, to=[user, other], organization="1").created == 2
    assert len([query for query in queries if "SAVEPOINT" not in query["sql"]]) == 4
    assert Delivery.objects.get().notification.recipient == other
