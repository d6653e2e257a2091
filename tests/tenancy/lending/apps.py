from __future__ import annotations

from django.apps import AppConfig


class LendingConfig(AppConfig):
    name = "tests.tenancy.lending"
    label = "lending"
