"""Every guard of the ORM layer is necessary: without it, a test that otherwise passes fails."""

from __future__ import annotations

import contextvars
import copy
import inspect
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any
from unittest import mock

import pytest
from django.contrib.contenttypes.fields import GenericRelation
from django.db import models, transaction
from django.db.models.sql.where import WhereNode

from dovetail_tenancy import current_tenant_id
from dovetail_tenancy.isolation import fields, querysets, relations, scope
from dovetail_tenancy.isolation.fields import TenantModel
from dovetail_tenancy.isolation.querysets import OwnedByCurrentTenant, PinnedQuery, TenantManager, TenantQuerySet
from dovetail_tenancy.isolation.relations import LinkManager, LinkQuerySet
from tests.tenancy import (
    test_isolation_reads,
    test_isolation_relations,
    test_isolation_writes,
    test_leaks,
    test_ordinary_django,
    test_pinned,
)
from tests.tenancy.lending.models import Book, Librarian, Loan  # type: ignore[attr-defined]
from tests.tenancy.lending.world import World
from tests.tenancy.test_isolation_reads import theirs  # noqa: F401  # a fixture
from tests.tenancy.test_leaks import m, the_orm_alone  # noqa: F401  # fixtures
from tests.tenancy.test_pinned import acme, globex  # noqa: F401  # fixtures

pytestmark = pytest.mark.django_db


@dataclass(frozen=True)
class Without:
    """The removal of a guard: ``replacement`` replaces ``owner.name``."""

    owner: Any
    name: str
    replacement: Any = None

    def patch(self) -> AbstractContextManager[Any]:
        if self.name in self.owner.__dict__ and not isinstance(self.owner, type | ModuleType):
            return mock.patch.dict(self.owner.__dict__, {self.name: self.replacement})
        return mock.patch.object(self.owner, self.name, self.replacement)


def django_s(owner: type, name: str) -> Without:
    """Replace a class's own attribute by the inherited one."""
    return Without(owner, name, inspect.getattr_static(owner.__mro__[1], name))


def nothing(*args: Any, **kwargs: Any) -> None:
    return None


def always(*args: Any, **kwargs: Any) -> tuple[str, Any]:
    return "1 = 1", ()


def no_condition(*args: Any) -> WhereNode:
    return WhereNode()


def at_build_time(self: Any) -> Any:
    return models.Manager.get_queryset(self).filter(organization=current_tenant_id())


def everything_where_none() -> scope.Scope:
    frame = scope._top.get()
    return (frame and frame.scope) or scope.Scope(reason="none")


def of_the_active_one(field: Any, alias: Any, related_alias: Any) -> Any:
    own = fields.organization_column(field.model)
    return fields.ownership_condition(field.model, own, related_alias) if own and related_alias else None


def entered_once(active: AbstractContextManager[Any], rows: Any) -> Iterator[Any]:
    with active:
        yield from rows


def assigned_only(self: Any, *args: Any) -> Any:
    querysets.assign_organization(self, scope.require_scope("Deleting"))
    return models.Model.delete(self, *args)


def plain_manager(model: Any) -> Any:
    manager: Any = models.Manager()
    manager.model = model
    return manager


def key(model: Any, name: str) -> Without:
    """Remove the condition that a foreign key gets when Django starts."""
    return Without(model._meta.get_field(name), "get_extra_restriction", nothing)


def leak(name: str) -> Callable[..., None]:
    """Return the test of the leak matrix for this case."""
    assert name in test_leaks.CASES

    def probe(m: World) -> None:  # noqa: F811  # the fixture's name
        test_leaks.test_nothing_leaks(m, name)

    return probe


def refused(name: str) -> Callable[..., None]:
    (case,) = (case for case in test_leaks.methods.refused() if case.name == name)

    def probe(m: World) -> None:  # noqa: F811
        test_leaks.test_raw_methods_are_refused_without_an_organization(m, case)

    return probe


def pinned(name: str) -> Callable[..., None]:
    def probe(acme: Any, globex: Any) -> None:  # noqa: F811
        test_pinned.test_nested_queries_follow_the_pin(acme, globex, name, elsewhere=True)

    return probe


links = Book.topics.through
readings = Book.readers.through

remarks = Loan._meta.get_field("remarks")
reads, writes, ordinary = test_isolation_reads, test_isolation_writes, test_ordinary_django
prefetched = test_pinned.test_prefetches_follow_the_pin
everywhere = test_pinned.test_every_statement_runs_in_the_pinned_scope

