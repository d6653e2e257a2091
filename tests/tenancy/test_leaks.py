"""The leak matrix: every method, join and write, without a scope, in each organization and unscoped."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import pytest
from django.core.management import CommandError
from django.db import transaction
from django.db.models import Manager, QuerySet

from dovetail_tenancy import TenantRequired, get_organization_model, tenant, unscoped
from dovetail_tenancy.isolation.scope import Scope, override_database_scope
from tests.tenancy.documents.factories import make_organization
from tests.tenancy.lending import early, methods, models, reads, writes
from tests.tenancy.lending.cases import Case, attempt
from tests.tenancy.lending.world import Asynchronously, World

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def the_orm_alone() -> Iterator[None]:
    """Disable row security on PostgreSQL, because it would hide the leaks of the ORM."""
    with override_database_scope(Scope(reason="the ORM alone")):
        yield


READS = {**reads.READS, "early": early.EARLY, "methods": methods.cases()}
ASYNC = {f"{family}, async": table for family, table in writes.WRITES.items()}
CASES = {
    f"{family}: {case.name}": case for family, table in {**READS, **writes.WRITES, **ASYNC}.items() for case in table
}


def lending() -> World:
    return World(
        models,
        get_organization_model(),
        within=tenant,
        everything=lambda: unscoped(reason="test"),
        make_organization=make_organization,
    )


@pytest.fixture(scope="module")
def m(django_db_setup: None, django_db_blocker: Any) -> Iterator[World]:
    """Return the library. It is filled once, because every attempt is rolled back."""
    with django_db_blocker.unblock(), transaction.atomic():
        world = lending()
        world.fill()
        yield world
        transaction.set_rollback(True)


@pytest.mark.parametrize("name", CASES)
def test_nothing_leaks(m: World, name: str) -> None:
    case = CASES[name]
    if "django-filter" in name:
        pytest.importorskip("django_filters")
    m.via = Asynchronously if ", async: " in name else World.via
    without = attempt(m, case, nullcontext())
    assert not without.leaked
    assert isinstance(without.error, TenantRequired | CommandError), without
    assert not attempt(m, case, tenant(m.mine)).leaked
    # A case that shows nothing to unscoped code would prove nothing.
    assert attempt(m, case, unscoped(reason="test")).leaked
    assert case.crossing or attempt(m, case, tenant(m.theirs)).leaked


@pytest.mark.parametrize("case", methods.refused(), ids=lambda case: case.name)
def test_raw_methods_are_refused_without_an_organization(m: World, case: Case) -> None:
    assert isinstance(attempt(m, case, nullcontext()).error, TenantRequired)
    assert attempt(m, case, tenant(m.theirs)).error is None


def test_every_method_of_this_django_is_classified(m: World) -> None:
    related = [m.row["shelf"].books, m.row["book"].topics, m.row["book"].remarks]
    methods_of_django = set.union(*(methods.public(kind) for kind in (QuerySet, Manager, *map(type, related))))
    ours = {"for_tenant", "pinned"}
    assert methods_of_django - methods.classified() - ours - set(vars(models.Book)) == set()
