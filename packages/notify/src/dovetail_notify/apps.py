from __future__ import annotations

from types import ModuleType

from django.apps import AppConfig, apps
from django.core import checks
from django.db.models.signals import post_migrate
from django.utils.module_loading import autodiscover_modules
from django.utils.translation import gettext_lazy as _

from dovetail_notify.conf import conf


class NotifyConfig(AppConfig):
    name = "dovetail_notify"
    verbose_name = _("Notifications")
    # Every model names its key; with this the project's DEFAULT_AUTO_FIELD has no effect here.
    default_auto_field = "django.db.models.BigAutoField"

    def __init__(self, app_name: str, app_module: ModuleType | None) -> None:
        super().__init__(app_name, app_module)
        # Before any app's models load: Meta.swappable and projects' migrations read the setting by name.
        conf.install_defaults("NOTIFICATION_MODEL")

    def ready(self) -> None:
        from dovetail_notify import checks as notify_checks
        from dovetail_notify.inbox import planner_statistics
        from dovetail_notify.realtime import revocation
        from dovetail_notify.realtime.channels.checks import check_layers

        autodiscover_modules("notifications")
        checks.register(notify_checks.check_settings)
        checks.register(notify_checks.check_model, checks.Tags.models)
        checks.register(notify_checks.check_transports)
        checks.register(notify_checks.check_types)
        checks.register(notify_checks.check_unsubscribe, deploy=True)
        checks.register(notify_checks.check_runner, deploy=True)
        checks.register(check_layers)
        revocation.connect_signals()
        post_migrate.connect(
            planner_statistics.set_recipient_statistics,
            sender=self,
            dispatch_uid="dovetail_notify.inbox.planner_statistics",
        )
        if apps.is_installed("drf_spectacular"):
            # drf-spectacular registers extensions when their module is imported.
            from dovetail_notify.contrib import spectacular  # noqa: F401
