from __future__ import annotations

from django.apps import AppConfig


class OwnConfig(AppConfig):
    name = "tests.tenancy.own"
    label = "own"
    default_auto_field = "django.db.models.BigAutoField"
