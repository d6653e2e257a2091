"""Celery tasks run for the organization they were enqueued for, eagerly and in a real worker."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("celery", reason="Celery is not installed")

from celery import Celery, chain, chord, group
from celery._state import _set_task_join_will_block
from django.test import Client

from dovetail_tenancy import current_tenant_id, tenant, unscoped
from dovetail_tenancy.contrib.celery import HEADER, TenantTask
from tests.tenancy.factories import make_organization, make_user
from tests.tenancy.worker import celery_app as worker
from tests.tenancy.worker.celery_app import failing, gather, nested, see, see_retrying

pytestmark = pytest.mark.django_db


@pytest.fixture
def eager() -> Iterator[Celery]:
    app = worker.app
    app.conf.task_always_eager = True
    yield app
    app.conf.task_always_eager = False


def test_shared_tasks_use_the_task_class(eager: Celery) -> None:
    from dovetail_tenancy.contrib.celery import purge_invitations

    assert isinstance(see, TenantTask)
    assert isinstance(eager.tasks[purge_invitations.name], TenantTask)
    assert purge_invitations.delay().get() == 0


def test_eager_task_restores_the_callers_organization(eager: Celery) -> None:
    acme, globex = make_organization("Acme"), make_organization("Globex")
    assert see.delay().get() == "TenantRequired"
    with tenant(acme):
        assert see.delay().get() == str(acme.pk)
        assert nested.delay(str(globex.pk)).get() == str(globex.pk)
        assert current_tenant_id() == acme.pk
        with unscoped(reason="test"):
            # unscoped is never inherited, because a worker would have to trust a header.
            assert see.delay().get() == "TenantRequired"
            assert see.apply().get() == "TenantRequired"
        with pytest.raises(ZeroDivisionError):
            failing.delay().get()
        assert current_tenant_id() == acme.pk


def test_direct_call_runs_in_the_callers_scope(eager: Celery) -> None:
    with unscoped(reason="test"):
        assert see() == "all"


def test_retry_keeps_the_organization(eager: Celery) -> None:
    acme, globex = make_organization("Acme"), make_organization("Globex")
    with tenant(acme):
        assert see_retrying.delay(str(globex.pk)).get() == str(acme.pk)
    assert see_retrying.delay(str(globex.pk)).get() == "TenantRequired"


def test_eager_canvases(eager: Celery) -> None:
    acme = make_organization("Acme")
    key = str(acme.pk)
    with tenant(acme):
        assert chain(gather.s([]), gather.s()).delay().get() == [key, key]
        assert chord([see.s(), see.s()], gather.s()).delay().get() == [key, key, key]
        assert group(see.s(), see.s()).delay().get() == [key, key]


def test_view_enqueues_for_its_organization(eager: Celery, settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.tenancy.worker.urls"
    user = make_user()
    acme = make_organization("Acme", owner=user)
    client = Client()
    client.force_login(user)
    assert client.get("/enqueue/").json() == {"task": str(acme.pk), "view": str(acme.pk)}
    make_organization("Globex", owner=user)
    # With two organizations none is selected. A task that requires none can still be enqueued.
    assert client.get("/enqueue/?view=no").json() == {"task": "TenantRequired"}


def test_message_carries_only_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    from dovetail_tenancy.contrib.celery import carry_organization

    acme, globex = make_organization("Acme"), make_organization("Globex")
    constant = see.s()

    def published(**embedded: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        headers: dict[str, Any] = {"id": "1"}
        body: Any = ((), {}, dict(embedded))
        carry_organization(body=body, headers=headers)
        return headers, body[2]

    with tenant(acme):
        headers, embedded = published(chain=[chord([see.s()], constant), group(see.s())], callbacks=[constant])
    assert headers == {"id": "1", HEADER: str(acme.pk)}
    (after,) = embedded["callbacks"]
    assert after["options"]["headers"] == {HEADER: str(acme.pk)}
    assert str(embedded["chain"]).count(HEADER) == 3
    # The first use does not change a signature that is a constant of a module.
    assert "headers" not in constant.options
    with tenant(globex):
        assert published(callbacks=[after])[1]["callbacks"][0]["options"]["headers"] == {HEADER: str(acme.pk)}
    with unscoped(reason="test"):
        assert published()[0] == {"id": "1", HEADER: ""}
    assert published()[0] == {"id": "1", HEADER: ""}
    # A retry keeps its first headers, whichever organization is active.
    again = {"id": "1", HEADER: str(acme.pk)}
    with tenant(globex):
        carry_organization(body=((), {}, {}), headers=again)
    assert again[HEADER] == str(acme.pk)
    carry_organization(body={"id": "protocol 1"}, headers={})
    carry_organization()


def test_invalid_header_raises(eager: Celery) -> None:
    with pytest.raises(ValueError, match="neither a"):
        see.apply_async(headers={HEADER: "\x00nonsense"}).get()


def test_threads_keep_their_organizations(eager: Celery) -> None:
    organizations = [make_organization(f"Organization {number}") for number in range(8)]
    seen: dict[str, set[str]] = {}
    barrier = threading.Barrier(len(organizations))

    def work(key: str) -> None:
        barrier.wait(10)
        for _ in range(20):
            with tenant(key):
                seen.setdefault(key, set()).add(see.delay().result)

    threads = [threading.Thread(target=work, args=(str(organization.pk),)) for organization in organizations]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # All threads share Celery's flag, so the last thread determines its value.
    _set_task_join_will_block(False)
    assert seen == {str(organization.pk): {str(organization.pk)} for organization in organizations}


RESULTS = os.environ.get("REDIS_URL", "")
BROKERS = {"redis": RESULTS, "amqp": os.environ.get("CELERY_BROKER_URL", "")}


@pytest.mark.parametrize("broker", BROKERS)
@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_real_worker(broker: str, pool: str) -> None:
    if not BROKERS[broker] or not RESULTS:
        pytest.skip("needs REDIS_URL for the results" + (" and CELERY_BROKER_URL" if broker == "amqp" else ""))
    from tests.tenancy.worker.running import sent_to_a_worker

    assert sent_to_a_worker(BROKERS[broker], RESULTS, pool=pool) == {"tasks": 48, "wrong": []}
