from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User, UserManager
from django.contrib.contenttypes.models import ContentType
from django.db import IntegrityError, connection, connections, transaction
from django.db.models import (
    CASCADE,
    BigIntegerField,
    Count,
    F,
    JSONField,
    Manager,
    Model,
    OneToOneField,
    QuerySet,
    Value,
)
from django.test import override_settings
from django.test.utils import CaptureQueriesContext, isolate_apps

from dovetail_core.sql import (
    CompiledInsert,
    CompiledQuery,
    CompiledUpdate,
    Placeholder,
    SelectFrom,
    bind,
    compiled,
    is_plain,
    once,
    pad,
)

pytestmark = pytest.mark.django_db

builds: list[Any] = []


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    builds.clear()
    with override_settings(SAMPLE=1):  # clears the cache, before and after
        yield


def by_name(model: type[Model]) -> QuerySet[Any]:
    builds.append(model)
    return model._base_manager.filter(name=Placeholder("name", model._meta.get_field("name"))).order_by("pk")


def by_keys(model: type[Model], number: int) -> QuerySet[Any]:
    builds.append(number)
    places = [Placeholder(index, model._meta.pk) for index in range(number)]
    return model._base_manager.filter(pk__in=places).order_by("-pk").values_list("name", "pk")


def oldest(model: type[Model], limit: int) -> QuerySet[Any]:
    builds.append(limit)
    return model._base_manager.order_by("pk")[:limit]


def nobody() -> QuerySet[Any]:
    return Group.objects.filter(pk__in=[])


def with_permissions() -> QuerySet[Any]:
    return Group.objects.annotate(number=Count("permissions"), double=F("pk") + F("pk")).order_by("pk")


def test_query_is_compiled_once() -> None:
    ada, bo = Group.objects.create(name="ada"), Group.objects.create(name="bo")
    for name, group in (("ada", ada), ("bo", bo)):
        query = compiled(by_name, Group, using="default")
        with CaptureQueriesContext(connection) as statements:
            assert query.rows({"name": name}) == [[group.pk, name]]
        assert len(statements) == 1
        assert query.columns == ["id", "name"]
    assert builds == [Group]


def test_first_returns_a_row_or_none() -> None:
    group = Group.objects.create(name="ada")
    query = compiled(by_name, Group, using="default")
    assert query.first({"name": "ada"}) == [group.pk, "ada"]
    assert query.first({"name": "bo"}) is None


def test_instances_have_the_state_of_saved_rows() -> None:
    group = Group.objects.create(name="ada")
    (instance,) = compiled(by_name, Group, using="default").instances({"name": "ada"})
    assert (instance, instance.name, instance._state.db, instance._state.adding) == (group, "ada", "default", False)


def test_instances_defer_other_columns() -> None:
    User.objects.create(username="ada", email="ada@example.com")
    (user,) = CompiledQuery(User.objects.only("username"), using="default").instances()
    assert user.get_deferred_fields() >= {"email"}
    assert user.username == "ada"


def test_instances_requires_a_queryset_of_instances() -> None:
    with pytest.raises(TypeError, match=r"Call rows\(\) instead"):
        CompiledQuery(Group.objects.values_list("name"), using="default").instances()


def test_instances_have_annotations_as_attributes() -> None:
    group = Group.objects.create(name="ada")
    (instance,) = CompiledQuery(with_permissions().only("pk"), using="default").instances()
    assert (instance, instance.number, instance.double) == (group, 0, group.pk * 2)
    assert instance.get_deferred_fields() == {"name"}


class Active(Manager["Group"]):
    def get_queryset(self) -> QuerySet[Group]:
        return super().get_queryset().filter(name="ada")


class Limited(QuerySet["Group"]):
    def filter(self, *args: Any, **kwargs: Any) -> Any:
        return super().filter(*args, **kwargs)[:1]


class Named(QuerySet["Group"]):
    def named(self, name: str) -> Any:
        return self.filter(name=name)


class Tracked(QuerySet["Group"]):
    @property
    def query(self) -> Any:
        return self._query

    @query.setter
    def query(self, query: Any) -> None:
        self._query = query


def overridden() -> Manager[Group]:
    manager = Manager[Group]()
    manager.get_queryset = nobody  # type: ignore[method-assign]
    return manager


@pytest.mark.parametrize(
    ("manager", "plain"),
    [
        (Manager(), True),
        (UserManager(), True),
        (Manager.from_queryset(Named)(), True),
        (Active(), False),
        (Manager.from_queryset(Limited)(), False),
        (Limited.as_manager(), False),
        (Tracked.as_manager(), False),
        (overridden(), False),
    ],
)
def test_manager_is_plain_without_overridden_methods_of_django(manager: Any, plain: bool) -> None:
    assert is_plain(manager) is plain


def test_values_are_converted_to_python_types() -> None:
    joined = datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)
    User.objects.create(username="ada", date_joined=joined, is_staff=True)
    place = Placeholder("joined", User._meta.get_field("date_joined"))
    rows = User.objects.filter(date_joined=place).values_list("date_joined", "is_staff", "last_login")
    assert CompiledQuery(rows, using="default").rows({"joined": joined}) == [[joined, True, None]]


