from __future__ import annotations

from django.apps import AppConfig, apps
from django.contrib.auth.signals import user_logged_in
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext_lazy as _

_REQUIRES_AUTH = checks.Error(
    "dovetail_identity needs django.contrib.auth, whose models djangorestframework-simplejwt imports.",
    hint="Add django.contrib.auth and django.contrib.contenttypes to INSTALLED_APPS, or remove dovetail_identity. "
    "dovetail-magiclink signs in without them.",
    id="dovetail_identity.E009",
)


class IdentityConfig(AppConfig):
    name = "dovetail_identity"
    verbose_name = _("Identity")
    # All models define their primary key. This makes the app independent of DEFAULT_AUTO_FIELD.
    default_auto_field = "django.db.models.BigAutoField"

    def import_models(self) -> None:
        # Raised, because no check would run: the models, the URLs and the authentication class cannot be imported.
        if not apps.is_installed("django.contrib.auth"):
            raise ImproperlyConfigured(f"{_REQUIRES_AUTH.msg} ({_REQUIRES_AUTH.id})\n{_REQUIRES_AUTH.hint}")
        super().import_models()

    def ready(self) -> None:
        from dovetail_core.net import check_proxy_headers
        from dovetail_core.optional import import_schema_extension, prefix_definitions
        from dovetail_identity import checks as identity_checks
        from dovetail_identity.sessions.attempts import succeed_by_another_backend

        user_logged_in.connect(
            succeed_by_another_backend, dispatch_uid="dovetail_identity.sessions.succeed_by_another_backend"
        )
        checks.register(identity_checks.check_settings)
        checks.register(identity_checks.check_registration)
        checks.register(identity_checks.check_password_reset, deploy=True)
        checks.register(identity_checks.check_simplejwt, checks.Tags.security)
        checks.register(identity_checks.check_tokens, checks.Tags.security)
        checks.register(identity_checks.check_order, checks.Tags.security)
        checks.register(identity_checks.check_second_factor, checks.Tags.security)
        checks.register(identity_checks.check_sign_in_email, checks.Tags.models)
        checks.register(identity_checks.check_other_email, checks.Tags.models, deploy=True)
        checks.register(identity_checks.check_rotation, checks.Tags.security, deploy=True)
        checks.register(identity_checks.check_signing_key, checks.Tags.security, deploy=True)
        checks.register(identity_checks.check_cache, checks.Tags.caches)
        checks.register(identity_checks.check_shared_cache, checks.Tags.caches, deploy=True)
        checks.register(identity_checks.check_backends, checks.Tags.security, deploy=True)
        checks.register(identity_checks.check_proxy, checks.Tags.security, deploy=True)
        checks.register(identity_checks.check_middleware, checks.Tags.security, deploy=True)
        checks.register(check_proxy_headers, checks.Tags.security, deploy=True)
        import_schema_extension("dovetail_identity.contrib.spectacular")
        prefix_definitions("dovetail_identity.api.serializers", "Identity")
