from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, Final

from django.apps import AppConfig
from django.core.checks import CheckMessage, Tags, register
from django.utils.translation import gettext_lazy as _

#: Checks by name, with their tag.
_CHECKS: Final = {
    "check_settings": (),
    "check_jobs": (),
    "check_metrics": (),
    "check_operations": (Tags.urls,),
    "check_permissions": (Tags.urls,),
    "check_middleware": (),
    "check_second_routes": (Tags.urls,),
    "check_cors": (Tags.security,),
}


class AdminAPIConfig(AppConfig):
    name = "dovetail_adminapi"
    verbose_name = _("Admin API")
    # Every model names its primary key. This makes the app independent of the project's DEFAULT_AUTO_FIELD.
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from django.contrib.auth.signals import user_logged_in
        from django.db.models.signals import post_migrate

        from dovetail_adminapi.support import receivers
        from dovetail_core.optional import import_schema_extension

        for name, tags in _CHECKS.items():
            register(_late_check(name), *tags)
        register(_late_check("check_deployment"), Tags.security, deploy=True)
        post_migrate.connect(_create_permissions, sender=self, dispatch_uid="dovetail_adminapi.permissions")
        user_logged_in.connect(_remember_sign_in, dispatch_uid="dovetail_adminapi.stepup")
        receivers.connect()
        import_schema_extension("dovetail_adminapi.contrib.spectacular")
        import_schema_extension("dovetail_adminapi.contrib.jobs_schema")
        import_schema_extension("dovetail_adminapi.contrib.support_schema")


# Imported when they are called: workers need neither views nor serializers, whose import takes most of a second.
# Cached, because tests with other INSTALLED_APPS call ready() again, and Django would run another function as well.
@cache
def _late_check(name: str) -> Callable[..., Iterable[CheckMessage]]:
    def check(**kwargs: Any) -> Iterable[CheckMessage]:
        from dovetail_adminapi import checks

        return list(getattr(checks, name)(**kwargs))

    check.__name__ = name
    return check


def _create_permissions(**kwargs: Any) -> None:
    from dovetail_adminapi.catalogue.permissions import create_permissions

    create_permissions(**kwargs)


def _remember_sign_in(**kwargs: Any) -> None:
    from dovetail_adminapi.api.stepup import remember_sign_in

    remember_sign_in(**kwargs)
