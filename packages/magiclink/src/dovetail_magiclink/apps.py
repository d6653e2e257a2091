from __future__ import annotations

from types import ModuleType

from django.apps import AppConfig
from django.core import checks
from django.utils.translation import gettext_lazy as _

from dovetail_magiclink.conf import conf


class MagicLinkConfig(AppConfig):
    name = "dovetail_magiclink"
    verbose_name = _("Magic links")
    # Every model names its primary key. This makes the app independent of the project's DEFAULT_AUTO_FIELD.
    default_auto_field = "django.db.models.BigAutoField"

    def __init__(self, app_name: str, app_module: ModuleType | None) -> None:
        super().__init__(app_name, app_module)
        # Runs before any models load: Meta.swappable and the projects' migrations read the setting by name.
        conf.install_defaults("MODEL")

    def ready(self) -> None:
        from dovetail_core.net import check_proxy_headers
        from dovetail_core.optional import import_schema_extension, prefix_definitions
        from dovetail_core.rest.checks import check_without_auth
        from dovetail_magiclink import checks as magiclink_checks

        checks.register(magiclink_checks.check_settings)
        checks.register(check_without_auth)
        checks.register(magiclink_checks.check_verify_url)
        checks.register(magiclink_checks.check_expiry, checks.Tags.security)
        checks.register(magiclink_checks.check_cache, checks.Tags.caches)
        checks.register(magiclink_checks.check_signup, checks.Tags.models)
        checks.register(magiclink_checks.check_address_field, checks.Tags.models)
        checks.register(magiclink_checks.check_session)
        checks.register(magiclink_checks.check_issuer)
        checks.register(magiclink_checks.check_second_factor, checks.Tags.security)
        checks.register(magiclink_checks.check_echo, checks.Tags.security, deploy=True)
        checks.register(magiclink_checks.check_shared_cache, checks.Tags.caches, deploy=True)
        checks.register(magiclink_checks.check_limits, checks.Tags.security, deploy=True)
        checks.register(check_proxy_headers, checks.Tags.security, deploy=True)
        import_schema_extension("dovetail_magiclink.contrib.spectacular")
        prefix_definitions("dovetail_magiclink.api.serializers", "Magic")
