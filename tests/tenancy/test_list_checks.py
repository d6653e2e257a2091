"""A system check reports lists of tenant models whose orders and filters have no index."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import HashIndex
from django.core.checks import run_checks
from django.db import models
from django.test.utils import isolate_apps
from django.urls import URLResolver, path
from django.urls.resolvers import RegexPattern
from rest_framework.filters import BaseFilterBackend, OrderingFilter
from rest_framework.pagination import CursorPagination, PageNumberPagination
from rest_framework.viewsets import ModelViewSet

from dovetail_core.rest.pagination import KeysetPagination
from dovetail_tenancy import get_organization_model
from dovetail_tenancy.isolation import list_checks
from dovetail_tenancy.models import OrganizationForeignKey, TenantForeignKey, TenantModel
from tests.tenancy.documents.models import Folder

ORDER = models.Index(fields=["organization", "-id"], name="newest")

# Some environments lack django-filter, whose backend the check recognizes by its path.
DjangoFilterBackend = type(
    "DjangoFilterBackend", (BaseFilterBackend,), {"__module__": "django_filters.rest_framework.backends"}
)


class OwnOrderPagination(KeysetPagination):
    """As contract's: in the order of the queryset."""

    def paginate_queryset(self, *arguments: Any) -> Any:
        raise NotImplementedError


class Oldest(CursorPagination):
    ordering = ("sent_at", "id")


@pytest.fixture(autouse=True)
def _apps() -> Iterator[None]:
    with isolate_apps("tests.tenancy.documents"):
        yield


def refuse(view: Any) -> Any:
    """A property that needs a request, or an organization."""
    raise LookupError


def letter(*indexes: models.Index, **meta: Any) -> Any:
    options = {"app_label": "documents", "base_manager_name": "objects", "indexes": indexes, **meta}
    fields = {
        # The class itself, because this test's registry does not know its label.
        "organization": OrganizationForeignKey(get_organization_model(), related_name="+"),
        "folder": TenantForeignKey(Folder, models.CASCADE, related_name="+"),
        "title": models.CharField(max_length=10),
        "sent_at": models.DateTimeField(),
        "is_read": models.BooleanField(),
    }
    return type("Letter", (TenantModel,), {"__module__": __name__, "Meta": type("Meta", (), options), **fields})


def reports(monkeypatch: pytest.MonkeyPatch, queryset: Any, *, route: str = "list", **attributes: Any) -> list[Any]:
    attributes = {"pagination_class": KeysetPagination, "queryset": queryset, **attributes}
    view: Any = type("Letters", (ModelViewSet,), attributes)
    routes = [path("letters", view.as_view({"get": route})), path("again", view.as_view({"get": route}))]
    resolver = URLResolver(RegexPattern(r"^/"), routes)
    monkeypatch.setattr("dovetail_core.inspection.get_resolver", lambda: resolver)
    return list(list_checks.check_lists(None))


def unserved(monkeypatch: pytest.MonkeyPatch, queryset: Any, **attributes: Any) -> str:
    messages = reports(monkeypatch, queryset, **attributes)
    return messages[0].msg.partition(" for ")[2].partition(":")[0] if messages else ""


def test_message_has_the_lines_that_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    contract = {
        "sort": ["title", {"sent": "sent_at"}],
        "filter": {"title": ["eq", "contains"], "sent": {"path": "sent_at", "operators": ["gte"]}},
    }
    rows = letter().objects.all()
    (message,) = reports(monkeypatch, rows, contract=contract)
    assert message.id == "dovetail_tenancy.W006"
    assert (
        "documents.Letter without an index for the default order, sort=title, sort=sent, filter[title]" in message.msg
    )
    assert message.hint == (
        "Add to Meta.indexes of documents.Letter: models.Index(fields=['organization', '-id']), "
        "models.Index(fields=['organization', 'title', 'id']), models.Index(fields=['organization', 'sent_at', 'id'])."
    )
    lines = message.hint.partition(": ")[2].removesuffix(".")
    rows.model._meta.indexes = eval(f"[{lines}]", {"models": models})
    assert reports(monkeypatch, rows, contract=contract) == []


