from __future__ import annotations

from types import ModuleType

from django.apps import AppConfig, apps
from django.core.checks import Tags, register
from django.db.models.signals import post_delete, post_save
from django.utils.translation import gettext_lazy as _

from dovetail_apikeys.conf import conf


class APIKeysConfig(AppConfig):
    name = "dovetail_apikeys"
    verbose_name = _("API keys")
    # Set so that the project's DEFAULT_AUTO_FIELD cannot change the migrations.
    default_auto_field = "django.db.models.BigAutoField"

    def __init__(self, app_name: str, app_module: ModuleType | None) -> None:
        super().__init__(app_name, app_module)
        # Before any models load, because Meta.swappable and projects' migrations read the setting by its name.
        conf.install_defaults("MODEL")

    def ready(self) -> None:
        from dovetail_apikeys import checks, get_api_key_model
        from dovetail_apikeys.verification.cache import cache

        register(checks.check_settings)
        register(checks.check_model, Tags.models)
        register(checks.check_principal, Tags.models)
        register(checks.check_scopes, Tags.urls)
        register(checks.check_resolver, Tags.urls)
        register(checks.check_format, Tags.security)
        register(checks.check_order, Tags.security)
        register(checks.check_throttle, Tags.caches)
        register(checks.check_database, Tags.database)
        # For keys that are deleted with their organization, and for code that saves keys without the services.
        for signal in (post_save, post_delete):
            signal.connect(cache.clear, sender=get_api_key_model(), dispatch_uid="dovetail_apikeys.cache")
        if apps.is_installed("drf_spectacular"):
            # Importing an extension registers it.
            from dovetail_apikeys.contrib import spectacular  # noqa: F401
