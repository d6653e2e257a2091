"""Tasks, threads and thread pools read only the rows of the organization that they run for."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connections

from dovetail_tenancy import TenantRequired, current_tenant_id, tenant
from tests import asynchronous
from tests.tenancy.documents.factories import make_document, make_organization
from tests.tenancy.documents.models import Document

pytestmark = pytest.mark.django_db(transaction=True)

ROUNDS = 5


@pytest.fixture
def organizations() -> dict[Any, str]:
    """Four organizations, with one document each, by key."""
    made = {make_organization(f"Acme {number}").pk: f"document {number}" for number in range(4)}
    for key, title in made.items():
        make_document(key, title)
    return made


def titles() -> list[str]:
    return list(Document.objects.values_list("title", flat=True))


def titles_on_a_connection_of_its_own() -> list[str]:
    try:
        return titles()
    finally:
        connections.close_all()


async def natively() -> list[str]:
    return [document.title async for document in Document.objects.all()]


READERS: dict[str, Callable[[], Any]] = {
    "natively": natively,
    "in the thread for synchronous code": sync_to_async(titles),
    "in any thread": sync_to_async(titles_on_a_connection_of_its_own, thread_sensitive=False),
    "by to_thread": lambda: asyncio.to_thread(titles_on_a_connection_of_its_own),
}


@pytest.mark.parametrize("name", READERS)
def test_interleaved_tasks_read_their_rows(organizations: dict[Any, str], name: str) -> None:
    async def work(key: Any) -> list[list[str]]:
        seen = []
        async with tenant(key):
            for _ in range(ROUNDS):
                await asyncio.sleep(0)
                seen.append(await READERS[name]())
        with pytest.raises(TenantRequired):
            await READERS[name]()
        return seen

    async def main() -> list[list[list[str]]]:
        return await asyncio.gather(*map(work, organizations))

    assert asynchronous.run(main()) == [[[title]] * ROUNDS for title in organizations.values()]


def test_task_keeps_its_organization(organizations: dict[Any, str]) -> None:
    async def main() -> list[list[str]]:
        tasks = []
        for key in organizations:
            async with tenant(key):
                tasks.append(asyncio.create_task(natively()))
        assert current_tenant_id() is None
        return await asyncio.gather(*tasks)

    assert asynchronous.run(main()) == [[title] for title in organizations.values()]


def test_pool_threads_start_each_job_without_a_scope(organizations: dict[Any, str]) -> None:
    together = threading.Barrier(len(organizations))

    def work(key: Any) -> list[list[str]]:
        seen = []
        with tenant(key):
            for _ in range(ROUNDS):
                together.wait(30)
                seen.append(titles_on_a_connection_of_its_own())
        return seen

    with ThreadPoolExecutor(len(organizations)) as pool:
        seen = list(pool.map(work, organizations))
        left = list(pool.map(lambda _: current_tenant_id(), range(8)))
    assert seen == [[[title]] * ROUNDS for title in organizations.values()]
    assert left == [None] * 8


def test_thread_gets_the_organization_only_from_its_context(organizations: dict[Any, str]) -> None:
    key, title = next(iter(organizations.items()))
    with tenant(key), ThreadPoolExecutor(1) as pool:
        with pytest.raises(TenantRequired):
            pool.submit(titles_on_a_connection_of_its_own).result()
        context = contextvars.copy_context()
        assert pool.submit(context.run, titles_on_a_connection_of_its_own).result() == [title]
