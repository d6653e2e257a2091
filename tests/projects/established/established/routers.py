from __future__ import annotations

from typing import Any

from django.db import models


class ArchiveRouter:
    """The app archive, and nothing else, lives in the database archive."""

    def db_for_read(self, model: type[models.Model], **hints: Any) -> str:
        return _database(model)

    def db_for_write(self, model: type[models.Model], **hints: Any) -> str:
        return _database(model)

    def allow_relation(self, one: models.Model, other: models.Model, **hints: Any) -> bool:
        return _database(one) == _database(other)

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        return (app_label == "archive") == (db == "archive")


def _database(model: type[models.Model] | models.Model) -> str:
    return "archive" if model._meta.app_label == "archive" else "default"
