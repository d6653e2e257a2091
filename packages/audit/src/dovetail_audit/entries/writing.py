"""The INSERT of entries, on the connection of the change."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any, Final

from django.db import connections, transaction
from django.db.models import BinaryField

from dovetail_audit.conf import conf
from dovetail_audit.entries.databases import alias_for
from dovetail_audit.models import Entry
from dovetail_core.sql import once

logger = logging.getLogger("dovetail.audit")

#: The most rows of one statement.
BATCH: Final = 500


def write(entries: Sequence[Entry], *, using: str | None) -> None:
    """Insert built entries in the transaction of a change on ``using``. Apply ``AUDIT_ON_FAILURE``."""
    alias = alias_for(using)
    if conf.ON_FAILURE != "log":
        insert(entries, using=alias)
        return
    try:
        # A savepoint: PostgreSQL refuses every statement of a transaction after an error.
        with transaction.atomic(using=alias):
            insert(entries, using=alias)
    except Exception:
        actions = ", ".join(sorted({entry.action for entry in entries}))
        logger.exception("AUDIT_ON_FAILURE is 'log': %d entries are lost (%s).", len(entries), actions)


def insert(entries: Sequence[Entry], *, using: str) -> None:
    """Write the entries with one statement for each ``BATCH``, or fewer where the database limits parameters.

    The text of the statement is built once. The ORM takes twice the time for the same statement.
    """
    connection = connections[using]
    fields = Entry._meta.local_concrete_fields
    most = connection.features.max_query_params
    size = BATCH if most is None else max(1, min(BATCH, most // len(fields)))
    for rows in _batches(entries, size):
        statement, placeholders = once(_statement, using=using)
        parameters = [
            field.get_db_prep_save(getattr(entry, field.attname), connection) for entry in rows for field in fields
        ]
        values = ", ".join([placeholders] * len(rows))
        with transaction.mark_for_rollback_on_error(using), connection.cursor() as cursor:
            cursor.execute(f"{statement} {values}", parameters)
        for entry in rows:
            entry._state.adding, entry._state.db = False, using


def _statement(using: str) -> tuple[str, str]:
    connection = connections[using]
    fields = Entry._meta.local_concrete_fields
    quote = connection.ops.quote_name
    columns = ", ".join(quote(str(field.column)) for field in fields)
    # MySQL takes bytes for text in the character set of the connection without the introducer.
    binary = "_binary %s" if connection.vendor == "mysql" else "%s"
    places = ", ".join(binary if isinstance(field, BinaryField) else "%s" for field in fields)
    return f"INSERT INTO {quote(Entry._meta.db_table)} ({columns}) VALUES", f"({places})"


def _batches(entries: Sequence[Entry], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(entries), size):
        yield entries[start : start + size]
