from __future__ import annotations

from types import ModuleType

from django.apps import AppConfig, apps
from django.core import checks

from dovetail_tenancy.conf import conf


class TenancyConfig(AppConfig):
    name = "dovetail_tenancy"
    verbose_name = "Organizations"
    # Every model declares its primary key; this makes the app independent of a project's DEFAULT_AUTO_FIELD.
    default_auto_field = "django.db.models.BigAutoField"

    def __init__(self, app_name: str, app_module: ModuleType | None) -> None:
        super().__init__(app_name, app_module)
        # Before any app's models load: Meta.swappable and projects' migrations read these settings by name.
        conf.install_defaults("ORGANIZATION_MODEL", "MEMBERSHIP_MODEL")

    def ready(self) -> None:
        from dovetail_tenancy import checks as tenancy_checks
        from dovetail_tenancy.isolation.relations import restrict_relations
        from dovetail_tenancy.isolation.scope import unscope_command
        from dovetail_tenancy.operations.retarget_foreign_key import check_foreign_keys
        from dovetail_tenancy.row_security.checks import check_databases
        from dovetail_tenancy.services.accounts import connect_receivers

        checks.register(tenancy_checks.check_settings)
        checks.register(tenancy_checks.check_invitations, checks.Tags.urls)
        checks.register(tenancy_checks.check_models, checks.Tags.models)
        checks.register(check_databases, checks.Tags.database)
        checks.register(check_foreign_keys, checks.Tags.database)
        connect_receivers()
        restrict_relations()
        if apps.is_installed("drf_spectacular"):
            # drf-spectacular only knows extensions that were imported.
            from dovetail_tenancy.contrib import spectacular  # noqa: F401
        unscope_command()