@pytest.mark.parametrize(
    ("meta", "ordering", "expected"),
    [
        ({}, [], "the default order"),
        ({"indexes": [ORDER]}, [], ""),
        ({"indexes": [models.Index(models.F("organization"), models.F("id").asc(), name="oldest")]}, [], ""),
        (
            {"indexes": [models.Index(models.F("organization"), models.functions.Lower("id"), name="x")]},
            [],
            "the default order",
        ),
        ({"constraints": [models.UniqueConstraint(fields=["id", "organization"], name="x")]}, [], "the default order"),
        ({"indexes": [models.Index(fields=["organization_id", "-id"], name="x")]}, [], ""),
        ({"indexes": [models.Index(models.F("organization_id"), models.F("id").desc(), name="x")]}, [], ""),
        ({"indexes": [models.Index(fields=["organization", "folder_id"], name="x")]}, ["folder_id"], ""),
        ({"managed": False}, [], ""),
        ({"indexes": [ORDER]}, ["title"], "the default order"),
        ({"unique_together": [("organization", "title")]}, ["-title"], ""),
        ({"constraints": [models.UniqueConstraint(fields=["organization", "title"], name="x")]}, ["title", "id"], ""),
        (
            {"indexes": [models.Index(fields=["organization", "sent_at", "-title"], name="x")]},
            ["-sent_at", "title"],
            "",
        ),
        (
            {"indexes": [models.Index(fields=["organization", "sent_at", "title"], name="x")]},
            ["-sent_at", "title"],
            "the default order",
        ),
        # Not by columns of the table: another table's index would have to serve it, or none can.
        ({}, ["folder__name"], ""),
        ({}, ["?"], ""),
        ({}, [models.functions.Lower("title")], ""),
    ],
)
def test_an_index_in_the_order_of_the_list_passes(
    monkeypatch: pytest.MonkeyPatch, meta: Any, ordering: Any, expected: str
) -> None:
    rows = letter(**{"indexes": [], **meta}).objects.order_by(*ordering)
    assert unserved(monkeypatch, rows, pagination_class=OwnOrderPagination) == expected


def test_a_partial_index_passes_if_the_list_is_filtered(monkeypatch: pytest.MonkeyPatch) -> None:
    unread = models.Q(is_read=False)
    index = models.Index(fields=["organization", "-id"], condition=unread, name="unread")
    once = models.UniqueConstraint(fields=["organization", "title"], condition=unread, name="once")
    contract = {"sort": ["title"], "filter": ["title"]}
    rows = letter(index, constraints=[once]).objects.all()
    assert unserved(monkeypatch, rows, contract=contract) == "the default order, sort=title, filter[title]"
    assert unserved(monkeypatch, rows.filter(unread), contract=contract) == ""


@pytest.mark.parametrize(("last", "expected"), [("-id", "filter[title]"), ("title", "")])
def test_an_index_may_begin_with_the_conditions_of_a_queryset(
    monkeypatch: pytest.MonkeyPatch, last: str, expected: str
) -> None:
    rows = letter(models.Index(fields=["organization", "is_read", last], name="x")).objects.filter(is_read=False)
    assert unserved(monkeypatch, rows, contract={"sort": ["title"], "filter": ["title"]}) == expected


