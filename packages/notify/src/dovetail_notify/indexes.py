from __future__ import annotations

from typing import Any

from django.db.models import Index


class UnreadIndex(Index):
    """A recipient's unread notifications, the newest first.

    Partial where the database has partial indexes: read rows, which are most, take no place in it. MariaDB and MySQL
    have none, and leave such an index out; there it is over ``read_at`` too, which finds the same rows.
    """

    def __init__(self, *, name: str) -> None:
        super().__init__(fields=["recipient", "-id"], name=name)

    def deconstruct(self) -> tuple[str, Any, dict[str, Any]]:
        path, _, _ = super().deconstruct()
        return path, (), {"name": self.name}

    def clone(self) -> UnreadIndex:
        return type(self)(name=self.name)

    def create_sql(self, model: Any, schema_editor: Any, using: str = "", **kwargs: Any) -> Any:
        partial = schema_editor.connection.features.supports_partial_indexes
        names = ["recipient", "id"] if partial else ["recipient", "read_at", "id"]
        read_at = schema_editor.quote_name(model._meta.get_field("read_at").column)
        return schema_editor._create_index_sql(
            model,
            fields=[model._meta.get_field(name) for name in names],
            name=self.name,
            using=using,
            col_suffixes=["", "DESC"] if partial else ["", "", ""],
            condition=f"{read_at} IS NULL" if partial else None,
            **kwargs,
        )
