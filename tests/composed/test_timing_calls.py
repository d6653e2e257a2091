"""The attack: the time of a response reveals who has an account.

Seconds vary with the machine, so these tests compare what a request does: its statements, and each call of a Python
or C function in its thread. A difference of a single call fails. ``bench/timing_oracles.py`` measures the time.
"""

from __future__ import annotations

import gc
import random
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from types import FrameType, SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
from django.core import mail as outbox
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from dovetail_audit.entries.refusals import Limiter
from dovetail_core.queues import Unavailable
from example_project.celery import app
from tests.composed import factories

AUTH = "/api/auth"
ENDPOINTS = {
    "register": (f"{AUTH}/register/", {"password": "correct horse battery 9"}),
    "reset": (f"{AUTH}/password/reset/", {}),
    "magic request": (f"{AUTH}/magic/request/", {}),
}
#: The modules of ``*_MAIL_DISPATCH``, and whether the broker takes messages.
WAYS = {
    "broker": ("contrib.celery.dispatch", True),
    "broken broker": ("contrib.celery.dispatch", False),
    "thread": ("mail.in_background", True),
}


@contextmanager
def calls() -> Iterator[Counter[str]]:
    """Count the calls of functions in this thread, except those that depend on memory, random numbers or the time."""
    counts: Counter[str] = Counter()

    def count(frame: FrameType, event: str, argument: Any) -> None:
        if frame.f_code.co_filename == random.__file__:
            return  # draws again until the number is small enough
        if frame.f_code.co_filename.endswith("/psycopg/types/datetime.py"):
            return  # pads a fraction of a second that ends with zeros
        if event == "call":
            counts[f"{frame.f_code.co_filename}:{frame.f_code.co_firstlineno} {frame.f_code.co_qualname}"] += 1
        elif event == "c_call":
            counts[f"{frame.f_code.co_filename} {argument.__qualname__}"] += 1

    gc.collect()
    gc.disable()
    sys.setprofile(count)
    try:
        yield counts
    finally:
        sys.setprofile(None)
        gc.enable()


class Work:
    """What a request did before its response, and the mails that it left to a thread or a worker."""

    def __init__(self) -> None:
        self.status = 0
        self.statements: list[str] = []
        self.calls: Counter[str] = Counter()
        self.left: list[Callable[[], object]] = []

    def publish(self, send: Callable[[], object]) -> None:
        self.left.append(send)

    def in_background(self, send: Callable[[], object], *, label: str) -> None:
        self.left.append(send)

    def __eq__(self, other: object) -> bool:
        assert isinstance(other, Work)
        same = (self.status, self.statements, len(self.left)) == (other.status, other.statements, len(other.left))
        return same and self.calls == other.calls

    __hash__ = None  # type: ignore[assignment]

    def __sub__(self, other: Work) -> Counter[str]:
        return (self.calls - other.calls) + (other.calls - self.calls)


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, settings: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    dispatch, _ = WAYS[request.param]
    settings.IDENTITY_MAIL_DISPATCH = f"dovetail_identity.{dispatch}"
    settings.MAGIC_LINK_MAIL_DISPATCH = f"dovetail_magiclink.{dispatch}"
    settings.MAGIC_LINK_REQUESTS_PER_NETWORK = settings.MAGIC_LINK_REQUESTS_PER_SITE = ()
    # The first request of ten seconds creates a counter, whatever its address.
    monkeypatch.setattr("dovetail_magiclink.services.limits.time", SimpleNamespace(time=lambda: 1e9))
    # The first request of a minute records the refusals of the last one, whatever its address.
    monkeypatch.setattr("dovetail_audit.entries.refusals.limiter", Limiter())
    return str(request.param)


@pytest.fixture
def request_mail(way: str, django_capture_on_commit_callbacks: Any) -> Callable[..., Work]:
    def request(endpoint: str, address: str, *, counted: bool = True) -> Work:
        path, body = ENDPOINTS[endpoint]
        work = Work()
        with ExitStack() as stack:
            stack.enter_context(patch("dovetail_core.queues.publish", work.publish if WAYS[way][1] else _unavailable))
            stack.enter_context(patch("dovetail_core.mail.in_background", work.in_background))
            # As after a commit. The rows of this test are visible to this thread only, so it runs what is left.
            stack.enter_context(patch("dovetail_core.mail._threads_can_read", return_value=True))
            stack.enter_context(patch("dovetail_core.mail.connections.close_all"))
            stack.enter_context(patch.dict(app.conf.changes, {"task_always_eager": False}))
            queries = stack.enter_context(CaptureQueriesContext(connection))
            client = Client()
            with (
                calls() if counted else nullcontext(Counter()) as work.calls,
                django_capture_on_commit_callbacks(execute=True),
            ):
                response = client.post(path, body | {"email": address}, "application/json")
            work.status = response.status_code
            work.statements = [_without_parameters(query["sql"]) for query in queries]
            if way != "broker":
                for send in work.left:
                    send()
        return work

    return request


def _unavailable(send: Callable[[], object]) -> None:
    raise Unavailable


def _without_parameters(sql: str) -> str:
    return re.sub(r"'[^']*'|\bs\d+_x\d+\b|\b[0-9a-f]{32}\b|\b\d+\b", "?", sql)


# Validators compare the letters of the address with the password, so the addresses differ in digits that it lacks.
ADDRESSES = {
    "unknown": "person12@example.com",
    "known": "person13@example.com",
    "inactive": "person14@example.com",
    "unknown again": "person15@example.com",
    "known again": "person16@example.com",
}
WARM_UP = {"unknown": "person23@example.com", "known": "person24@example.com", "inactive": "person25@example.com"}


def _create_accounts() -> None:
    for name, address in [*ADDRESSES.items(), *WARM_UP.items()]:
        if not name.startswith("unknown"):
            factories.user(email=address, is_active=name != "inactive")


def _differences(works: dict[str, Work]) -> dict[str, Any]:
    """Return the differences from an unknown address, which are shorter than the works."""
    base = works["unknown"]
    return {name: base - work or work.statements for name, work in works.items() if work != base}


@pytest.mark.django_db
@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_request_calls_the_same_functions_for_every_address(
    endpoint: str, way: str, request_mail: Callable[..., Work]
) -> None:
    _create_accounts()
    for address in WARM_UP.values():
        request_mail(endpoint, address, counted=False)
    outbox.outbox = []
    works = {name: request_mail(endpoint, address) for name, address in ADDRESSES.items()}
    assert (works["unknown"].status, len(works["unknown"].left)) == (202, 1)
    assert _differences(works) == {}
    assert works["unknown"].calls.total() > 1000
    if way != "broker":
        # Only what is left to the thread depends on the account.
        recipients = [recipient for message in outbox.outbox for recipient in message.to]
        assert ADDRESSES["known"] in recipients
        assert ADDRESSES["inactive"] not in recipients


# The limit is checked before the mail is dispatched.
@pytest.mark.django_db
@pytest.mark.parametrize("way", ["thread"], indirect=True)
def test_throttled_request_calls_the_same_functions_for_every_address(request_mail: Callable[..., Work]) -> None:
    _create_accounts()
    for address in (*WARM_UP.values(), *WARM_UP.values(), *ADDRESSES.values()):
        request_mail("magic request", address, counted=False)
    works = {name: request_mail("magic request", address) for name, address in ADDRESSES.items()}
    assert [(work.status, len(work.left)) for work in works.values()] == [(429, 0)] * len(works)
    assert _differences(works) == {}
