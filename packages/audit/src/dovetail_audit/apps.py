from __future__ import annotations

from django.apps import AppConfig, apps
from django.db.models.signals import post_save
from django.utils.translation import gettext_lazy as _


class AuditConfig(AppConfig):
    name = "dovetail_audit"
    verbose_name = _("Audit log")
    # Every model names its primary key. This makes the app independent of the project's DEFAULT_AUTO_FIELD.
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from dovetail_audit.checks import register
        from dovetail_audit.entries.receivers import connect
        from dovetail_audit.services import erasure
        from dovetail_core.events import domain_event
        from dovetail_core.optional import import_schema_extension

        register()
        connect()
        # After the receiver that records the deletion of the user, whose entry holds the name too.
        domain_event.connect(erasure.on_domain_event, dispatch_uid="dovetail_audit.erasure")
        if apps.is_installed("django.contrib.admin"):
            from django.contrib.admin.models import LogEntry

            from dovetail_audit.entries.admin_log import on_log_entry

            post_save.connect(on_log_entry, sender=LogEntry, dispatch_uid="dovetail_audit")
        import_schema_extension("dovetail_audit.contrib.spectacular")
