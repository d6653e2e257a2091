from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class AdminAPIConfig(AppConfig):
    name = "dovetail_adminapi"
    verbose_name = _("Admin API")
    # Every model names its primary key. This makes the app independent of the project's DEFAULT_AUTO_FIELD.
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from django.contrib.auth.signals import user_logged_in
        from django.db.models.signals import post_migrate

        from dovetail_adminapi.api import stepup
        from dovetail_adminapi.catalogue.permissions import create_permissions
        from dovetail_adminapi.checks import register_all
        from dovetail_adminapi.support import receivers
        from dovetail_core.optional import import_schema_extension

        register_all()
        post_migrate.connect(create_permissions, sender=self, dispatch_uid="dovetail_adminapi.permissions")
        user_logged_in.connect(stepup.remember_sign_in, dispatch_uid="dovetail_adminapi.stepup")
        receivers.connect()
        import_schema_extension("dovetail_adminapi.contrib.spectacular")
        import_schema_extension("dovetail_adminapi.contrib.support_schema")
