from __future__ import annotations

from django.apps import AppConfig


class OwnUsersConfig(AppConfig):
    name = "tests.identity.own_users"
    default_auto_field = "django.db.models.BigAutoField"
