"""Querysets that are built while one organization is active and run while another or none is active."""

from __future__ import annotations

import copy
import pickle
from typing import Any

from django import forms
from django.db.models import Count, Prefetch

from tests.tenancy.lending.cases import Case
from tests.tenancy.lending.world import World


def shelf_form(m: World) -> Any:
    field = forms.ModelChoiceField(queryset=m.rows(m.Shelf).all())
    return type("ShelfForm", (forms.Form,), {"shelf": field})


def book_form(m: World) -> Any:
    return forms.modelform_factory(m.Page, fields=["book", "text"])


def shelf_serializer(m: World) -> Any:
    from rest_framework import serializers as rest

    field = rest.PrimaryKeyRelatedField(queryset=m.rows(m.Shelf).all())
    return type("ShelfSerializer", (rest.Serializer,), {"shelf": field})


def page_serializer(m: World) -> Any:
    from rest_framework import serializers as rest

    meta = type("Meta", (), {"model": m.Page, "fields": ["book", "text"]})
    return type("PageSerializer", (rest.ModelSerializer,), {"Meta": meta})


def page_filters(m: World) -> Any:
    from django_filters import FilterSet, ModelChoiceFilter

    meta = type("Meta", (), {"model": m.Page, "fields": ["book"]})
    shelf = ModelChoiceFilter(field_name="book__shelf", queryset=m.rows(m.Shelf).all())
    return type("PageFilters", (FilterSet,), {"shelf": shelf, "Meta": meta})


def chosen(field: Any) -> list[Any]:
    return [value for value, _ in field.choices if value]


def revived(m: World) -> Any:
    rows = m.rows(m.Book).all()
    rows.query = pickle.loads(m.prepared)
    return rows


def a_book(m: World) -> Any:
    return m.rows(m.Book).filter(title="theirs")


def refine(m: World) -> Any:
    return m.prepared.exclude(title="").order_by("title")


EARLY = [
    Case("list", lambda m: m.prepared, a_book),
    Case("refined", refine, a_book),
    Case("count", lambda m: m.prepared.count(), a_book),
    Case("exists", lambda m: m.prepared.exists(), a_book),
    Case("get", lambda m: m.prepared.get(), a_book),
    Case("aggregate", lambda m: m.prepared.aggregate(n=Count("pk")), a_book),
    Case("update", lambda m: m.prepared.update(title="stolen"), a_book),
    Case("delete", lambda m: m.prepared.delete(), a_book),
    Case("in a subquery", lambda m: m.Person.objects.filter(written__in=m.prepared), a_book),
    Case("class attribute", lambda m: m.prepared.queryset.all(), lambda m: type("View", (), {"queryset": a_book(m)})),
    Case("pickled", revived, lambda m: pickle.dumps(a_book(m).query)),
    Case("copied", lambda m: copy.deepcopy(m.prepared), a_book),
    Case("generator", lambda m: list(m.prepared), lambda m: (book for book in a_book(m).iterator())),
    Case("iterator", lambda m: list(m.prepared), lambda m: a_book(m).iterator()),
    Case("prefetch object",
         lambda m: [book for person in m.Person.objects.prefetch_related(m.prepared) for book in person.written.all()],
         lambda m: Prefetch("written", a_book(m))),
    Case("form field", lambda m: m.prepared({"shelf": m.row["shelf"].pk}).is_valid(), shelf_form),
    Case("form field: choices", lambda m: chosen(m.prepared().fields["shelf"]), shelf_form),
    Case("model form", lambda m: m.prepared({"book": m.row["book"].pk, "text": "x"}).is_valid(), book_form),
    Case("model form: choices", lambda m: chosen(m.prepared().fields["book"]), book_form),
    Case("DRF field", lambda m: m.prepared(data={"shelf": m.row["shelf"].pk}).is_valid(), shelf_serializer),
    Case("DRF field: choices", lambda m: m.prepared().fields["shelf"].get_choices(), shelf_serializer),
    Case("DRF model", lambda m: m.prepared(data={"book": m.row["book"].pk, "text": "x"}).is_valid(), page_serializer),
    Case("DRF model: choices", lambda m: m.prepared().fields["book"].get_choices(), page_serializer),
    Case("django-filter", lambda m: m.prepared({"shelf": m.row["shelf"].pk}, m.rows(m.Page).all()).form.is_valid(),
         page_filters),
    Case("django-filter: model", lambda m: m.prepared({"book": m.row["book"].pk}, m.rows(m.Page).all()).qs,
         page_filters),
    Case("django-filter: choices", lambda m: chosen(m.prepared({}, m.rows(m.Page).all()).form.fields["shelf"]),
         page_filters),
]  # fmt: skip