def test_columns_include_annotations() -> None:
    group = Group.objects.create(name="ada")
    query = compiled(with_permissions, using="default")
    assert query.columns == ["id", "name", "number", "double"]
    assert query.rows() == [[group.pk, "ada", 0, group.pk * 2]]


def test_rows_may_have_annotations_only() -> None:
    Group.objects.create(name="Poets")
    query = CompiledQuery(Group.objects.annotate(one=Value(1)).values("one"), using="default")
    assert (query.columns, query.rows()) == (["one"], [[1]])


def test_padded_lists_share_a_query_for_each_power_of_two() -> None:
    keys = [Group.objects.create(name=str(number)).pk for number in range(4)]
    for number in (3, 4):
        padded = pad(keys[:number])
        rows = compiled(by_keys, Group, len(padded), using="default").rows(padded)
        assert [key for _, key in rows] == keys[:number][::-1]
    assert builds == [4]
    assert [len(pad(range(number))) for number in (1, 2, 3, 5, 8)] == [1, 2, 4, 8, 8]
    with pytest.raises(IndexError):
        pad([])


def test_empty_condition_takes_no_query() -> None:
    query = compiled(nobody, using="default")
    with CaptureQueriesContext(connection) as statements:
        assert (query.rows(), query.first(), query.instances()) == ([], None, [])
    assert not statements.captured_queries


def test_related_objects_are_rejected() -> None:
    for rows in (Permission.objects.select_related("content_type"), Group.objects.prefetch_related("permissions")):
        with pytest.raises(ValueError, match="cannot use select_related or prefetch_related"):
            CompiledQuery(rows, using="default")


def test_changed_setting_clears_the_cache() -> None:
    compiled(by_name, Group, using="default")
    with override_settings(TIME_ZONE="Asia/Tokyo"):
        compiled(by_name, Group, using="default")
        compiled(by_name, Group, using="default")
    compiled(by_name, Group, using="default")
    assert builds == [Group] * 3


def test_cache_holds_the_256_most_recently_used_queries() -> None:
    for limit in range(1, 258):
        compiled(oldest, Group, limit, using="default")
    builds.clear()
    for limit in (257, 1):
        compiled(oldest, Group, limit, using="default")
    assert builds == [1]


def test_cache_distinguishes_models_and_databases(monkeypatch: pytest.MonkeyPatch) -> None:
    group = compiled(by_name, Group, using="default")
    assert compiled(by_name, Permission, using="default").sql != group.sql
    monkeypatch.setattr(connections["default"], "vendor", "another")
    assert compiled(by_name, Group, using="default") is not group


def test_compiled_query_opens_no_connection() -> None:
    query = compiled(by_name, Group, using="default")
    query.rows({"name": "ada"})
    assert query._connection is not connections["default"]
    assert query._connection.connection is None


def test_unqualified_omits_the_table_name() -> None:
    group = Group.objects.create(name="ada")
    table = connection.ops.quote_name("auth_group")
    query = compiled(by_name, Group, using="default", unqualified=True)
    assert f"{table}." not in query.sql
    assert query.rows({"name": "ada"}) == [[group.pk, "ada"]]
    joined = Permission.objects.filter(content_type__model="group", group=None)
    assert "." in CompiledQuery(joined, using="default", unqualified=True).sql


@pytest.mark.parametrize(
    ("queryset", "declared"),
    [
        (lambda: Permission.objects.filter(content_type__model="x"), True),
        (lambda: Permission.objects.filter(content_type__in=ContentType.objects.filter(model="x")), True),
        (lambda: Permission.objects.filter(group__name="x"), False),
        (lambda: Permission.objects.filter(pk__in=Group.objects.filter(name="x").values("pk")), False),
    ],
)
def test_sql_has_the_tables_that_it_reads_if_all_are_declared(queryset: Any, declared: bool) -> None:
    sql = CompiledQuery(queryset(), using="default", reads=[Permission, ContentType]).sql
    tables = ("auth_permission", "django_content_type") if declared else None
    assert getattr(sql, "tables", None) == tables
    assert not isinstance(CompiledQuery(queryset(), using="default").sql, SelectFrom)


def test_update_is_compiled_once() -> None:
    ada, bo = (User.objects.create(username=name) for name in ("ada", "bo"))
    name, joined = (Placeholder(name, User._meta.get_field(name)) for name in ("username", "date_joined"))
    update = CompiledUpdate(
        User.objects.filter(username=name), {"date_joined": joined, "is_staff": True}, using="default"
    )
    moment = datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)
    with CaptureQueriesContext(connection) as statements:
        assert [update.execute({"username": name, "date_joined": moment}) for name in ("ada", "eve")] == [1, 0]
    assert len(statements) == 2
    for user in (ada, bo):
        user.refresh_from_db()
    assert (ada.date_joined, ada.is_staff, bo.is_staff) == (moment, True, False)


