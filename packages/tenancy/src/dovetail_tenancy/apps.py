from __future__ import annotations

from types import ModuleType

from django.apps import AppConfig, apps
from django.core import checks

from dovetail_tenancy.conf import conf


class TenancyConfig(AppConfig):
    name = "dovetail_tenancy"
    verbose_name = "Organizations"
    # Every model names its key; this keeps a project's DEFAULT_AUTO_FIELD from being asked at all.
    default_auto_field = "django.db.models.BigAutoField"

    def __init__(self, app_name: str, app_module: ModuleType | None) -> None:
        super().__init__(app_name, app_module)
        # Before any app's models load: Meta.swappable and projects' migrations read the settings by name.
        conf.install_defaults("ORGANIZATION_MODEL", "MEMBERSHIP_MODEL")

    def ready(self) -> None:
        from dovetail_tenancy import checks as tenancy_checks
        from dovetail_tenancy.commands import open_unscoped_command
        from dovetail_tenancy.isolation.relations import guard_relations
        from dovetail_tenancy.operations import foreign_key_checks
        from dovetail_tenancy.row_security import checks as row_security_checks
        from dovetail_tenancy.services import account_signals

        checks.register(tenancy_checks.check_settings)
        checks.register(tenancy_checks.check_invitations, checks.Tags.urls)
        checks.register(tenancy_checks.check_models, checks.Tags.models)
        checks.register(row_security_checks.check_databases, checks.Tags.database)
        checks.register(foreign_key_checks.check_foreign_keys, checks.Tags.database)
        account_signals.install()
        guard_relations()
        if apps.is_installed("drf_spectacular"):
            # It finds extensions only once they are imported.
            from dovetail_tenancy.contrib import spectacular  # noqa: F401
        open_unscoped_command()
