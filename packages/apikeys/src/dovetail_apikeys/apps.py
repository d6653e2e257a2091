from __future__ import annotations

from types import ModuleType

from django.apps import AppConfig, apps
from django.core import checks
from django.db.models.signals import post_delete, post_save
from django.utils.translation import gettext_lazy as _

from dovetail_apikeys.conf import conf


class APIKeysConfig(AppConfig):
    name = "dovetail_apikeys"
    verbose_name = _("API keys")
    # Every model declares its primary key. With this, Django never reads the project's DEFAULT_AUTO_FIELD.
    default_auto_field = "django.db.models.BigAutoField"

    def __init__(self, app_name: str, app_module: ModuleType | None) -> None:
        super().__init__(app_name, app_module)
        # Before the models of any app load: Meta.swappable and projects' migrations read the setting by its name.
        conf.install_defaults("MODEL")

    def ready(self) -> None:
        from dovetail_apikeys import checks as apikeys_checks
        from dovetail_apikeys import get_api_key_model
        from dovetail_apikeys.verification.cache import cache

        checks.register(apikeys_checks.check_settings)
        checks.register(apikeys_checks.check_model, checks.Tags.models)
        checks.register(apikeys_checks.check_principal, checks.Tags.models)
        checks.register(apikeys_checks.check_scopes, checks.Tags.urls)
        checks.register(apikeys_checks.check_resolver, checks.Tags.urls)
        checks.register(apikeys_checks.check_format, checks.Tags.security)
        checks.register(apikeys_checks.check_order, checks.Tags.security)
        checks.register(apikeys_checks.check_throttle, checks.Tags.caches)
        checks.register(apikeys_checks.check_database, checks.Tags.database)
        # For keys that are deleted with their organization, and for code that saves keys without the services.
        for signal in (post_save, post_delete):
            signal.connect(cache.clear, sender=get_api_key_model(), dispatch_uid="dovetail_apikeys.cache")
        if apps.is_installed("drf_spectacular"):
            # It finds extensions only after they are imported.
            from dovetail_apikeys.contrib import spectacular  # noqa: F401
