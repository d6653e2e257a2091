from __future__ import annotations

from types import ModuleType

from django.apps import AppConfig
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
        from dovetail_apikeys.lifecycle import members
        from dovetail_apikeys.verification.cache import cache
        from dovetail_core.events import domain_event
        from dovetail_core.net import check_proxy_headers
        from dovetail_core.optional import import_schema_extension
        from dovetail_core.rest.checks import check_without_auth

        register(checks.check_settings)
        register(check_without_auth)
        register(checks.check_model, Tags.models)
        register(checks.check_principal, Tags.models)
        register(checks.check_scopes, Tags.urls)
        register(checks.check_resolver, Tags.urls)
        register(checks.check_members)
        register(checks.check_format, Tags.security)
        register(checks.check_order, Tags.security)
        register(checks.check_throttle, Tags.caches)
        register(checks.check_database, Tags.database)
        register(check_proxy_headers, Tags.security, deploy=True)
        # For keys that are deleted with their organization, and for code that saves keys without the services.
        for signal in (post_save, post_delete):
            signal.connect(cache.clear, sender=get_api_key_model(), dispatch_uid="dovetail_apikeys.cache")
        domain_event.connect(members.receive, dispatch_uid="dovetail_apikeys.members")
        import_schema_extension("dovetail_apikeys.contrib.spectacular")
