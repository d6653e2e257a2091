from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

from django.apps import AppConfig
from django.conf import settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured

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
        if not hasattr(settings, "DOVETAIL_ADMIN_ORGANIZATIONS"):
            # Installing the app is enough to limit the admin classes of all packages.
            settings.DOVETAIL_ADMIN_ORGANIZATIONS = "dovetail_tenancy.organizations.admin_choice.visible_organizations"

    def ready(self) -> None:
        from dovetail_core.net import check_proxy_headers
        from dovetail_core.optional import import_schema_extension, prefix_definitions
        from dovetail_core.rest.checks import check_without_auth
        from dovetail_tenancy import checks as tenancy_checks
        from dovetail_tenancy.isolation.list_checks import check_lists
        from dovetail_tenancy.isolation.relations import restrict_relations
        from dovetail_tenancy.operations.retarget_foreign_key import check_foreign_keys
        from dovetail_tenancy.organizations.project_models import add_membership_attributes
        from dovetail_tenancy.row_security.checks import check_databases
        from dovetail_tenancy.services.accounts import connect_receivers

        _require_user_model()
        checks.register(tenancy_checks.check_settings)
        checks.register(check_without_auth)
        checks.register(tenancy_checks.check_invitations, checks.Tags.urls)
        checks.register(check_lists, checks.Tags.urls)
        checks.register(tenancy_checks.check_models, checks.Tags.models)
        checks.register(tenancy_checks.check_admins, checks.Tags.admin)
        checks.register(check_proxy_headers, checks.Tags.security, deploy=True)
        checks.register(check_databases, checks.Tags.database)
        checks.register(check_foreign_keys, checks.Tags.database)
        add_membership_attributes()
        connect_receivers()
        restrict_relations()
        import_schema_extension("dovetail_tenancy.contrib.spectacular")
        prefix_definitions("dovetail_tenancy.api.serializers", "Tenancy")
        _unscope_command()


def _require_user_model() -> None:
    """Raise the error E022 if the user model of ``Organization.members`` is not installed."""
    from dovetail_tenancy.models import Organization

    # Raised, because Django's check of a many-to-many field to a missing model ends in AttributeError. A model of the
    # project without such a field is checked by Django (fields.E300).
    if not Organization._meta.swapped and isinstance(Organization._meta.get_field("members").related_model, str):
        raise ImproperlyConfigured(
            f"AUTH_USER_MODEL is {settings.AUTH_USER_MODEL!r}, which is not installed. (dovetail_tenancy.E022)\n"
            "Add the app of the user model, such as django.contrib.auth, to INSTALLED_APPS, or set AUTH_USER_MODEL."
        )


def _unscope_command() -> None:
    """Make all rows visible to the rest of this process if it runs one of ``TENANCY_UNSCOPED_COMMANDS``.

    This applies to the command line only: code that calls ``call_command("dumpdata")`` may run for a user.
    """
    from dovetail_tenancy.isolation.scope import unscoped

    program, command = (*sys.argv, "", "")[:2]
    if Path(program).name in {"manage.py", "django-admin", "__main__.py"} and command in conf.UNSCOPED_COMMANDS:
        unscoped(reason=f"manage.py {command}").__enter__()
