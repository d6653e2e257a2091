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
        from django.core.checks import register

        from dovetail_adminapi.api import stepup
        from dovetail_adminapi.conf import conf
        from dovetail_adminapi.support import receivers

        register(lambda **kwargs: conf.check())
        user_logged_in.connect(stepup.remember_sign_in, dispatch_uid="dovetail_adminapi.stepup")
        receivers.connect()
