"""All ways to read and write rows without the ORM."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

from django.db import connection

TITLES = "SELECT title FROM documents_document ORDER BY title"


def execute() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(TITLES)
        return [title for (title,) in cursor.fetchall()]


def execute_with_comments() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(f"-- a comment\n /* another */ ({TITLES})")
        return [title for (title,) in cursor.fetchall()]


def debug_cursor() -> list[str]:
    connection.force_debug_cursor = True
    try:
        return execute()
    finally:
        connection.force_debug_cursor = False


def callproc() -> list[str]:
    with connection.cursor() as cursor:
        cursor.callproc("all_titles")
        return [title for (title,) in cursor.fetchall()]


def copy() -> list[str]:
    with connection.cursor() as cursor, cursor.copy(f"COPY ({TITLES}) TO STDOUT") as rows:
        return [title for (title,) in rows.rows()]


def copy_of_the_table() -> list[str]:
    with connection.cursor() as cursor, cursor.copy("COPY documents_document (title) TO STDOUT") as rows:
        return sorted(title for (title,) in rows.rows())


def stream() -> list[str]:
    with connection.cursor() as cursor:
        return [title for (title,) in cursor.stream(TITLES)]


def server_side_cursor() -> list[str]:
    with connection.chunked_cursor() as cursor:
        cursor.execute(TITLES)
        return [title for (title,) in cursor.fetchall()]


def executemany() -> list[str]:
    with connection.cursor() as cursor:
        cursor.cursor.executemany(TITLES + " LIMIT %s", [(10,)], returning=True)
        return [title for (title,) in cursor.fetchall()]


def driver_connection() -> list[str]:
    """Execute on the connection of the driver, without Django."""
    connection.ensure_connection()
    return [title for (title,) in connection.connection.execute(TITLES.encode()).fetchall()]


def prepared() -> list[str]:
    name = f"p{uuid4().hex}"
    with connection.cursor() as cursor:
        cursor.execute(f"PREPARE {name} AS {TITLES}")
        cursor.execute(f"EXECUTE {name}")
        titles = [title for (title,) in cursor.fetchall()]
        cursor.execute(f"DEALLOCATE {name}")
    return titles


READS: dict[str, Callable[[], list[str]]] = {
    read.__name__: read
    for read in (
        execute,
        execute_with_comments,
        debug_cursor,
        callproc,
        copy,
        copy_of_the_table,
        stream,
        server_side_cursor,
        executemany,
        driver_connection,
        prepared,
    )
}


def insert(organization: Any) -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO documents_folder (id, name, organization_id) VALUES (%s, %s, %s)",
            [uuid4(), "Raw", organization.pk],
        )
        return int(cursor.rowcount)


def insert_many(organization: Any) -> int:
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO documents_folder (id, name, organization_id) VALUES (%s, %s, %s)",
            [(uuid4(), name, organization.pk) for name in ("Raw", "Rare")],
        )
        return int(cursor.rowcount)


def move(organization: Any) -> int:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE documents_note SET organization_id = %s", [organization.pk])
        return int(cursor.rowcount)


def update() -> int:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE documents_document SET title = title || '!'")
        return int(cursor.rowcount)


def delete() -> int:
    with connection.cursor() as cursor:
        cursor.execute("WITH gone AS (DELETE FROM documents_note RETURNING 1) SELECT count(*) FROM gone")
        return int(cursor.fetchone()[0])


def shown() -> tuple[str, str]:
    """Return the setting and the role of the server session."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT coalesce(current_setting('tenancy.organization', true), ''), current_user")
        setting, role = cursor.fetchone()
    return str(setting), str(role)