GUARDS: dict[str, tuple[Without, Callable[..., None]]] = {
    # State
    "no organization is refused": (
        Without(scope, "current_scope", everything_where_none),
        leak("methods: QuerySet.count"),
    ),
    "leaving restores what was active": (Without(scope, "_pop", nothing), reads.test_scopes_nest_and_restore),
    # Reads
    "the manager's condition": (django_s(TenantManager, "get_queryset"), leak("methods: QuerySet.count")),
    "read when SQL is compiled": (Without(TenantManager, "get_queryset", at_build_time), leak("early: count")),
    "the base manager": (Without(Book._meta, "base_manager", plain_manager(Book)), leak("joins: base manager")),
    "raw SQL needs an organization": (django_s(TenantQuerySet, "raw"), refused("raw")),
    "none() asks for nothing": (django_s(TenantQuerySet, "none"), reads.test_none_requires_no_organization),
    # Joins
    "the condition on a joined table": (
        Without(fields, "ownership_condition", no_condition),
        leak("joins: from a person"),
    ),
    "the condition by way of an owner": (
        Without(OwnedByCurrentTenant, "as_sql", always),
        leak("inheritance: person over a child's key"),
    ),
    "OrganizationForeignKey's joins": (
        Without(fields.OrganizationForeignKey, "get_extra_restriction", nothing),
        leak("joins: from the organization"),
    ),
    "TenantForeignKey's joins": (
        Without(fields.TenantForeignKey, "get_extra_restriction", nothing),
        leak("joins: from a person"),
    ),
    "equality between two tenant tables": (
        Without(fields, "join_condition", of_the_active_one),
        leak("forged: key: values"),
    ),
    "other apps' foreign keys": (key(Loan, "book"), leak("joins: from a loan")),
    "the child of a parent that nobody owns": (
        key(Librarian, "person_ptr"),
        leak("inheritance: from a parent that nobody owns"),
    ),
    "a generic relation's joins": (
        Without(relations, "ownership_condition", no_condition),
        leak("generic: from a loan"),
    ),
    "a many-to-many table's joins": (key(readings, "person"), leak("many-to-many: person: keys")),
    "a many-to-many table's other end": (key(links, "book"), leak("forged: link: keys")),
    "a many-to-many table's rows": (django_s(LinkManager, "get_queryset"), leak("many-to-many: table between")),
    "a many-to-many table's base manager": (
        Without(readings._meta, "base_manager", plain_manager(readings)),
        leak("many-to-many: readers of a book: count"),
    ),
    # Writes
    "a new row's organization, before its receivers": (
        django_s(TenantModel, "save_base"),
        writes.test_receivers_see_the_organization_of_a_new_row,
    ),
    "saving past save_base": (django_s(TenantModel, "_save_table"), leak("writes: loaddata")),
    "deleting an instance": (django_s(TenantModel, "delete"), leak("writes: delete a made-up one")),
    "deleting a made-up instance": (
        Without(TenantModel, "delete", assigned_only),
        leak("writes: delete a made-up one"),
    ),
    "the organization a row was read with": (
        django_s(fields.OrganizationForeignKey.descriptor_class, "__set__"),
        writes.test_moved_row_is_not_saved_by_its_new_organization,
    ),
    "saving another's row": (Without(fields, "assign_organization", nothing), leak("writes: new row of theirs")),
    "creating another's rows in bulk": (
        Without(querysets, "assign_organization", nothing),
        leak("writes: bulk_create"),
    ),
    "upserting over another's row": (django_s(TenantQuerySet, "bulk_create"), leak("writes: upsert by key")),
    "moving rows by update": (django_s(TenantQuerySet, "update"), leak("writes: give away by update")),
    "another's instance in a foreign key": (
        Without(querysets, "refuse_foreign_instances", nothing),
        leak("writes: my book on their shelf"),
    ),
    "linking one by one": (Without(links, "save_base", models.Model.save_base), leak("links: table between: save")),
    "linking in bulk": (
        Without(LinkQuerySet, "bulk_create", models.QuerySet.bulk_create),
        leak("links: add by key"),
    ),
    "relinking": (django_s(LinkQuerySet, "update"), leak("links: table between: update")),
    # Pins
    "what is nested in a pinned one": (django_s(PinnedQuery, "get_compiler"), pinned("subquery")),
    "what a pinned one prefetches": (django_s(TenantQuerySet, "_fetch_all"), prefetched),
    "what it prefetches in steps": (django_s(TenantQuerySet, "_iterator"), prefetched),
    "what it prefetches in asynchronous steps": (django_s(TenantQuerySet, "aiterator"), prefetched),
    "a stream leaves its consumer alone": (
        Without(querysets, "iterate_within", entered_once),
        test_pinned.test_stream_consumer_keeps_its_scope,
    ),
    **{
        f"a pinned {name}": (django_s(TenantQuerySet, name), everywhere)
        for name in ("_raw_delete", "aggregate", "count", "create", "delete", "update_or_create")
    },
    "pins do not combine": (
        django_s(TenantQuerySet, "_merge_sanity_check"),
        test_pinned.test_different_pins_do_not_combine,
    ),
    # Cascades
    "what refers to a row of nobody's goes with it": (
        Without(fields._AcrossOrganizations, "__call__", lambda self, *args: self.on_delete(*args)),
        ordinary.test_deleting_a_user_reaches_the_rows_of_every_organization,
    ),
    "what is attached to a row of nobody's goes with it": (
        Without(remarks, "bulk_related_objects", partial(GenericRelation.bulk_related_objects, remarks)),
        test_isolation_relations.test_deleting_an_unowned_row_deletes_attached_rows,
    ),
}


@pytest.mark.parametrize("name", GUARDS)
def test_guard_is_necessary(m: World, request: pytest.FixtureRequest, name: str) -> None:  # noqa: F811
    guard, probe = GUARDS[name]
    arguments = {name: request.getfixturevalue(name) for name in inspect.signature(probe).parameters}

    def attempt() -> None:
        with transaction.atomic():
            probe(**copy.deepcopy(arguments))
            transaction.set_rollback(True)

    # In a separate context, because the broken code may leave an organization active.
    contextvars.copy_context().run(attempt)
    with guard.patch(), pytest.raises((Exception, pytest.fail.Exception)):
        contextvars.copy_context().run(attempt)


GUARDED = (TenantQuerySet, TenantManager, TenantModel, LinkQuerySet, LinkManager, PinnedQuery)


@pytest.mark.parametrize("kind", GUARDED, ids=lambda kind: kind.__name__)
def test_every_override_is_a_guard(kind: Any) -> None:
    inherited = {name for name in vars(kind) if any(name in vars(base) for base in kind.__mro__[1:])}
    ours = {name for name in inherited if callable(getattr(kind, name)) and not name.startswith("__")}
    named = {guard.name for guard, _ in GUARDS.values() if guard.owner is kind}
    assert ours - named - {"DoesNotExist", "MultipleObjectsReturned", "NotUpdated", "objects"} == set()
