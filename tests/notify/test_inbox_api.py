"""The REST endpoints of the inbox."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.management.sql import emit_post_migrate_signal
from django.db import IntegrityError, OperationalError, connection, transaction
from django.db.models import UniqueConstraint
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework import serializers
from rest_framework.renderers import JSONRenderer
from rest_framework.test import APIClient

from dovetail_core.transactions import Vanished
from dovetail_notify import get_notification_model, notify
from dovetail_notify.api.serializers import NotificationSerializer
from dovetail_notify.models import Device, Ticket
from dovetail_notify.services import (
    mark_read,
    register_device,
    remove_device,
    remove_notification,
    set_preference,
    update_notification,
)
from tests.notify.factories import make_user, make_users
from tests.notify.orders.notifications import OrderShipped, Quiet, SignedIn
from tests.plans import plan, rows_read, sorts

pytestmark = pytest.mark.django_db

LIST = "/api/v1/notifications/"
Notification: Any = get_notification_model()


def fill(user: Any, number: int, **fields: Any) -> list[int]:
    """Create notifications with the same time, like a fan-out. Return their ids, the oldest first."""
    fields = {"type": "orders.quiet", "title": "Quiet", "batch": "0" * 32, "created_at": timezone.now(), **fields}
    Notification.objects.bulk_create(Notification(recipient=user, **fields) for _ in range(number))
    return list(Notification.objects.filter(recipient=user).order_by("id").values_list("id", flat=True))[-number:]


def ids(answer: Any) -> list[int]:
    assert answer.status_code == 200, answer.content
    return [row["id"] for row in answer.json()["data"]]


def test_old_payload_is_shown_upgraded(api, user, monkeypatch, caplog):
    notify(SignedIn(device="Firefox"), to=user)
    notify(SignedIn(device="Chrome"), to=user)
    first, second = Notification.objects.order_by("id")
    Notification.objects.filter(pk=first.pk).update(payload={"browser": "Firefox"})
    Notification.objects.filter(pk=second.pk).update(payload={"neither": 1})
    monkeypatch.setattr(SignedIn, "version", 2)
    monkeypatch.setattr(SignedIn, "upgrade", lambda payload, from_version: {"device": payload["browser"]})
    shown = [row["payload"] for row in api.get(LIST).json()["data"]]
    # A payload that cannot be upgraded is shown as it is stored.
    assert shown == [{"neither": 1}, {"device": "Firefox"}]
    assert "A payload of security.signed_in, version 1, could not be upgraded: KeyError." in caplog.text


def test_notification_has_all_its_fields(api, user):
    notify(OrderShipped(number="A-1"), to=user, organization=7, actor=make_user(id=99))
    (shown,) = api.get(LIST).json()["data"]
    assert shown.pop("created_at").endswith("Z")
    assert shown.pop("payload")["number"] == "A-1"
    assert shown == {
        "id": Notification.objects.get().pk,
        "type": "orders.shipped",
        "title": "Order A-1 was shipped",
        "body": "It is on its way.",
        "message": "Order A-1 was shipped\nIt is on its way.",
        "target_url": "/orders/A-1",
        "organization": "7",
        "actor": "99",
        "collapse_key": "order:A-1",
        "seen_at": None,
        "read_at": None,
        "archived_at": None,
    }
    assert api.get(f"{LIST}{shown['id']}/").json()["id"] == shown["id"]


def represented_by_fields(row: Any) -> dict[str, Any]:
    class FieldsSerializer(NotificationSerializer):
        extra = serializers.CharField(source="title")

        class Meta(NotificationSerializer.Meta):
            fields = (*NotificationSerializer.Meta.fields, "extra")

    shown = dict(FieldsSerializer(row).data)
    assert shown.pop("extra") == row.title  # a subclass has its own fields
    return shown


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata", "America/New_York"])
@pytest.mark.parametrize("pattern", ["iso-8601", "%d.%m.%Y %H:%M", None])
def test_representation_equals_the_serializer_fields(user, settings, zone, pattern):
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "DATETIME_FORMAT": pattern}
    notify(OrderShipped(number="ü'<"), to=user, organization=7, actor=user)
    (bare,) = fill(user, 1, created_at=datetime(2026, 10, 25, 1, 30, 0, 0, UTC))
    now = timezone.now()
    fill(
        user,
        1,
        seen_at=now,
        read_at=now,
        archived_at=now,
        payload=[1, None, {"a": 1.5}],
        collapse_key="x",
        body="y\u2028",
    )
    with timezone.override(zone):
        for row in Notification.objects.all():
            written = NotificationSerializer(row).data
            assert list(written.items()) == list(represented_by_fields(row).items())
            assert JSONRenderer().render(written) == JSONRenderer().render(represented_by_fields(row))
    assert Notification.objects.get(pk=bare).seen_at is None


def test_anonymous_requests_are_refused():
    for path in ("", "unread-count/", "1/", "stream/"):
        assert APIClient().get(f"{LIST}{path}").status_code in {401, 403}
    assert APIClient().post(f"{LIST}ticket/").status_code in {401, 403}


def test_other_users_notification_is_404(api):
    (key,) = fill(make_user(), 1)
    assert ids(api.get(LIST)) == []
    for call in (api.get, api.delete):
        assert call(f"{LIST}{key}/").status_code == 404
    assert api.patch(f"{LIST}{key}/", {"read": True}).status_code == 404
    assert api.post(f"{LIST}{key}/read/").status_code == 404
    assert api.post(f"{LIST}read/", {"ids": [key]}).json()["marked"] == 0
    assert Notification.objects.get(pk=key).read_at is None


@pytest.mark.parametrize("key", ["0", "x", "٣", "9" * 19, "9" * 40, "-1", "1.5", "%00", "%ED%A0%80"])
def test_invalid_key_is_404(api, key):
    assert api.get(f"{LIST}{key}/").status_code == 404
    assert api.delete(f"/api/v1/push-devices/{key}/").status_code == 404


def test_pages_of_equal_timestamps_neither_repeat_nor_skip(api, user):
    newest_first = fill(user, 1000)[::-1]
    seen, cursor = [], ""
    while cursor is not None:
        page = api.get(LIST, {"limit": 100, **({"cursor": cursor} if cursor else {})}).json()
        seen += [row["id"] for row in page["data"]]
        cursor = page["meta"]["next"]
    assert seen == newest_first
    first = api.get(LIST)
    assert len(ids(first)) == 20
    assert 'rel="next"' in first.headers["Link"]
    second = api.get(LIST, {"cursor": first.json()["meta"]["next"]}).json()
    assert ids(api.get(LIST, {"cursor": second["meta"]["prev"]})) == newest_first[:20]


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=101",
        "limit=x",
        "cursor=x",
        "limit=1&limit=2",
        "unread=1",
        "archived=yes",
        "type=%00",
        "category=%00",
        "cursor=%ED%A0%80",
    ],
)
def test_invalid_query_is_400(api, query):
    answer = api.get(f"{LIST}?{query}")
    assert answer.status_code == 400, answer.content
    assert query.split("=")[0] in answer.json()


def test_cursor_of_another_list_is_400(api, user):
    fill(user, 30)
    Device.objects.bulk_create(Device(user=user, kind="fcm", token=str(n), token_hash=str(n)) for n in range(30))
    cursor = api.get("/api/v1/push-devices/").json()["meta"]["next"]
    assert cursor
    assert api.get(LIST, {"cursor": cursor}).status_code == 400


def test_filters(api, user):
    read, unread = fill(user, 2)
    shipped = fill(user, 1, type="orders.shipped")[0]
    (archived,) = fill(user, 1, archived_at=timezone.now(), read_at=timezone.now())
    foreign = fill(user, 1, type="gone.type")[0]
    api.post(f"{LIST}{read}/read/")
    assert ids(api.get(LIST)) == [foreign, shipped, unread, read]
    assert ids(api.get(LIST, {"unread": "true"})) == [foreign, shipped, unread]
    assert ids(api.get(LIST, {"unread": "false"})) == [read]
    assert ids(api.get(LIST, {"archived": "true"})) == [archived]
    assert ids(api.get(LIST, {"archived": "false", "type": "orders.shipped"})) == [shipped]
    assert ids(api.get(LIST, {"category": "orders"})) == [shipped, unread, read]
    assert ids(api.get(LIST, {"category": "nothing"})) == []


def test_list_takes_one_query_for_any_length(api, user, django_assert_num_queries):
    fill(user, 5)
    with django_assert_num_queries(1):
        ids(api.get(LIST))
    fill(user, 500)
    with django_assert_num_queries(1):
        assert len(ids(api.get(LIST, {"limit": 100}))) == 100
    with django_assert_num_queries(1):
        api.get(f"{LIST}unread-count/")
    Device.objects.bulk_create(Device(user=user, kind="fcm", token=str(n), token_hash=str(n)) for n in range(50))
    with django_assert_num_queries(1):
        assert len(ids(api.get("/api/v1/push-devices/"))) == 20
    with django_assert_num_queries(2):
        api.get("/api/v1/notification-preferences/")


def test_unread_count_is_capped_at_100(api, user):
    fill(make_user(), 7)
    assert api.get(f"{LIST}unread-count/").json() == {"unread": 0, "capped": False}
    fill(user, 100)
    assert api.get(f"{LIST}unread-count/").json() == {"unread": 100, "capped": False}
    fill(user, 1)
    assert api.get(f"{LIST}unread-count/").json() == {"unread": 100, "capped": True}


@pytest.mark.skipif(connection.vendor == "mysql", reason="ANALYZE TABLE commits the transaction of the test")
def test_query_plan_is_independent_of_the_recipient(api, user):
    # The user has half of the table, older than all other rows: a backward scan of the primary key would skip those.
    fill(user, 2000)
    others = list(make_users(200))
    now = timezone.now()
    Notification.objects.bulk_create(
        Notification(recipient=each, type="orders.quiet", title="x", batch="0" * 32, created_at=now)
        for each in others * 10
    )
    with connection.cursor() as cursor:
        cursor.execute(f"ANALYZE {Notification._meta.db_table}")
    for path, index in (("", "notify_inbox"), ("?unread=true", "notify_unread"), ("unread-count/", "_unread")):
        with CaptureQueriesContext(connection) as queries:
            assert api.get(f"{LIST}{path}").status_code == 200
        (sql,) = [query["sql"] for query in queries]
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN {'QUERY PLAN' * (connection.vendor == 'sqlite')} {sql}")
            plan = str(cursor.fetchall())
        assert index in plan, plan


@pytest.mark.skipif(connection.vendor == "mysql", reason="ANALYZE TABLE commits the transaction of the test")
def test_page_is_read_from_the_index_without_sorting(api, user):
    # All other users have one notification each: the average inbox is shorter than a page, but this one is long.
    fill(user, 8000)
    others = make_users(2000)
    now = timezone.now()
    Notification.objects.bulk_create(
        Notification(recipient=each, type="orders.quiet", title="x", batch="0" * 32, created_at=now) for each in others
    )
    with connection.cursor() as cursor:
        cursor.execute(f"ANALYZE {Notification._meta.db_table}")
    for query in ("", "?unread=true"):
        with CaptureQueriesContext(connection) as queries:
            assert api.get(f"{LIST}{query}").status_code == 200
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN {'QUERY PLAN' * (connection.vendor == 'sqlite')} {queries[0]['sql']}")
            plan = str(cursor.fetchall())
        assert not re.search("sort|temp b-tree", plan, re.IGNORECASE), plan


@pytest.mark.skipif(connection.vendor == "mysql", reason="ANALYZE TABLE commits the transaction of the test")
@pytest.mark.parametrize("path", ["", "?unread=true", "unread-count/"])
def test_notifications_of_former_organizations_are_not_read(api, user, settings, path):
    settings.NOTIFY_ORGANIZATIONS = lambda user: ["1", "2"]
    fill(user, 30, organization_key="1")
    fill(user, 1000, organization_key="left")
    for other in make_users(10):
        fill(other, 30, organization_key="1")
    table = Notification._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(f"ANALYZE {table}")
    if connection.vendor == "postgresql":
        assert rows_read(lambda: api.get(f"{LIST}{path}"), table) <= 30
    else:
        assert plan(lambda: api.get(f"{LIST}{path}"), table).count("organization_key=?") == 3
        assert not sorts(lambda: api.get(f"{LIST}{path}"), table)


@pytest.mark.skipif(connection.vendor != "postgresql", reason="only PostgreSQL has these statistics")
def test_existing_planner_statistics_stay(db):
    def distinct_options() -> list[str]:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT attoptions FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attname = 'recipient_id'",
                [Notification._meta.db_table],
            )
            (options,) = cursor.fetchone()
        return [option for option in options if option.startswith("n_distinct=")]

    assert distinct_options() == ["n_distinct=200"]
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {Notification._meta.db_table} ALTER recipient_id SET (n_distinct = -0.5)")
    emit_post_migrate_signal(verbosity=0, interactive=False, db="default")
    assert distinct_options() == ["n_distinct=-0.5"]


def test_unread_index_contains_only_unread_rows(user):
    names = connection.introspection.get_constraints(connection.cursor(), Notification._meta.db_table)
    columns = names["notify_unread"]["columns"]
    assert columns == ["recipient_id", "id"] or (
        columns == ["recipient_id", "read_at", "id"] and connection.vendor == "mysql"
    )


def test_dedupe_key_is_unique_per_recipient_and_null_is_not(user):
    (other,) = make_users(1)
    for recipient, key in ((user, None), (user, None), (user, "a"), (user, "b"), (other, "a")):
        fill(recipient, 1, dedupe_key=key)
    with pytest.raises(IntegrityError), transaction.atomic():
        fill(user, 1, dedupe_key="a")


def test_dedupe_index_omits_rows_without_a_key():
    (constraint,) = [each for each in Notification._meta.constraints if each.name.endswith("_dedupe")]
    sql = str(constraint.create_sql(Notification, connection.SchemaEditorClass(connection, collect_sql=True)))
    assert sql.endswith(" IS NOT NULL") is connection.features.supports_partial_indexes
    assert constraint != UniqueConstraint(fields=["recipient", "dedupe_key"], name=constraint.name)
    assert constraint == constraint.clone()


# --- Read, seen, archived ---------------------------------------------------------------------------------------------


def test_marking_read_and_unread(api, user):
    (key,) = fill(user, 1)
    read = api.post(f"{LIST}{key}/read/").json()
    assert read["read_at"]
    assert read["seen_at"]
    # The time of the first reading stays.
    assert api.patch(f"{LIST}{key}/", {"read": True}).json()["read_at"] == read["read_at"]
    archived = api.patch(f"{LIST}{key}/", {"archived": True}).json()
    assert archived["archived_at"]
    unread = api.post(f"{LIST}{key}/unread/").json()
    assert (unread["read_at"], unread["archived_at"]) == (None, None)
    assert unread["seen_at"]
    assert api.patch(f"{LIST}{key}/", {"seen": False}).json()["seen_at"] is None
    archived = api.patch(f"{LIST}{key}/", {"archived": True}).json()
    assert archived["read_at"]
    assert api.patch(f"{LIST}{key}/", {"archived": False}).json()["read_at"]


def test_upto_leaves_later_notifications_unread(api, user):
    first, second, third = fill(user, 3)
    answer = api.post(f"{LIST}read/", {"upto": second})
    assert answer.json() == {"marked": 2, "unread": 1, "capped": False}
    assert Notification.objects.get(pk=third).read_at is None
    assert Notification.objects.get(pk=first).seen_at is not None
    assert api.post(f"{LIST}read/", {"ids": [third, third]}).json() == {"marked": 1, "unread": 0, "capped": False}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"ids": []},
        {"ids": [1], "upto": 1},
        {"ids": "all"},
        {"ids": list(range(1, 202))},
        {"upto": 2**63},
        {"ids": [0]},
        {"upto": None},
        {"ids": [{}]},
        [],
        "x",
        5,
        None,
    ],
)
def test_invalid_body_is_400(api, body):
    answer = api.post(f"{LIST}read/", json.dumps(body), content_type="application/json")
    assert answer.status_code == 400, answer.content


@pytest.mark.parametrize("value", ["{}", True, None, [["{}"]]])
@pytest.mark.parametrize("field", ["ids", "upto"])
def test_invalid_number_is_refused_with_its_field(api, user, field, value):
    (key,) = fill(user, 1)
    value = value.format(key) if isinstance(value, str) else value
    answer = api.post(f"{LIST}read/", {field: [value] if field == "ids" else value})
    assert (answer.status_code, set(answer.json())) == (400, {field})
    assert Notification.objects.get().read_at is None


@pytest.mark.parametrize("value", [0, 1, 1.0, "true", "yes", None, [True]])
@pytest.mark.parametrize("field", ["read", "seen", "archived"])
def test_invalid_boolean_is_refused_with_its_field(api, user, field, value):
    (key,) = fill(user, 1)
    before = Notification.objects.values().get()
    answer = api.patch(f"{LIST}{key}/", {field: value})
    assert (answer.status_code, set(answer.json())) == (400, {field})
    assert Notification.objects.values().get() == before


def test_form_accepts_words_and_digits(api, user):
    (key,) = fill(user, 1)
    assert api.patch(f"{LIST}{key}/", {"seen": "yes"}, format="multipart").json()["seen_at"]
    assert api.post(f"{LIST}read/", {"ids": [str(key)]}, format="multipart").json()["marked"] == 1


@pytest.mark.parametrize("body", [{}, {"read": "maybe"}, {"read": None}, [], {"read": False, "archived": True}])
def test_invalid_update_is_400(api, user, body):
    (key,) = fill(user, 1)
    answer = api.patch(f"{LIST}{key}/", json.dumps(body), content_type="application/json")
    assert answer.status_code == 400, answer.content


def test_deeply_nested_body_is_400(api):
    answer = api.post(f"{LIST}read/", "[" * 100_000, content_type="application/json")
    assert answer.status_code == 400


def test_get_changes_nothing(api, user):
    (key,) = fill(user, 1)
    before = Notification.objects.values().get()
    for path in ("", f"{key}/", "unread-count/"):
        assert api.get(f"{LIST}{path}").status_code == 200
    for path in (f"{key}/read/", "read/", "ticket/"):
        assert api.get(f"{LIST}{path}").status_code in {404, 405}
    assert Notification.objects.values().get() == before


def test_delete_removes_the_row_and_its_deliveries(api, user):
    notify(SignedIn(device="x"), to=user)
    key = Notification.objects.get().pk
    assert api.delete(f"{LIST}{key}/").status_code == 204
    assert Notification.objects.count() == 0
    assert api.delete(f"{LIST}{key}/").status_code == 404


def test_mark_read_requires_ids_or_upto(user):
    with pytest.raises(TypeError, match="either"):
        mark_read(user=user)


# --- Organizations ----------------------------------------------------------------------------------------------------


def test_former_members_do_not_see_organization_notifications(api, user, settings):
    own, acme, globex = (fill(user, 1, organization_key=key)[0] for key in (None, "acme", "globex"))
    settings.NOTIFY_ORGANIZATIONS = lambda user: ["acme"]
    assert ids(api.get(LIST)) == [acme, own]
    assert api.get(f"{LIST}{globex}/").status_code == 404
    assert api.post(f"{LIST}read/", {"upto": globex}).json()["marked"] == 2
    assert Notification.objects.get(pk=globex).read_at is None


def test_organization_request_sees_its_and_personal_notifications(api, user, settings):
    own, acme, globex = (fill(user, 1, organization_key=key)[0] for key in (None, "acme", "globex"))
    settings.NOTIFY_ORGANIZATION_RESOLVER = lambda request: request.headers.get("X-Organization-ID")
    assert ids(api.get(LIST)) == [globex, acme, own]
    assert ids(api.get(LIST, headers={"X-Organization-ID": "acme"})) == [acme, own]
    assert api.get(f"{LIST}unread-count/", headers={"X-Organization-ID": "acme"}).json()["unread"] == 2


# --- Tickets, stream --------------------------------------------------------------------------------------------------


def test_ticket_is_shown_once_and_stored_hashed(api, user):
    answer = api.post(f"{LIST}ticket/")
    assert answer.status_code == 201
    assert answer.headers["Cache-Control"] == "no-store"
    row = Ticket.objects.get()
    assert answer.json()["expires_in"] == 30
    assert row.user == user
    assert answer.json()["ticket"] not in str(vars(row))
    assert row.expires_at - timezone.now() <= timedelta(seconds=60)


def test_stream_is_501_under_wsgi(api):
    answer = api.get(f"{LIST}stream/")
    assert answer.status_code == 501
    assert "ASGI" in answer.json()["detail"]


def test_removed_type_is_shown_as_stored(api, user):
    fill(user, 1, type="long.gone", title="Still here")
    assert api.get(LIST).json()["data"][0]["title"] == "Still here"


def test_marking_takes_one_statement_for_any_number(user):
    fill(user, 50)
    with CaptureQueriesContext(connection) as queries:
        mark_read(user=user, upto=2**40)
    assert len([query for query in queries if "SAVEPOINT" not in query["sql"]]) == 1
    notify(Quiet(), to=user)
    assert Notification.objects.filter(read_at=None).count() == 1


def test_second_deletion_raises_vanished(user):
    notification, device = Notification(pk=fill(user, 1)[0], recipient=user), Device(pk=2**40, user=user)
    remove_notification(notification=notification)
    for remove in (lambda: remove_notification(notification=notification), lambda: remove_device(device=device)):
        with pytest.raises(Vanished):
            remove()


@pytest.mark.django_db(transaction=True)
def test_rows_of_a_deleted_user_raise_vanished():
    user = make_user()
    type(user)._base_manager.filter(pk=user.pk).delete()
    with pytest.raises(Vanished):
        set_preference(user=user, channel="in_app", mode="off")
    with pytest.raises(Vanished):
        register_device(user=user, kind="fcm", token="x")


@pytest.mark.django_db(transaction=True)
def test_change_is_repeated_if_the_commit_fails(monkeypatch):
    user = make_user()
    notify(OrderShipped(number="A-1"), to=user)
    notification = Notification.objects.get()
    commit, failures = connection.commit, [OperationalError(1213, "Deadlock found")]

    def fail_once():
        if failures:
            raise failures.pop()
        commit()

    monkeypatch.setattr(connection, "commit", fail_once)
    update_notification(notification=notification, read=True)
    assert failures == []
    assert Notification.objects.get().read_at == notification.read_at is not None
