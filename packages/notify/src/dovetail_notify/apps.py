from __future__ import annotations

from types import ModuleType

from django.apps import AppConfig
from django.core.checks import register
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
        from dovetail_core.optional import import_schema_extension, prefix_definitions
        from dovetail_core.rest.checks import check_without_auth

        # Checks are registered when their modules are imported.
        from dovetail_notify import checks  # noqa: F401
        from dovetail_notify.inbox.maintenance import set_recipient_statistics
        from dovetail_notify.realtime.messages import connect_signals

        register(check_without_auth)
        autodiscover_modules("notifications")
        connect_signals()
        post_migrate.connect(
            set_recipient_statistics, sender=self, dispatch_uid="dovetail_notify.set_recipient_statistics"
        )
        import_schema_extension("dovetail_notify.contrib.spectacular")
        prefix_definitions("dovetail_notify.api.serializers", "Notify")
