"""Roles of PostgreSQL as an operator sets them up: the superuser of a test server is shown every row."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from psycopg import sql

_SET_UP = (
    "CREATE ROLE {bypass} NOLOGIN",
    "CREATE ROLE {may} NOLOGIN NOINHERIT",
    "GRANT {bypass} TO {may}",
    "CREATE ROLE {login} LOGIN CREATEDB PASSWORD {password}",
    "GRANT {may} TO {login}",
)


def administrator(database: dict[str, Any], name: str = "postgres") -> psycopg.Connection[Any]:
    """A connection as ``DATABASES``' own user, to the database ``name``."""
    return psycopg.connect(
        host=database["HOST"],
        port=database["PORT"] or 5432,
        user=database["USER"],
        password=database["PASSWORD"],
        dbname=name,
        autocommit=True,
    )


def create_roles(database: dict[str, Any], *, login: str, bypass: str) -> None:
    """``login`` may create databases, and become ``bypass`` without having its rights."""
    names = {"bypass": sql.Identifier(bypass), "may": sql.Identifier(f"{bypass}_may"), "login": sql.Identifier(login)}
    password = sql.Literal(database["PASSWORD"] or None)
    with administrator(database) as server:
        for statement in _SET_UP:
            # From a run that was killed.
            with suppress(psycopg.errors.DuplicateObject):
                server.execute(sql.SQL(statement).format(password=password, **names))


@contextmanager
def plain_login(database: dict[str, Any], *, bypass: str) -> Iterator[None]:
    """Connect as a role that row security binds, for as long as tests run: the server's own user is a superuser."""
    given, login = dict(database), f"{database['NAME']}_app"
    create_roles(given, login=login, bypass=bypass)
    database["USER"] = login
    yield
    drop_roles(given, login, f"{bypass}_may", bypass)


def drop_roles(database: dict[str, Any], *names: str) -> None:
    with administrator(database) as server:
        for name in names:
            # A database of theirs that was left behind keeps them.
            with suppress(psycopg.errors.DependentObjectsStillExist):
                server.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(name)))
