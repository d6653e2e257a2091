from __future__ import annotations

from typing import Any, Self

import pytest
from django.db import connection
from django.test import override_settings

from dovetail_core import connections as module
from dovetail_core.connections import check_connections, check_pool


class Server:
    """A connection to a server with these limits."""

    def __init__(self, vendor: str, limits: tuple[int, ...], **options: Any) -> None:
        self.vendor, self.limits, self.settings_dict = vendor, limits, {"OPTIONS": options}

    def cursor(self) -> Server:
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        pass

    def execute(self, sql: str) -> None:
        self.sql = sql

    def fetchone(self) -> tuple[int, ...]:
        return self.limits


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch) -> Any:
    def check(server: Server, processes: int | None, threads: int | None) -> list[Any]:
        monkeypatch.setattr(module, "connections", {"default": server})
        with override_settings(DOVETAIL_PROCESSES=processes, DOVETAIL_THREADS=threads):
            return [*check_pool(), *check_connections(databases=["default"])]

    return check


@pytest.mark.parametrize(
    ("limits", "processes", "threads", "accepted"),
    [
        ((97, -1, -1), 4, 24, None),
        ((97, -1, -1), 4, 25, 97),
        ((97, 40, -1), 4, 8, None),
        ((97, 20, -1), 4, 8, 20),
        ((97, -1, 30), 4, 8, 30),
        ((97, -1, -1), None, 100, None),
        ((97, -1, -1), 100, None, None),
    ],
)
def test_more_connections_than_the_server_accepts(
    messages: Any, limits: tuple[int, ...], processes: int | None, threads: int | None, accepted: int | None
) -> None:
    warnings = messages(Server("postgresql", limits), processes, threads)
    if accepted is None:
        assert warnings == []
        return
    (warning,) = warnings
    assert warning.id == "dovetail_core.W004"
    assert warning.msg == (
        f"4 processes (DOVETAIL_PROCESSES) with {threads} connections each may open {4 * (threads or 0)} connections "
        f"to database 'default', which accepts {accepted}."
    )
    assert "Start fewer processes or threads" in str(warning.hint)


@pytest.mark.parametrize(
    ("pool", "size"), [(True, 4), ({}, None), ({"min_size": 6}, 6), ({"min_size": 2, "max_size": 12}, 12)]
)
def test_pool_limits_the_connections_of_a_process(messages: Any, pool: Any, size: int | None) -> None:
    for threads in (4, 6, 12, 13):
        warnings = messages(Server("postgresql", (200, -1, -1), pool=pool), 1, threads)
        assert [warning.id for warning in warnings] == (["dovetail_core.W003"] if size and size < threads else [])
    if size is not None:
        assert warnings[0].msg == (
            f"The pool of database 'default' has {size} connections for the 13 threads of a process "
            "(DOVETAIL_THREADS), so requests wait for each other."
        )
        (warning,) = messages(Server("postgresql", (2, -1, -1), pool=pool), 1, None)
        assert f"1 processes (DOVETAIL_PROCESSES) with {size} connections each" in warning.msg


def test_other_servers_are_compared_too(messages: Any) -> None:
    assert [warning.id for warning in messages(Server("mysql", (151,)), 20, 8)] == ["dovetail_core.W004"]
    assert messages(Server("sqlite", ()), 20, 8) == []


@pytest.mark.django_db
def test_limit_of_the_real_server_is_read() -> None:
    with override_settings(DOVETAIL_PROCESSES=100_000, DOVETAIL_THREADS=8):
        warnings = list(check_connections(databases=["default"]))
    assert [warning.id for warning in warnings] == (
        ["dovetail_core.W004"] if connection.vendor in {"postgresql", "mysql"} else []
    )
    assert list(check_connections()) == []
