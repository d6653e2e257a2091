from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class AdminAPIConfig(AppConfig):
    name = "dovetail_adminapi"
    verbose_name = _("Admin API")
    # Every model names its primary key. This makes the app independent of the project's DEFAULT_AUTO_FIELD.
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from django.core.checks import register

        from dovetail_adminapi.conf import conf

        register(lambda **kwargs: conf.check())