def test_update_binds_values_as_they_are_saved() -> None:
    place = Placeholder("data", JSONField())
    parameters = [place, place.assigning("data")]
    assert [str(value) for value in bind(parameters, {"data": None}, connection)] == [
        str(place.output_field.get_db_prep_value(None, connection)),
        "None",  # NULL, as with QuerySet.update()
    ]


def test_update_rejects_fields_that_convert_placeholders(monkeypatch: pytest.MonkeyPatch) -> None:
    """The attack: an encrypted field would store a constant, the encrypted text of the placeholder."""
    field = User._meta.get_field("first_name")
    monkeypatch.setattr(field, "get_db_prep_save", lambda value, connection: str(value)[::-1])
    place = Placeholder("name", field)
    with pytest.raises(ValueError, match="for fields that convert expressions: first_name"):
        CompiledUpdate(User.objects.filter(first_name=place), {"first_name": place}, using="default")


@isolate_apps("tests.core")
def test_update_rejects_fields_of_a_parent() -> None:
    class Team(Group):
        group = OneToOneField(Group, CASCADE, parent_link=True, related_name="+")

        class Meta:
            app_label = "core"

    with pytest.raises(ValueError, match="cannot change fields of a parent model"):
        CompiledUpdate(Team._base_manager.filter(pk=1), {"name": "x"}, using="default")


def group_values() -> dict[str, Any]:
    return {name: Placeholder(name, Group._meta.get_field(name)) for name in ("id", "name")}


def test_insert_is_compiled_once() -> None:
    insert = CompiledInsert(Group, group_values(), using="default")
    with CaptureQueriesContext(connection) as statements:
        assert [insert.execute({"id": 900 + number, "name": f"{number}"}) for number in range(2)] == [1, 1]
    assert len(statements) == 2
    assert list(Group.objects.order_by("pk").values_list("pk", "name")) == [(900, "0"), (901, "1")]


def test_insert_can_ignore_rows_that_exist() -> None:
    if connection.vendor == "mysql":
        pytest.skip("needs SQLite or PostgreSQL: MariaDB also ignores other errors")
    Group.objects.create(pk=900, name="first")
    insert = CompiledInsert(Group, group_values(), using="default", ignore_conflicts=True)
    with transaction.atomic():
        assert insert.execute({"id": 901, "name": "first"}) == 0
        assert insert.execute({"id": 901, "name": "second"}) == 1
    assert Group.objects.count() == 2


def test_insert_of_a_row_that_exists_marks_the_transaction() -> None:
    Group.objects.create(pk=900, name="first")
    insert = CompiledInsert(Group, group_values(), using="default")
    with transaction.atomic():
        with pytest.raises(IntegrityError):
            insert.execute({"id": 901, "name": "first"})
        assert connection.needs_rollback


def test_insert_needs_a_value_for_each_field() -> None:
    """A default would be computed once, and all rows would get the same key or time."""
    with pytest.raises(ValueError, match=r"needs a value for each field: id\."):
        CompiledInsert(Group, {"name": "x"}, using="default")


def test_insert_rejects_fields_that_convert_placeholders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Group._meta.get_field("name"), "get_db_prep_save", lambda value, connection: str(value)[::-1])
    with pytest.raises(ValueError, match="for fields that convert expressions: name"):
        CompiledInsert(Group, group_values(), using="default")


@isolate_apps("tests.core")
def test_insert_rejects_fields_of_a_parent() -> None:
    class Club(Group):
        group = OneToOneField(Group, CASCADE, parent_link=True, related_name="+")

        class Meta:
            app_label = "core"

    with pytest.raises(ValueError, match="cannot write fields of a parent model"):
        CompiledInsert(Club, {}, using="default")


def test_failed_update_marks_the_transaction() -> None:
    User.objects.create(username="ada")
    User.objects.create(username="bo")
    name = Placeholder("username", User._meta.get_field("username"))
    update = CompiledUpdate(User.objects.filter(username="bo"), {"username": name}, using="default")
    with transaction.atomic():
        with pytest.raises(IntegrityError):
            update.execute({"username": "ada"})
        assert connection.needs_rollback


def test_placeholder_prepares_its_value_like_the_field() -> None:
    key = Placeholder("key", Group._meta.pk)
    assert isinstance(key.output_field, BigIntegerField)  # AutoField on MySQL takes no 0
    foreign = Placeholder("type", Permission._meta.get_field("content_type"))
    assert bind(["a", key, foreign], {"key": "7", "type": "8"}, connection) == ["a", 7, 8]
    kind = ContentType.objects.get_for_model(Group)
    rows = Permission.objects.filter(content_type=Placeholder(0, Permission._meta.get_field("content_type")))
    assert (
        len(CompiledQuery(rows, using="default").rows([kind.pk]))
        == rows.model.objects.filter(content_type=kind).count()
    )


def statement(model: type[Model], using: str) -> list[Any]:
    builds.append(using)
    return [model, Value(1)]


def test_once_caches_a_statement_until_a_setting_changes() -> None:
    assert once(statement, Group, using="default") is once(statement, Group, using="default")
    assert builds == ["default"]
    with override_settings(SAMPLE=2):
        once(statement, Group, using="default")
    assert builds == ["default"] * 2
