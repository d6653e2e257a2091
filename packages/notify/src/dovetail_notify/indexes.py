from __future__ import annotations

from typing import Any

from django.db.models import Index, UniqueConstraint


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


class DedupeConstraint(UniqueConstraint):
    """One notification of a person for each dedupe key.

    Partial where the database has partial indexes: most notifications have no key, and to enter each of those was a
    quarter of what a fan-out costs. Elsewhere NULLs are all different from each other, which allows the same.
    """

    def __init__(self, *, name: str) -> None:
        super().__init__(fields=["recipient", "dedupe_key"], name=name)

    def __eq__(self, other: object) -> bool:
        # A plain constraint over these fields is another: migrations must see the difference.
        return isinstance(other, DedupeConstraint) and super().__eq__(other)

    __hash__ = None  # type: ignore[assignment]  # as with all constraints

    def deconstruct(self) -> tuple[str, Any, dict[str, Any]]:
        path, _, _ = super().deconstruct()
        return path, (), {"name": self.name}

    def _get_condition_sql(self, model: Any, schema_editor: Any) -> str | None:
        # Not as ``condition``, with which databases without partial indexes would have no constraint at all.
        if not schema_editor.connection.features.supports_partial_indexes:
            return None
        return f"{schema_editor.quote_name(model._meta.get_field('dedupe_key').column)} IS NOT NULL"
