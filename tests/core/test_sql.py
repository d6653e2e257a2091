from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.db import connection, connections
from django.db.models import BigIntegerField, Count, F, Model, QuerySet, Value
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from dovetail_core.sql import CompiledQuery, Placeholder, bind, compiled, once, pad

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


@pytest.mark.parametrize("queryset", [lambda: Group.objects.values_list("name"), with_permissions])
def test_instances_requires_a_queryset_of_instances(queryset: Any) -> None:
    with pytest.raises(TypeError, match=r"Call rows\(\) instead"):
        CompiledQuery(queryset(), using="default").instances()


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
