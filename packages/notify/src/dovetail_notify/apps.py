from __future__ import annotations

from types import ModuleType

from django.apps import AppConfig, apps
from django.db.models.signals import post_migrate
from django.utils.module_loading import autodiscover_modules
from django.utils.translation import gettext_lazy as _

from dovetail_notify.conf import conf


class NotifyConfig(AppConfig):
    name = "dovetail_notify"
    verbose_name = _("Notifications")
    # Independent of the project's DEFAULT_AUTO_FIELD.
    default_auto_field = "django.db.models.BigAutoField"

    def __init__(self, app_name: str, app_module: ModuleType | None) -> None:
        super().__init__(app_name, app_module)
        # Before any models are loaded: Meta.swappable and projects' migrations read the setting by name.
        conf.install_defaults("NOTIFICATION_MODEL")

    def ready(self) -> None:
        # Checks are registered when their modules are imported.
        from dovetail_notify import checks  # noqa: F401
        from dovetail_notify.inbox.maintenance import set_recipient_statistics
        from dovetail_notify.realtime.credentials import connect_signals

        autodiscover_modules("notifications")
        connect_signals()
        post_migrate.connect(
            set_recipient_statistics, sender=self, dispatch_uid="dovetail_notify.set_recipient_statistics"
        )
        if apps.is_installed("drf_spectacular"):
            # drf-spectacular registers extensions in the same way.
            from dovetail_notify.contrib import spectacular  # noqa: F401
