"""Statistics for PostgreSQL's planner, which make it read a page of an inbox from the index.

The planner does not see whose inbox a query reads (see ``reading``), so it expects the average length. If that is less
than a page, it may fetch the whole inbox and sort it. For a recipient with thousands of rows that is slow: 7.9 ms
instead of 0.3 ms for 20 000 rows among 5 000 recipients with one each. A low number of distinct recipients makes the
planner expect long inboxes, for which it uses the index.
"""

from __future__ import annotations

from typing import Any, Final

from django.db import connections, router

from dovetail_notify.base import get_notification_model

RECIPIENTS: Final = 200


def set_recipient_statistics(using: str, **kwargs: Any) -> None:
    """Set ``n_distinct`` after ``migrate``, also on a project's own model. A value that is already set stays."""
    model = get_notification_model()
    connection = connections[using]
    managed = model._meta.managed and router.allow_migrate_model(using, model)
    if connection.vendor != "postgresql" or not managed:
        return
    table = connection.ops.quote_name(model._meta.db_table)
    recipient: Any = model._meta.get_field("recipient")
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT attoptions FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attname = %s",
            [table, recipient.column],
        )
        row = cursor.fetchone()
        # None if the table does not exist, because it is not migrated yet or the migration was reversed.
        if row is not None and not any(option.startswith("n_distinct=") for option in row[0] or ()):
            name = connection.ops.quote_name(recipient.column)
            cursor.execute(f"ALTER TABLE {table} ALTER COLUMN {name} SET (n_distinct = {RECIPIENTS})")