def test_the_default_order_is_the_paginator_s(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = letter(models.Index(fields=["organization", "title"], name="by_title"), ordering=["title"]).objects.all()
    default = "the default order"
    assert unserved(monkeypatch, rows, pagination_class=KeysetPagination) == default
    assert unserved(monkeypatch, rows, pagination_class=OwnOrderPagination) == ""
    assert unserved(monkeypatch, rows, pagination_class=PageNumberPagination) == ""
    assert unserved(monkeypatch, rows, pagination_class=Oldest) == default
    assert unserved(monkeypatch, rows.order_by(), pagination_class=PageNumberPagination) == ""


def test_orders_of_rest_framework_and_filters_of_django_filter_count(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = letter(ORDER).objects.all()
    options: dict[str, Any] = {"pagination_class": PageNumberPagination, "filter_backends": [OrderingFilter]}
    assert unserved(monkeypatch, rows, ordering_fields=["title"], **options) == "ordering=title"
    assert unserved(monkeypatch, rows, ordering="-sent_at", ordering_fields="__all__", **options) == "the default order"
    assert unserved(monkeypatch, rows, ordering_fields=["title"]) == ""  # no filter backend reads it
    options = {"filter_backends": [DjangoFilterBackend]}
    fields = ["title", "folder", "is_read"]
    assert unserved(monkeypatch, rows, filterset_fields=fields, **options) == "title"
    ranges = {"title": ["icontains"], "sent_at": ["range"]}
    assert unserved(monkeypatch, rows, filterset_fields=ranges, **options) == "sent_at"
    assert unserved(monkeypatch, rows, filterset_fields="__all__", **options) == ""
    assert unserved(monkeypatch, rows, filterset_fields=fields) == ""  # no filter backend reads it
    assert unserved(monkeypatch, rows, filterset_fields=fields, filterset_class=object, **options) == ""


def test_columns_whose_values_may_be_too_large_for_an_index_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    large = {
        "body": models.TextField(),
        "data": models.JSONField(),
        "file": models.BinaryField(),
        "tags": ArrayField(models.IntegerField()),
        "link": models.URLField(max_length=2000),
        "code": models.CharField(),
    }
    model = letter(ORDER)
    for name, field in large.items():
        model.add_to_class(name, field)
    contract = {"sort": [*large, "title"], "filter": [*large, "title"]}
    assert unserved(monkeypatch, model.objects.all(), contract=contract) == "sort=title, filter[title]"


@pytest.mark.parametrize(
    ("declared", "indexes", "expected"),
    [
        (["title"], [], "filter[title]"),
        (["title"], [models.Index(fields=["organization", "title", "-id"], name="x")], ""),
        (["title"], [models.Index(fields=["title"], name="x")], ""),
        # Its own index; a boolean; the primary key; another table.
        (["folder", "is_read", "id", "folder__name"], [], ""),
        ({"title": ["contains", "ne"]}, [], ""),
        (["title"], [HashIndex(fields=["title"], name="x")], ""),
        ({"title": ["gte"]}, [HashIndex(fields=["title"], name="x")], "filter[title]"),
        (["title"], [models.Index(fields=["organization_id", "title"], name="x")], ""),
        (["folder"], [], ""),
        ({"title": ["in"]}, [models.Index(models.F("organization"), models.F("sent_at"), name="x")], "filter[title]"),
    ],
)
def test_an_index_that_finds_the_rows_passes(
    monkeypatch: pytest.MonkeyPatch, declared: Any, indexes: Any, expected: str
) -> None:
    assert unserved(monkeypatch, letter(ORDER, *indexes).objects.all(), contract={"filter": declared}) == expected


def test_other_views_are_not_checked(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    rows = letter().objects.all()
    assert unserved(monkeypatch, rows) == "the default order"
    assert unserved(monkeypatch, rows, route="retrieve") == ""
    assert unserved(monkeypatch, rows, pagination_class=None) == ""
    assert unserved(monkeypatch, rows, get_queryset=lambda view: rows.filter(folder=view.kwargs["folder"])) == ""
    assert unserved(monkeypatch, property(refuse)) == ""
    assert unserved(monkeypatch, rows, pagination_class=property(refuse)) == ""
    assert unserved(monkeypatch, get_organization_model()._default_manager.all()) == ""
    assert unserved(monkeypatch, None) == ""
    del settings.ROOT_URLCONF
    assert unserved(monkeypatch, rows) == ""


def test_properties_of_views_and_invalid_declarations_are_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = letter(ORDER, ordering=["-id"]).objects.all()
    for name in ("contract", "filterset_fields", "filter_backends", "ordering", "ordering_fields"):
        assert unserved(monkeypatch, rows, **{name: property(refuse)}) == ""
    contract = {"sort": 1, "filter": {"title": {"path": ["title"]}, "sent_at": None, "id": 1}}
    paginator = type("Own", (CursorPagination,), {"ordering": property(refuse)})
    assert unserved(monkeypatch, rows, pagination_class=paginator, contract=contract) == ""


def test_the_check_runs_with_the_checks_of_urls(monkeypatch: pytest.MonkeyPatch) -> None:
    reports(monkeypatch, letter().objects.all())
    assert [message.id for message in run_checks(tags=["urls"])] == ["dovetail_tenancy.W006"]
