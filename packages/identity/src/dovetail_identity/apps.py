from __future__ import annotations

from django.apps import AppConfig, apps
from django.core import checks
from django.utils.translation import gettext_lazy as _


class IdentityConfig(AppConfig):
    name = "dovetail_identity"
    verbose_name = _("Identity")
    # All models define their primary key. This makes the app independent of DEFAULT_AUTO_FIELD.
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from dovetail_identity import checks as identity_checks

        checks.register(identity_checks.check_settings)
        checks.register(identity_checks.check_registration)
        checks.register(identity_checks.check_password_reset, deploy=True)
        checks.register(identity_checks.check_simplejwt, checks.Tags.security)
        checks.register(identity_checks.check_sign_in_email, checks.Tags.models)
        checks.register(identity_checks.check_other_email, checks.Tags.models, deploy=True)
        checks.register(identity_checks.check_rotation, checks.Tags.security, deploy=True)
        checks.register(identity_checks.check_signing_key, checks.Tags.security, deploy=True)
        if apps.is_installed("drf_spectacular"):
            # drf-spectacular registers extensions on import.
            from dovetail_identity.contrib import spectacular  # noqa: F401
