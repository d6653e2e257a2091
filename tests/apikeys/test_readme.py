from __future__ import annotations

from django.apps import apps


def test_the_app_is_installed() -> None:
    assert apps.is_installed("dovetail_apikeys")
