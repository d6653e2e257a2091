from __future__ import annotations

from types import ModuleType

from django.apps import AppConfig
from django.core.checks import Tags, register
from django.utils.translation import gettext_lazy as _

from dovetail_flags.conf import conf


class FlagsConfig(AppConfig):
    name = "dovetail_flags"
    verbose_name = _("Feature flags")
    # Set so that the project's DEFAULT_AUTO_FIELD cannot change the migrations.
    default_auto_field = "django.db.models.BigAutoField"

    def __init__(self, app_name: str, app_module: ModuleType | None) -> None:
        super().__init__(app_name, app_module)
        # Before any models load, because Meta.swappable and projects' migrations read the setting by its name.
        conf.install_defaults("FLAG_MODEL")

    def ready(self) -> None:
        from dovetail_core.optional import import_schema_extension, prefix_definitions
        from dovetail_flags import checks
        from dovetail_flags.evaluation.declared import discover
        from dovetail_flags.providers import signals

        register(checks.check_settings)
        register(checks.check_model, Tags.models)
        register(checks.check_provider)
        register(checks.check_invalidation)
        register(checks.check_declared)
        register(checks.check_used, Tags.urls)
        register(checks.check_templates, Tags.templates)
        register(checks.check_middleware)
        register(checks.check_refresh, Tags.database)
        register(checks.check_types, Tags.database)
        register(checks.check_stale, Tags.database, deploy=True)
        signals.connect()
        discover()
        import_schema_extension("dovetail_flags.contrib.spectacular")
        prefix_definitions("dovetail_flags.api.serializers", "Feature")
