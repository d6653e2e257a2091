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
    # Every model names its key; this keeps a project's DEFAULT_AUTO_FIELD from being asked at all.
    default_auto_field = "django.db.models.BigAutoField"

    def __init__(self, app_name: str, app_module: ModuleType | None) -> None:
        super().__init__(app_name, app_module)
        # Before any app's models load: Meta.swappable and projects' migrations read the setting by name.
        conf.install_defaults("NOTIFICATION_MODEL")

    def ready(self) -> None:
        from dovetail_notify import checks as notify_checks
        from dovetail_notify import endings, layers, planning

        autodiscover_modules("notifications")
        checks.register(notify_checks.check_settings)
        checks.register(notify_checks.check_model, checks.Tags.models)
        checks.register(notify_checks.check_transports)
        checks.register(notify_checks.check_types)
        checks.register(notify_checks.check_unsubscribe, deploy=True)
        checks.register(notify_checks.check_runner, deploy=True)
        checks.register(layers.check_layers)
        endings.connect()
        post_migrate.connect(planning.tell_planner, sender=self, dispatch_uid="dovetail_notify.planning")
        if apps.is_installed("drf_spectacular"):
            # It finds extensions only once they are imported.
            from dovetail_notify.contrib import spectacular  # noqa: F401
