"""The rows that ``notify()`` writes, their recipients, and the number of statements."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db import DatabaseError, connection, transaction
from django.db.models import Count, Exists, F, OuterRef, QuerySet
from django.test.utils import CaptureQueriesContext

from dovetail_notify import get_notification_model, notify
from dovetail_notify.exceptions import ForeignRecipient
from dovetail_notify.models import Delivery, Preference
from dovetail_notify.services import set_organization_preference, set_preference
from tests.notify.factories import make_user, make_users
from tests.notify.orders.notifications import OrderShipped, Quiet, SignedIn, Tip

pytestmark = pytest.mark.django_db

Notification: Any = get_notification_model()
SHIPPED = OrderShipped(number="A-1")


def recipients() -> set[Any]:
    return set(Notification.objects.values_list("recipient", flat=True))


def mailed() -> set[Any]:
    return set(Delivery.objects.filter(channel="email").values_list("notification__recipient", flat=True))


def writes(queries: CaptureQueriesContext) -> list[str]:
    return [query["sql"] for query in queries if "SAVEPOINT" not in query["sql"]]


def table(model: Any) -> str:
    return connection.ops.quote_name(model._meta.db_table)


def test_one_recipient_gets_a_complete_row(user):
    actor = make_user()
    sent = notify(SHIPPED, to=user, organization=7, actor=actor)
    row = Notification.objects.get()
    assert (sent.created, sent.skipped) == (1, 0)
    assert (row.recipient, row.type, row.title, row.body) == (
        user,
        "orders.shipped",
        "Order A-1 was shipped",
        "It is on its way.",
    )
    assert (row.target_url, row.organization_key, row.actor_key) == ("/orders/A-1", "7", str(actor.pk))
    assert row.payload == {
        "number": "A-1",
        "carrier": "post",
        "order_id": None,
        "total": None,
        "due": None,
        "at": None,
        "items": [],
    }
    assert (row.batch, row.collapse_key, row.dedupe_key) == (sent.batch, "order:A-1", None)
    assert (row.read_at, row.seen_at, row.archived_at) == (None, None, None)
    delivery = Delivery.objects.get()
    assert (delivery.notification, delivery.channel, delivery.state) == (row, "email", "pending")
    assert delivery.next_at == row.created_at


@pytest.mark.parametrize("kind", ["queryset", "instances", "keys", "texts"])
def test_ten_thousand_recipients_take_at_most_four_statements(kind):
    users = make_users(10_000)
    to: Any = {
        "queryset": lambda: users,
        "instances": lambda: list(users),
        "keys": lambda: list(users.values_list("pk", flat=True)),
        "texts": lambda: [str(key) for key in users.values_list("pk", flat=True)],
    }[kind]()
    set_preference(user=users[0], channel="email", mode="off")
    with CaptureQueriesContext(connection) as queries:
        sent = notify(SHIPPED, to=to, organization="acme")
    assert len(writes(queries)) <= (2 if connection.vendor == "postgresql" else 4), writes(queries)
    assert sent.created == Notification.objects.count() == 10_000
    assert Delivery.objects.count() == 9_999


@pytest.mark.parametrize("number", [1, 64])
def test_few_recipients_take_two_statements_or_one(number, settings):
    users = list(make_users(number))
    settings.NOTIFY_MEMBERS = members if number == 1 else None
    get_user_model().objects.update(last_name="acme")
    with CaptureQueriesContext(connection) as queries:
        assert notify(SHIPPED, to=users, organization="acme").created == number
    # Without a savepoint in the transaction of the test.
    assert len(queries) == (1 if connection.vendor == "postgresql" else 2), queries.captured_queries


@pytest.mark.parametrize("preference", ["user", "organization"])
def test_few_recipients_with_preferences_take_at_most_four_statements(user, preference):
    if preference == "user":
        set_preference(user=user, channel="email", mode="hourly", organization_key="acme")
    else:
        set_organization_preference(organization_key="acme", channel="email", mode="hourly")
    with CaptureQueriesContext(connection) as queries:
        notify(SHIPPED, to=[make_user(), user], organization="acme")
    assert len(writes(queries)) <= 4 + 1, writes(queries)  # with the one that creates a user
    assert Delivery.objects.get(notification__recipient=user).digest == "hourly"
    assert Delivery.objects.count() == Notification.objects.count() == 2


def test_database_error_lets_the_transaction_only_roll_back(user):
    def fail(execute: Any, sql: str, *arguments: Any) -> Any:
        raise DatabaseError("no row is written")

    with transaction.atomic():
        with pytest.raises(DatabaseError), connection.execute_wrapper(fail):
            notify(SHIPPED, to=user)
        assert connection.needs_rollback
        connection.set_rollback(True)
    assert notify(SHIPPED, to=user).created == 1


def test_inactive_users_are_left_out(user):
    gone = make_user(is_active=False)
    assert notify(SHIPPED, to=[user, gone]).skipped == 1
    assert notify(SHIPPED, to=get_user_model().objects.all()).created == 1
    assert recipients() == {user.pk}


def test_recipient_named_twice_gets_one_row(user):
    assert notify(SHIPPED, to=[user, user, user.pk, str(user.pk)]).created == 1


@pytest.mark.parametrize(
    "shape",
    [
        lambda users: users.distinct(),
        lambda users: users.filter(groups__name__in=["a", "b"]),
        lambda users: users.values("email"),
        lambda users: users.values_list("pk", flat=True),
        lambda users: users.order_by("-email")[:2],
        lambda users: users.filter(username="nobody").union(users),
        lambda users: users.select_related(None).only("email"),
        lambda users: users.extra(where=["1=1"]),
        lambda users: users.filter(Exists(Group.objects.filter(user=OuterRef("pk"), name="a"))),
        lambda users: users.exclude(groups__name="c"),
        lambda users: users.alias(name=F("username")).exclude(name="x").order_by("name"),
        lambda users: users.values("email").annotate(number=Count("pk")).filter(number=1),
        lambda users: users.none() | users,
        lambda users: users.select_for_update(),
    ],
    ids=[
        *("distinct", "joined", "values", "values_list", "sliced", "union", "only", "extra"),
        *("subquery", "excluded", "alias", "grouped", "or", "locked"),
    ],
)
def test_any_queryset_of_users_is_accepted(shape):
    users = make_users(2)
    for group in (Group.objects.create(name="a"), Group.objects.create(name="b")):
        group.user_set.set(users)
    assert notify(SHIPPED, to=shape(users)).created == 2
    assert recipients() == {user.pk for user in users}


def test_queryset_that_is_a_condition_is_read_once(user):
    users = get_user_model().objects.filter(username__gt="").order_by("username").only("email")
    with CaptureQueriesContext(connection) as queries:
        notify(SHIPPED, to=users)
    # For a subquery PostgreSQL would read all other users as well.
    assert sum(query.count(f"FROM {table(get_user_model())}") for query in writes(queries)) == 1


def test_custom_queryset_methods_are_not_called(user):
    class Careful(QuerySet):  # type: ignore[type-arg]
        def filter(self, *args: Any, **kwargs: Any) -> Any:
            raise AssertionError("Only the project itself calls this method.")

    assert notify(SHIPPED, to=Careful(get_user_model())).created == 1


def test_no_recipients_is_no_error():
    assert notify(SHIPPED, to=[]).created == 0
    assert notify(SHIPPED, to=get_user_model().objects.none()).created == 0
    assert notify(SHIPPED, to=[123456]).skipped == 1
    assert Delivery.objects.count() == 0


@pytest.mark.parametrize("wrong", [None, "ada", object(), [None], [True], [3.5], ["x\0"], 2**80])
def test_invalid_recipient_is_refused_with_the_allowed_types(wrong):
    with pytest.raises(TypeError, match=r"to= takes users \(auth.User\) or their keys"):
        notify(SHIPPED, to=wrong)


def test_queryset_of_another_model_is_refused(user):
    with pytest.raises(TypeError, match=r"got one of auth\.Group"):
        notify(SHIPPED, to=Group.objects.all())
    with pytest.raises(TypeError, match=r"auth\.User"):
        notify(SHIPPED, to=Group.objects.create(name="a"))
    with pytest.raises(TypeError, match="instance of a NotificationType"):
        notify(OrderShipped, to=user)
    assert Notification.objects.count() == 0


def test_rollback_sends_nothing(user, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks() as callbacks, transaction.atomic():
        notify(SHIPPED, to=user)
        transaction.set_rollback(True)
    assert callbacks == []
    assert (Notification.objects.count(), Delivery.objects.count()) == (0, 0)


# --- Once only --------------------------------------------------------------------------------------------------------


def test_dedupe_key_allows_one_row_per_recipient(user):
    other = make_user()
    assert notify(SHIPPED, to=user, dedupe="order:1").created == 1
    again = notify(OrderShipped(number="A-2"), to=[user, other], dedupe="order:1")
    assert (again.created, again.skipped) == (1, 1)
    assert notify(SHIPPED, to=user, dedupe="order:2").created == 1
    assert notify(SHIPPED, to=user).created == notify(SHIPPED, to=user).created == 1
    # Notifications that were skipped have no deliveries.
    assert Delivery.objects.count() == Notification.objects.count() == 5


@pytest.mark.parametrize("wrong", ["", "x" * 151, "a\0b", "\ud800", 5])
def test_invalid_dedupe_key_is_refused(user, wrong):
    with pytest.raises(ValueError, match="1 to 150 characters"):
        notify(SHIPPED, to=user, dedupe=wrong)


# --- Preferences ------------------------------------------------------------------------------------------------------


def test_channel_follows_the_types_default(user):
    notify(Tip(), to=user)
    assert mailed() == set()
    set_preference(user=user, channel="email", mode="on", type_key="orders.tip")
    notify(Tip(), to=[user, make_user()])
    assert mailed() == {user.pk}
    notify(Quiet(), to=user)
    assert Delivery.objects.count() == 1


def test_the_most_specific_preference_wins(user):
    set_preference(user=user, channel="email", mode="off")
    notify(SHIPPED, to=user, organization="acme")
    assert mailed() == set()
    set_preference(user=user, channel="email", mode="on", organization_key="acme")
    notify(SHIPPED, to=user, organization="globex")
    assert mailed() == set()
    notify(SHIPPED, to=user, organization="acme")
    assert Delivery.objects.count() == 1
    set_preference(user=user, channel="email", mode="off", type_key="orders.shipped")
    notify(SHIPPED, to=user, organization="acme")
    assert Delivery.objects.count() == 1
    set_preference(user=user, channel="email", mode="on", type_key="orders.shipped", organization_key="acme")
    notify(SHIPPED, to=user, organization="acme")
    assert Delivery.objects.count() == 2


def test_organization_default_applies_without_a_preference(user):
    chooser = make_user()
    set_preference(user=chooser, channel="email", mode="on")
    set_organization_preference(organization_key="acme", channel="email", mode="off")
    notify(SHIPPED, to=[user, chooser], organization="acme")
    assert mailed() == {chooser.pk}
    set_organization_preference(organization_key="acme", channel="email", mode="on", type_key="orders.shipped")
    notify(SHIPPED, to=user, organization="acme")
    assert mailed() == {chooser.pk, user.pk}


def test_required_channel_overrides_off(user):
    set_preference(user=user, channel="email", mode="off")
    set_organization_preference(organization_key="acme", channel="email", mode="off")
    notify(SignedIn(device="Firefox"), to=user, organization="acme")
    assert mailed() == {user.pk}
    with pytest.raises(ValueError, match="requires the channel email"):
        set_preference(user=user, channel="email", mode="off", type_key="security.signed_in")


def test_other_channels_deliver_without_the_inbox(user):
    set_preference(user=user, channel="in_app", mode="off", type_key="orders.shipped")
    notify(SHIPPED, to=user)
    row = Notification.objects.get()
    # The row is hidden in the inbox, but exists for the mail.
    assert row.archived_at == row.read_at == row.created_at
    assert mailed() == {user.pk}


def test_user_with_all_channels_off_has_no_row(user):
    for channel in ("in_app", "email"):
        set_preference(user=user, channel=channel, mode="off", type_key="orders.shipped")
    assert notify(SHIPPED, to=user).skipped == 1
    assert Notification.objects.count() == 0


def test_digest_deliveries_are_held(user):
    daily, hourly = make_user(), make_user()
    set_preference(user=daily, channel="email", mode="daily")
    set_preference(user=hourly, channel="email", mode="hourly")
    notify(SHIPPED, to=[user, daily, hourly])
    rows = {
        row.notification.recipient_id: (row.state, row.digest)
        for row in Delivery.objects.select_related("notification")
    }
    assert rows == {user.pk: ("pending", ""), daily.pk: ("held", "daily"), hourly.pk: ("held", "hourly")}
    due = Delivery.objects.get(digest="hourly").next_at
    assert (due.minute, due.second) == (0, 0)
    assert due > Notification.objects.first().created_at


def test_organization_default_can_be_a_digest(user):
    at_once = make_user()
    set_organization_preference(organization_key="acme", channel="email", mode="daily")
    set_preference(user=at_once, channel="email", mode="on")
    notify(SHIPPED, to=[user, at_once], organization="acme")
    assert set(Delivery.objects.values_list("notification__recipient", "state")) == {
        (user.pk, "held"),
        (at_once.pk, "pending"),
    }
    notify(SignedIn(device="Firefox"), to=user, organization="acme")
    assert Delivery.objects.filter(notification__type="security.signed_in", state="pending").count() == 1


@pytest.mark.parametrize("default", ["on", "off", "hourly", "daily"])
def test_mode_is_stored_independently_of_the_default(user, default):
    set_organization_preference(organization_key="acme", channel="email", mode=default)
    people = {mode: make_user() for mode in ("on", "off", "hourly", "daily")}
    for mode, person in people.items():
        set_preference(user=person, channel="email", mode=mode)
    with CaptureQueriesContext(connection) as queries:
        notify(SHIPPED, to=[user, *people.values()], organization="acme")
    made = Notification.objects.first().created_at
    hour = made.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    written = {"on": ("pending", "", made), "hourly": ("held", "hourly", hour), "daily": ("held", "daily", made)}
    expected = {person.pk: written[mode] for mode, person in people.items() if mode != "off"}
    if default != "off":
        expected[user.pk] = written[default]
    rows = Delivery.objects.values_list("notification__recipient", "state", "digest", "next_at")
    assert {recipient: tuple(rest) for recipient, *rest in rows} == expected
    # Preferences are read once for each value, and not once for each mode and column.
    *_, outbox = [sql for query in queries for sql in query["sql"].split(f"INSERT INTO {table(Delivery)}")[1:]]
    assert len(re.findall(rf'FROM {re.escape(table(Preference))} ["`]?V0', outbox)) == 5, outbox


# --- Organizations ----------------------------------------------------------------------------------------------------


def members(organization_key: str) -> Any:
    return get_user_model().objects.filter(last_name=organization_key)


def test_named_non_member_is_refused(user, settings):
    settings.NOTIFY_MEMBERS = members
    mine, theirs = make_user(last_name="acme"), make_user(last_name="globex")
    for named in ([mine, theirs], theirs):
        with pytest.raises(ForeignRecipient, match=str(theirs.pk)):
            notify(SHIPPED, to=named, organization="acme")
    assert (Notification.objects.count(), Delivery.objects.count()) == (0, 0)
    assert notify(SHIPPED, to=mine, organization="acme").created == 1
    assert notify(SHIPPED, to=theirs).created == 1


def test_queryset_is_narrowed_to_members(user, settings):
    settings.NOTIFY_MEMBERS = members
    mine = make_user(last_name="acme")
    with CaptureQueriesContext(connection) as queries:
        notify(SHIPPED, to=get_user_model().objects.all(), organization="acme")
    assert recipients() == {mine.pk}
    assert len(writes(queries)) <= 4


def test_invalid_key_is_refused(user):
    with pytest.raises(ValueError, match="at most 64 characters"):
        notify(SHIPPED, to=user, organization="x" * 65)
